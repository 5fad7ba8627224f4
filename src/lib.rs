//! mailsluice: old mail programs at today's providers.

pub mod auth;
pub mod config;
pub mod proto;
pub mod protocol;
pub mod secret;
pub mod store;

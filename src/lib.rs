//! mailsluice: old mail programs at today's providers.

pub mod bridge;
pub mod config;
pub mod proto;
pub mod protocol;
pub mod secret;

//! mailsluice: old mail programs at today's providers.

pub mod auth;
pub mod cli;
pub mod config;
pub mod net;
pub mod proto;
pub mod protocol;
pub mod relay;
pub mod secret;
#[cfg(unix)]
pub mod web;

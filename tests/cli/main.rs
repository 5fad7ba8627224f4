//! The program as a person or a script meets it: what it prints, how it exits, which files it leaves.
//!
//! Each test has a home folder of its own and, where mail has to flow, the embedded provider. No test needs a network,
//! a privilege or another program than a shell.

#![cfg(unix)]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: what is not as expected has to stop the case"
)]

mod account;
mod certs;
mod home;
mod service;
mod texts;

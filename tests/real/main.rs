//! Real servers, real programs: the proxy between a Dovecot and a Postfix of its own and the clients people use.
//!
//! Most cases are functions over a [`fixture::Target`] and run on three routes: straight to the servers, through the
//! proxy with implicit TLS upstream, and through it with STARTTLS. A case that fails on the direct route is a wrong
//! test or an odd server; one that fails on the others alone is ours.
//!
//! The servers start with the first case of the process and end with the process, however that ends. `cargo test
//! --features real-servers --test real` shares them among all cases; `tests/run` does that.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "test code: what is not as expected has to stop the case"
)]

mod client;
mod fixture;

/// The same cases on the routes named.
macro_rules! on_routes {
    ($($route:ident: $variant:ident),+; $cases:tt) => {
        $(on_routes!(@one $route $variant $cases);)+
    };
    (@one $route:ident $variant:ident { $($case:ident),+ $(,)? }) => {
        mod $route {
            $(
                #[test]
                fn $case() {
                    super::$case(&crate::fixture::Target::new(crate::fixture::Route::$variant));
                }
            )+
        }
    };
}

mod devices;
mod faults;
mod gateways;
mod imap;
#[cfg(feature = "imaptest")]
mod imaptest;
mod oauth;
mod pop3;
mod programs;
mod reach;
mod service;
mod smtp;
mod warm;

//! What bytes mean. Sans-IO: no tokio, no clock, no logging (`tests/boundaries.rs` holds that).
//!
//! Each protocol has the same five files, so the second one read is already known:
//!
//! | file | role | who speaks |
//! |---|---|---|
//! | `frame.rs` | bytes → bounded frames; the only place that touches partial input | – |
//! | `codec.rs` | nom parsers over complete frames, and the encoders | – |
//! | `login.rs` | the client-facing dialogue before authentication | we are the server |
//! | `upstream.rs` | the upstream-facing dialogue up to "authenticated" | we are the client |
//! | `watch.rs` | after login: passes bytes, acts only where something must change | both |
//!
//! IMAP and SMTP have a sixth, `reset.rs`: between two clients that share an upstream one after the other.
//!
//! What they share is here: [`dialogue`] (inputs, actions, traits), [`flow`] (what a watch wants done), [`lines`] (the
//! line buffer), [`sasl`], [`offer`] (what is shown before login), [`refusal`] (why a login fails), [`text`] (a peer's words, made safe). [`http`] is for the one
//! page that a browser is sent back to after a sign-in.

pub mod dialogue;
pub mod flow;
pub mod http;
pub mod imap;
pub mod lines;
pub mod offer;
pub mod pop3;
pub mod refusal;
pub mod sasl;
pub mod smtp;
pub mod text;

use std::sync::Arc;

use self::dialogue::{
    Established, Login, LoginSettings, Remains, Reset, Upstream, UpstreamSettings, Watch,
};
use crate::profile::Profile;
use crate::protocol::Protocol;

/// The client-facing dialogue of `protocol`.
pub fn login(protocol: Protocol, settings: LoginSettings) -> Box<dyn Login> {
    match protocol {
        Protocol::Imap => Box::new(imap::login::ImapLogin::new(settings)),
        Protocol::Pop3 => Box::new(pop3::login::Pop3Login::new(settings)),
        Protocol::Smtp => Box::new(smtp::login::SmtpLogin::new(settings)),
    }
}

/// The upstream-facing dialogue of `protocol`.
pub fn upstream(protocol: Protocol, settings: UpstreamSettings) -> Box<dyn Upstream> {
    match protocol {
        Protocol::Imap => Box::new(imap::upstream::ImapUpstream::new(settings)),
        Protocol::Pop3 => Box::new(pop3::upstream::Pop3Upstream::new(settings)),
        Protocol::Smtp => Box::new(smtp::upstream::SmtpUpstream::new(settings)),
    }
}

/// What stands between the legs of `protocol` after login, for a client of this profile.
pub fn watch(
    protocol: Protocol,
    settings: &LoginSettings,
    profile: Arc<Profile>,
    established: &Established,
) -> Box<dyn Watch> {
    match protocol {
        Protocol::Imap => Box::new(imap::watch::ImapWatch::new(profile, established)),
        Protocol::Pop3 => Box::new(pop3::watch::Pop3Watch::new(profile, established)),
        Protocol::Smtp => Box::new(smtp::watch::SmtpWatch::new(settings, profile, established)),
    }
}

/// What makes an upstream of `protocol` fit for the next client; `None` where nothing can.
pub fn reset(protocol: Protocol, remains: Remains) -> Option<Box<dyn Reset>> {
    match protocol {
        Protocol::Imap => Some(Box::new(imap::reset::ImapReset::new(remains))),
        // RFC 1939 section 6: QUIT is what deletes, and it ends the session.
        Protocol::Pop3 => None,
        Protocol::Smtp => Some(Box::new(smtp::reset::SmtpReset::default())),
    }
}

/// What is said to an upstream that nobody needs any more, between two clients.
pub fn goodbye(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Imap => b"m0 LOGOUT\r\n",
        Protocol::Pop3 | Protocol::Smtp => b"QUIT\r\n",
    }
}

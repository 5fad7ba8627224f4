//! What a listener shows before login: its profile, less what could not be completed, with what its upstreams are known
//! to do.
//!
//! Everything is computed when the configuration is read, or when an upstream names something new; a session only picks the
//! list for its TLS. Clients that ask before login and never again (Python's imaplib) believe this list to the end, so it
//! may promise too little and never too much.

use std::sync::Arc;

use super::dialogue::ClientTls;
use super::imap::codec::capability;
use super::pop3::codec;
use super::smtp::extensions;
use crate::profile::{Mechanism, Profile, Quirk, covers};
use crate::protocol::Protocol;

/// See the module.
#[derive(Clone, Debug)]
pub struct Offer {
    /// How clients are served here while nobody is known.
    pub profile: Arc<Profile>,
    /// Whether mechanisms that need a recoverable password are on.
    challenges: bool,
    plain: Vec<String>,
    plain_with_tls: Vec<String>,
    encrypted: Vec<String>,
}

impl Offer {
    /// An offer of `profile`. `challenges`: whether those who may log in here have passwords that can be recovered.
    /// `promised`: what every upstream behind this listener is known to name.
    pub fn new(
        protocol: Protocol,
        profile: Arc<Profile>,
        challenges: bool,
        promised: &[String],
    ) -> Self {
        let bare = Self {
            profile,
            challenges,
            plain: Vec::new(),
            plain_with_tls: Vec::new(),
            encrypted: Vec::new(),
        };
        let list = |tls| match protocol {
            Protocol::Imap => capability::before_login(&bare, tls, promised),
            Protocol::Pop3 => codec::before_login(&bare, tls, promised),
            Protocol::Smtp => extensions::before_login(&bare, tls, promised),
        };
        Self {
            plain: list(ClientTls::Off),
            plain_with_tls: list(ClientTls::Offered),
            encrypted: list(ClientTls::Active),
            ..bare
        }
    }

    /// The list: IMAP's atoms, the lines of CAPA, or the keyword lines of EHLO.
    pub fn list(&self, tls: ClientTls) -> &[String] {
        match tls {
            ClientTls::Off => &self.plain,
            ClientTls::Offered => &self.plain_with_tls,
            ClientTls::Active => &self.encrypted,
        }
    }

    /// Whether a login by `mechanism` is carried out. PLAIN and LOGIN are, named or not, unless only what is named counts.
    pub fn completes(&self, mechanism: Mechanism) -> bool {
        if mechanism.needs_recoverable() {
            self.challenges && self.profile.mechanisms.contains(&mechanism)
        } else {
            self.profile.has(Quirk::Lenient) || self.profile.mechanisms.contains(&mechanism)
        }
    }

    /// The SASL mechanisms that are named, in order.
    pub fn mechanisms(&self, protocol: Protocol, tls: ClientTls) -> Vec<&'static str> {
        let hushed = protocol != Protocol::Smtp
            && tls != ClientTls::Active
            && self.profile.has(Quirk::PlainUnnamedInClear);
        let named = self.profile.mechanisms.iter().filter(|it| {
            it.is_sasl() && self.completes(**it) && !(hushed && **it == Mechanism::Plain)
        });
        named.map(|it| it.name()).collect()
    }

    /// Which of `promised` may be told before login: those that `may_promise` names and the profile shows.
    pub(super) fn promised<'a>(
        &'a self,
        protocol: Protocol,
        promised: &'a [String],
        may_promise: &'a [&str],
    ) -> impl Iterator<Item = String> + 'a {
        let shown = self.profile.shown(protocol);
        promised
            .iter()
            .filter(move |it| covers(may_promise, it.as_bytes()) && shown.admits(it.as_bytes()))
            .cloned()
    }
}

//! Programs people use, as they use them: a name and a password, and the port of a server on this machine.

#[macro_use]
mod table;

mod challenges;
mod console;
mod desk;
mod fetchers;
mod libraries;
mod senders;
mod sylpheed;
mod terminal;
mod thunderbird;
mod trust;

use crate::client::imap::arrived;
use crate::fixture::{Target, Tls};

/// The cases of the table, each on its routes.
macro_rules! cases {
    (
        plain { $($plain:ident::$plain_case:ident, $plain_client:literal, $plain_profile:literal;)+ }
        proxied { $($proxied:ident::$proxied_case:ident, $proxied_client:literal, $proxied_profile:literal;)+ }
        challenged { $($challenged:ident::$challenged_case:ident, $challenged_client:literal, $challenged_profile:literal;)+ }
        tls { $($tls:ident::$tls_case:ident, $tls_client:literal, $tls_profile:literal;)+ }
    ) => {
        mod direct {
            $(cases!(@plain Direct $plain $plain_case $plain_profile);)+
        }
        mod implicit {
            $(cases!(@plain Implicit $plain $plain_case $plain_profile);)+
            $(cases!(@plain Implicit $proxied $proxied_case $proxied_profile);)+
        }
        mod challenged {
            $(
                #[test]
                fn $challenged_case() {
                    let target = crate::fixture::Target::recoverable($challenged_profile);
                    super::$challenged::$challenged_case(&target);
                }
            )+
        }
        mod tls_at_once {
            $(cases!(@tls Implicit $tls $tls_case $tls_profile);)+
        }
        mod starttls {
            $(cases!(@tls StartTls $tls $tls_case $tls_profile);)+
        }
    };
    (@plain $route:ident $family:ident $case:ident $profile:literal) => {
        #[test]
        fn $case() {
            let route = crate::fixture::Route::$route;
            super::$family::$case(&crate::fixture::Target::in_profile(route, $profile));
        }
    };
    (@tls $tls:ident $family:ident $case:ident $profile:literal) => {
        #[test]
        fn $case() {
            super::$family::$case(&super::Secured::new(crate::fixture::Tls::$tls, $profile));
        }
    };
}

clients!(cases);

/// The proxy as `localhost`, with TLS for the client, and a mailbox with one message.
struct Secured {
    target: Target,
    tls: Tls,
    /// What a person has the program trust: the proxy's own CA, as it is exported.
    ca_file: String,
    _desk: desk::Desk,
}

impl Secured {
    fn new(tls: Tls, profile: &str) -> Self {
        let target = Target::with_tls(tls, profile);
        target.mailbox.seed("", [desk::MESSAGE.as_bytes()]);
        // Dovecot counts what it delivers before what it finds, unless that has been read.
        arrived(&target.at_the_provider(), 1);
        let exported = target.proxy().command(&["certs", "export"]);
        assert!(exported.status.success(), "{exported:?}");
        let desk = desk::Desk::new();
        let ca_file = desk.write("ca.pem", &desk::text(&exported.stdout));
        Self {
            target,
            tls,
            ca_file: ca_file.display().to_string(),
            _desk: desk,
        }
    }

    /// What the program sent is at the provider, the second message there.
    fn assert_sent(&self) {
        let sent = &arrived(&self.target.at_the_provider(), 2)[1];
        let whole = sent.ends_with(desk::MESSAGE.as_bytes());
        assert!(whole, "{}", desk::text(sent));
    }

    /// One word where TLS begins at once, another where it begins by STARTTLS.
    fn choose<T>(&self, at_once: T, starttls: T) -> T {
        match self.tls {
            Tls::Implicit => at_once,
            Tls::StartTls => starttls,
        }
    }
}

//! One provider: its servers, what they take, and what to tell people.

use serde::Deserialize;

use super::super::fault::Fault;
use super::super::key::KeyPath;
use super::super::read::{Report, alternatives};
use crate::protocol::{Protocol, TlsMode};

/// A preset. The keys are explained at the top of `config/providers.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// What `provider = "…"` says.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// `freemail`, `isp`, `hosting`, `corporate`, `template` or `bridge`.
    pub kind: String,
    /// Mail domains served here, `*.` for subdomains.
    pub domains: Vec<String>,
    /// A domain whose MX host ends so is served here.
    pub mx_suffixes: Vec<String>,
    /// What the servers take as user name.
    pub user: UserForm,
    /// IMAP servers, preferred first.
    pub imap: Vec<Server>,
    /// POP3 servers, preferred first.
    pub pop3: Vec<Server>,
    /// Submission servers, preferred first.
    pub smtp: Vec<Server>,
    /// Host names of older guides.
    pub old_hosts: Vec<String>,
    /// What the provider takes, preferred first.
    pub auth: Vec<AuthMethod>,
    /// What the normal password is worth.
    pub password: PasswordState,
    /// Where any password is accepted; empty: everywhere, unless tokens are all it takes.
    pub password_protocols: Vec<String>,
    /// The issuer of its tokens; empty: none known.
    pub oauth: String,
    /// Whether IMAP is on.
    pub imap_access: Access,
    /// Whether POP3 is on.
    pub pop_access: Access,
    /// A page that tells how to switch mail programs on.
    pub enable_url: Option<String>,
    /// A page that makes app passwords, or tells how.
    pub app_password_url: Option<String>,
    /// Whether submission itself files a copy in Sent.
    pub saves_sent: SavesSent,
    /// Seconds that must lie between two POP3 visits; 0: none known.
    pub pop_min_poll: u64,
    /// Minutes after which IDLE must be renewed; 0: RFC 2177's 29.
    pub idle_refresh: u64,
    /// The newest TLS version seen there.
    pub max_tls: Option<String>,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// How it deviates; explained at the top of `config/providers.toml`.
    pub quirks: Vec<String>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Host name; may hold `{host}`, `{account}` and `{domain}`.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How TLS begins.
    pub tls: ServerTls,
    /// What it takes as user name, where that differs from the provider's rule.
    pub user: Option<UserForm>,
    /// The SASL mechanism the databases ask for.
    pub sasl: Option<String>,
    /// No good source was found for it.
    pub unconfirmed: bool,
}

/// How TLS begins at a server, as the databases record it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerTls {
    /// TLS from the first byte.
    #[default]
    Implicit,
    /// STARTTLS or STLS.
    Starttls,
    /// Plain. Recorded, never used.
    None,
}

/// What a server takes as user name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserForm {
    /// The full address.
    #[default]
    Address,
    /// What stands before the `@`.
    Localpart,
    /// No rule: the address, unless the account names a user.
    Custom,
}

/// What a provider takes as proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMethod {
    /// OAuth tokens.
    Oauth2,
    /// A generated password for one program.
    AppPassword,
    /// A password for mail programs that is not the one of the web log-in.
    MailPassword,
    /// The password of the web log-in.
    Password,
}

/// What the normal password is worth over IMAP, POP3 and SMTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordState {
    /// It works.
    Ok,
    /// It works unless two-factor log-in is on.
    #[serde(rename = "ok-unless-2fa")]
    OkUnless2fa,
    /// An app password is always needed.
    AppPasswordAlways,
    /// The separate mail password is always needed.
    MailPasswordAlways,
    /// The password belongs to the mailbox, not to the customer account.
    MailboxPassword,
    /// It stopped working.
    Retired,
    /// The sources disagree.
    Disputed,
    /// No source.
    #[default]
    Unknown,
}

/// Whether a protocol is on for an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Yes.
    On,
    /// To be switched on once in the web settings.
    OffByDefault,
    /// Only in some tariffs.
    Plan,
    /// The administrator decides.
    Admin,
    /// Not offered.
    None,
    /// No source.
    #[default]
    Unknown,
}

/// Whether submission itself files a copy in Sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavesSent {
    /// Yes: a client that also appends gets two.
    Yes,
    /// No.
    No,
    /// An account setting.
    Setting,
    /// The sources disagree.
    Disputed,
    /// No source.
    #[default]
    Unknown,
}

impl Provider {
    /// Its servers for `protocol`, preferred first.
    pub fn servers(&self, protocol: Protocol) -> &[Server] {
        match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
            Protocol::Smtp => &self.smtp,
        }
    }

    /// Whether a password of any kind is accepted for `protocol`.
    pub fn takes_password(&self, protocol: Protocol) -> bool {
        let tokens_only = self.auth.iter().all(|a| *a == AuthMethod::Oauth2);
        let named = |p: &String| p == protocol.name();
        (self.auth.is_empty() || !tokens_only)
            && (self.password_protocols.is_empty() || self.password_protocols.iter().any(named))
    }

    /// Whether a host holds this placeholder, which the account must then fill.
    pub fn needs(&self, placeholder: &str) -> bool {
        let mut servers = self.imap.iter().chain(&self.pop3).chain(&self.smtp);
        servers.any(|s| s.host.contains(placeholder))
    }

    /// What a person should know before the first login: sentences, with the page that helps.
    pub fn hints(&self) -> Vec<String> {
        let access = [("IMAP", self.imap_access), ("POP3", self.pop_access)];
        let mut hints: Vec<String> = [Access::OffByDefault, Access::Plan, Access::Admin]
            .into_iter()
            .filter_map(|state| {
                let named = access.iter().filter(|(_, a)| *a == state);
                let names: Vec<&str> = named.map(|(name, _)| *name).collect();
                (!names.is_empty()).then(|| access_hint(&names.join(" and "), state))
            })
            .map(|sentence| with_page(sentence, self.enable_url.as_deref()))
            .collect();
        if let Some(sentence) = password_hint(self.password) {
            hints.push(with_page(
                sentence.to_owned(),
                self.app_password_url.as_deref(),
            ));
        }
        hints.extend(self.notes.iter().cloned());
        hints
    }

    /// What serde cannot see.
    pub(in super::super) fn check(&self, at: &KeyPath, report: &mut Report<'_>) {
        if self.name.is_empty() {
            report.add(&at.child("name"), Fault::Missing("name".to_owned()));
        }
        for protocol in Protocol::ALL {
            for (index, server) in self.servers(protocol).iter().enumerate() {
                let at = at.child(protocol.name()).child(index);
                if server.host.is_empty() {
                    report.add(&at.child("host"), Fault::Missing("host".to_owned()));
                }
                if server.port == 0 {
                    report.add(&at.child("port"), Fault::Missing("port".to_owned()));
                }
            }
        }
        for (index, name) in self.password_protocols.iter().enumerate() {
            if Protocol::ALL.iter().all(|p| p.name() != name) {
                let at = at.child("password_protocols").child(index);
                report.add(
                    &at,
                    Fault::UnknownWord(alternatives(&Protocol::ALL.map(Protocol::name))),
                );
            }
        }
    }
}

impl ServerTls {
    /// As the upstream leg knows it; `None` for a plain server, which is never used.
    pub fn mode(self) -> Option<TlsMode> {
        match self {
            Self::Implicit => Some(TlsMode::Implicit),
            Self::Starttls => Some(TlsMode::StartTls),
            Self::None => None,
        }
    }
}

fn access_hint(names: &str, state: Access) -> String {
    match state {
        Access::Plan => format!("{names} is part of some plans only."),
        Access::Admin => format!("{names} can be switched off by the administrator."),
        _ => format!("{names} must be switched on once in the web settings."),
    }
}

fn password_hint(state: PasswordState) -> Option<&'static str> {
    match state {
        PasswordState::OkUnless2fa => {
            Some("With two-factor log-in on, make an app password and use that.")
        }
        PasswordState::AppPasswordAlways => Some("Make an app password and use that."),
        PasswordState::MailPasswordAlways => {
            Some("Use the separate password for mail programs, not the one of the web log-in.")
        }
        PasswordState::MailboxPassword => {
            Some("Use the password of the mailbox, not that of the customer account.")
        }
        PasswordState::Retired => Some("The normal password no longer works."),
        PasswordState::Disputed => {
            Some("The normal password no longer works in many cases; make an app password.")
        }
        PasswordState::Ok | PasswordState::Unknown => None,
    }
}

fn with_page(sentence: String, page: Option<&str>) -> String {
    match page {
        Some(page) => format!("{sentence} See {page}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::super::find_by_name;
    use crate::protocol::Protocol;

    #[test]
    fn microsoft_365_takes_a_password_for_smtp_alone() {
        let provider = find_by_name("m365").unwrap();
        let takes = Protocol::ALL.map(|p| provider.takes_password(p));
        assert_eq!(takes, [false, false, true]);
    }

    #[test]
    fn outlook_com_takes_none_and_gmail_takes_app_passwords() {
        let takes = |name, p| find_by_name(name).unwrap().takes_password(p);
        assert!(Protocol::ALL.iter().all(|p| !takes("outlookcom", *p)));
        assert!(Protocol::ALL.iter().all(|p| takes("gmail", *p)));
    }

    #[test]
    fn hints_name_the_switch_and_the_page() {
        let hints = find_by_name("webde").unwrap().hints();
        assert_eq!(
            hints.first().unwrap(),
            "IMAP and POP3 must be switched on once in the web settings. \
             See https://hilfe.web.de/pop-imap/einschalten.html"
        );
    }
}

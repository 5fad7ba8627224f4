//! What the three protocols' dialogues have in common: their inputs, their actions, their traits.
//!
//! A session passes through three machines. [`Login`] speaks to the client until it has a login attempt; [`Upstream`]
//! speaks to the provider until it is authenticated; [`Watch`] sits between the two legs afterwards. None of them does
//! IO, reads a clock or logs: the relay feeds them and carries out what they ask for.

use std::sync::Arc;

use bytes::Bytes;

use super::flow::Flow;
use super::offer::Offer;
use super::refusal::{Cause, Refusal};
use super::sasl::{self, Challenges};
use crate::profile::Profile;
use crate::protocol::{Leg, Protocol, TlsMode};
use crate::secret::Secret;

/// The client-facing dialogue before authentication: we are the server.
///
/// It owns the bytes it was given and has not used yet; [`LoginAction::HandOver`] takes them along, so a command
/// pipelined behind the login is never lost.
pub trait Login: Send {
    /// Advances the machine by one input; what is to be done is appended to `actions`, in order.
    fn step(&mut self, input: LoginInput<'_>, actions: &mut Vec<LoginAction>);

    /// Whether the client leg may be read now. False while a decision is awaited, so that a client that keeps sending
    /// grows no memory.
    fn reads(&self) -> bool;

    /// The state's name, for the line that says where a session ended.
    fn phase(&self) -> &'static str;
}

/// What a [`Login`] is told.
#[derive(Debug)]
pub enum LoginInput<'a> {
    /// The connection stands, and its implicit TLS if there is any.
    Connected,
    /// Bytes from the client, any split.
    Bytes(&'a [u8]),
    /// The client sends nothing more.
    Eof,
    /// The handshake asked for by [`LoginAction::StartTls`] is done.
    TlsReady,
    /// The upstream is authenticated; success may be said.
    Accepted(Welcome<'a>),
    /// The attempt failed; say so in the protocol's words.
    Refused(&'a Refusal),
    /// The time before login is spent.
    Deadline,
    /// The service stops.
    Shutdown,
}

/// What a client is told whose login succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    /// What the upstream named.
    pub established: &'a Established,
    /// How this client is served from now on.
    pub profile: &'a Profile,
    /// SCRAM's last message, in which we prove that we know the password, too.
    pub server_final: Option<&'a str>,
}

/// What a [`Login`] asks for.
#[derive(Debug)]
pub enum LoginAction {
    /// Bytes for the client.
    Write(Bytes),
    /// Flush, then run the TLS handshake as server, then [`LoginInput::TlsReady`].
    StartTls,
    /// Decide; answer with [`LoginInput::Accepted`] or [`LoginInput::Refused`].
    Authenticate(LoginAttempt),
    /// The dialogue is over and the watch takes over; `leftover` is what the client sent behind its login.
    HandOver {
        /// Client bytes not looked at yet.
        leftover: Bytes,
    },
    /// Flush and close.
    Close(CloseReason),
}

/// Who wants in, and what it says to prove it.
#[derive(Debug)]
pub struct LoginAttempt {
    /// The name as sent. Bytes that are no UTF-8 are replaced, and such a name matches no account.
    pub name: String,
    /// What shows that it may.
    pub proof: Proof,
    /// The command or SASL mechanism, for logs: `LOGIN`, `AUTH PLAIN`, `USER/PASS`.
    pub mechanism: &'static str,
}

/// What shows that a client knows a password.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The local password itself, or under pass-through the provider's.
    Password(Secret),
    /// CRAM-MD5 or APOP: a digest.
    Digest(sasl::Digested),
    /// SCRAM-SHA-256.
    Scram(sasl::ScramProof),
}

impl From<Secret> for Proof {
    fn from(password: Secret) -> Self {
        Self::Password(password)
    }
}

impl Proof {
    /// The password, where it was sent.
    pub fn password(&self) -> Option<&Secret> {
        match self {
            Self::Password(password) => Some(password),
            Self::Digest(_) | Self::Scram(_) => None,
        }
    }
}

/// Why a dialogue ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said LOGOUT or QUIT.
    Quit,
    /// The client went without a word.
    Eof,
    /// The time before login was spent.
    Deadline,
    /// More wrong commands or failed logins than are tolerated.
    TooManyErrors,
    /// A line or literal over the limit that cannot be skipped safely.
    TooLong,
    /// Plaintext was buffered behind STARTTLS (CVE-2011-0411).
    BytesBehindStartTls,
    /// The first bytes are HTTP or TLS, not this protocol.
    NotThisProtocol,
    /// The service stops.
    Shutdown,
}

/// What the client is shown before login, and how much is tolerated.
#[derive(Clone, Debug)]
pub struct LoginSettings {
    /// The name we give ourselves in greetings.
    pub host: String,
    /// Whether STARTTLS is on offer, or TLS stands.
    pub tls: ClientTls,
    /// SMTP: the largest message announced in `SIZE`; 0 announces no limit.
    pub max_message_size: u64,
    /// What is named and completed before login, and in which profile.
    pub offer: Arc<Offer>,
    /// What challenges are made from.
    pub challenges: Challenges,
}

impl LoginSettings {
    /// Whatever is usual: the profile `modern`, no limit of our own. Its challenges can be foreseen, which does no harm where
    /// none is offered.
    pub fn usual(protocol: Protocol, host: &str, tls: ClientTls) -> Self {
        let offer = Offer::new(protocol, Arc::default(), false, &[]);
        Self {
            host: host.to_owned(),
            tls,
            max_message_size: 0,
            offer: Arc::new(offer),
            challenges: Challenges::new(Secret::from(""), Secret::from("")),
        }
    }
}

/// TLS on the client leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// Plain, no certificate.
    Off,
    /// Plain, and the client may ask for TLS.
    Offered,
    /// The leg is encrypted.
    Active,
}

/// The upstream-facing dialogue up to "authenticated": we are the client.
pub trait Upstream: Send {
    /// Advances the machine by one input; what is to be done is appended to `actions`, in order.
    fn step(&mut self, input: UpstreamInput<'_>, actions: &mut Vec<UpstreamAction>);

    /// What the upstream named at an earlier login, so that it need not be asked again. Only a guess: what it names by
    /// itself comes first, and where it refuses what was said on this ground, it is asked before anything is concluded.
    fn assume(&mut self, _abilities: Arc<Abilities>) {}

    /// What it had to be asked for in this dialogue, to be assumed in later ones.
    fn learned(&self) -> Option<Abilities> {
        None
    }

    /// The state's name, for the line that says where a session ended.
    fn phase(&self) -> &'static str;
}

/// What an [`Upstream`] is told.
#[derive(Debug)]
pub enum UpstreamInput<'a> {
    /// The connection stands, and its implicit TLS if the settings say so.
    Connected,
    /// Bytes from the upstream, any split.
    Bytes(&'a [u8]),
    /// The upstream closed.
    Eof,
    /// The handshake asked for by [`UpstreamAction::StartTls`] is done.
    TlsReady,
}

/// What an [`Upstream`] asks for.
#[derive(Debug)]
pub enum UpstreamAction {
    /// Bytes for the upstream.
    Write(Bytes),
    /// Bytes for the upstream that carry a credential.
    WriteSecret(Secret),
    /// Flush, then run the TLS handshake as client, then [`UpstreamInput::TlsReady`].
    StartTls,
    /// Authenticated.
    Established(Box<Established>),
    /// Not authenticated; close.
    Fail(Refusal),
}

/// What an upstream answers when it is asked what it can do. The same for every account there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Before login, and under TLS. `None` where it does not know the question (POP3 without CAPA).
    pub before_login: Option<Vec<String>>,
    /// After it, where that is asked by itself (POP3).
    pub after_login: Option<Vec<String>>,
}

/// How to log in at the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Whether TLS stands from the first byte or is asked for. There is no plain.
    pub tls: TlsMode,
    /// SMTP: the name said in EHLO. Ours, never the client's.
    pub ehlo_name: String,
    /// What the upstream takes.
    pub credential: Credential,
    /// Whether the password is the client's own (`auth = "passthrough"`): its refusal is then the client's wrong
    /// password, and no fault of the stored one.
    pub passthrough: bool,
}

impl UpstreamSettings {
    /// What of the upstream's words may be quoted: nothing where they repeat the credential, as those of a server that
    /// echoes what it does not understand. What is quoted goes into logs and to the client.
    pub fn quotable<'a>(&self, theirs: &'a [u8]) -> &'a [u8] {
        let forms = self.credential.forms();
        let repeats = |form: &Secret| {
            !form.is_empty() && memchr::memmem::find(theirs, form.expose()).is_some()
        };
        if forms.iter().any(repeats) {
            b""
        } else {
            theirs
        }
    }

    /// What it means when the upstream refuses the credential: the stored one's fault, the token's, or under
    /// pass-through the client's. Where its report blames itself, it is nobody else's.
    pub(super) fn rejected(&self, report: Option<&sasl::Exchange>) -> Cause {
        match (&self.credential, self.passthrough) {
            _ if report.is_some_and(sasl::Exchange::blames_the_server) => Cause::Unavailable,
            (Credential::Bearer { .. }, _) => Cause::TokenRejected,
            (Credential::Password { .. }, true) => Cause::WrongPassword,
            (Credential::Password { .. }, false) => Cause::CredentialRejected,
        }
    }

    /// A refused login, for the person; a report's status is worth a search at the provider's.
    pub(super) fn refused(&self, cause: Cause, report: Option<&sasl::Exchange>) -> String {
        let words = match cause {
            Cause::CredentialRejected => "The mail provider refused the stored password",
            Cause::TokenRejected => "The mail provider refused the access token",
            Cause::WrongPassword => "The mail provider refused the password",
            _ => "The mail provider refused the login",
        };
        match report.and_then(sasl::Exchange::status) {
            Some(status) => format!("{words} ({status})"),
            None => words.to_owned(),
        }
    }

    /// A credential that could forge a line is never said, whatever would carry it. Under pass-through it is the
    /// client's own, else our store's.
    pub(super) fn check_credential(&self, phase: &'static str) -> Result<(), Refusal> {
        if sasl::sayable(&self.credential) {
            return Ok(());
        }
        let (cause, text) = if self.passthrough {
            (
                Cause::WrongPassword,
                "The name or password holds a control character",
            )
        } else {
            (
                Cause::ServerBug,
                "The stored name or credential holds a control character",
            )
        };
        Err(Refusal::new(cause, phase, text))
    }
}

/// What the upstream takes.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A user name and an app password.
    Password {
        /// The upstream identity.
        user: String,
        /// The provider's secret.
        password: Secret,
    },
    /// A user name and an OAuth access token, said by XOAUTH2 or OAUTHBEARER (RFC 7628) and by nothing else.
    Bearer {
        /// The upstream identity.
        user: String,
        /// The access token.
        token: Secret,
        /// The upstream's host name: OAUTHBEARER says whom the token is for.
        host: String,
        /// The upstream's port.
        port: u16,
        /// The SASL mechanisms the issuer's servers take, preferred first; empty: both, XOAUTH2 first.
        mechanisms: Vec<String>,
    },
}

impl Credential {
    /// The secret in every form in which an upstream hears it.
    fn forms(&self) -> Vec<Secret> {
        let (secret, messages) = match self {
            Self::Password { user, password } => {
                (password, vec![sasl::encode_plain(user, password)])
            }
            Self::Bearer {
                user,
                token,
                host,
                port,
                ..
            } => {
                let oauthbearer = sasl::oauthbearer(user, host, *port, token);
                (token, vec![sasl::xoauth2(user, token), oauthbearer])
            }
        };
        let mut forms = messages;
        forms.extend([secret.clone(), sasl::encode(secret.expose())]);
        forms
    }

    /// What is said to a person where the upstream takes nothing of the kind.
    pub(super) fn no_way(&self) -> &'static str {
        match self {
            Self::Password { .. } => "The mail provider offers no way to log in with a password",
            Self::Bearer { .. } => "The mail provider offers no way to log in with an OAuth token",
        }
    }
}

/// What is known once the upstream is authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// What the upstream named as its capabilities for the authenticated state, unfiltered: IMAP atoms, POP3 CAPA
    /// lines, SMTP EHLO keyword lines. `None` where it named none, and then none are invented.
    pub capabilities: Option<Vec<String>>,
    /// Bytes the upstream sent behind its last reply; the watch gets them first.
    pub leftover: Bytes,
}

/// After login: passes bytes through, sees responses and commands only where something must change.
///
/// The relay offers the unread bytes of a leg and the watch says in a [`Flow`] which of them go on, and what is said
/// besides. It returns how many bytes it took; the rest is offered again with more behind it. An incomplete line may be
/// left, up to [`HOLD_MAX`] bytes; a full window of which nothing is taken is a [`Breach`].
pub trait Watch: Send {
    /// Looks at `input` from `leg`. On a breach, what `flow` holds is still delivered before both legs are closed: a last
    /// reply may be among it.
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach>;

    /// Whether `leg` may be read now. False while the order of the two legs must be kept (a literal or DATA awaiting
    /// its go-ahead).
    fn reads(&self, leg: Leg) -> bool;

    /// `leg` sends nothing more. `rest` is what was left of it: an incomplete line.
    ///
    /// A client that has gone while answers are due is asked about again, with nothing left, whenever the upstream has
    /// said something more.
    fn eof(&mut self, leg: Leg, rest: &[u8], flow: &mut Flow) -> Ending;

    /// The session ends for a reason of ours: says so to the client where a reply may stand, and nothing inside a
    /// literal, a multi-line response or a reply.
    fn farewell(&mut self, why: Farewell, flow: &mut Flow);

    /// What the passing of time asks of it now.
    fn pulse(&self) -> Pulse {
        Pulse::None
    }

    /// The time for this has come. Only while [`Watch::pulse`] is [`Pulse::Idling`].
    fn beat(&mut self, _beat: Beat, _flow: &mut Flow) {}

    /// The upstream may outlive this client: one that takes its leave and has left nothing behind that cannot be undone
    /// is answered here, and the upstream does not hear of it.
    fn keep_upstream(&mut self) {}

    /// What the client left behind upstream: `None` until it has been told goodbye here, and for ever where it was the
    /// upstream that said it.
    fn remains(&self) -> Option<Remains> {
        None
    }

    /// The state's name, for the line that says where a session ended.
    fn phase(&self) -> &'static str;
}

/// What the passing of time asks of a [`Watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing.
    None,
    /// The client waits for news (IMAP's IDLE) and may do so as long as it likes, so both legs must be kept alive.
    Idling,
    /// The upstream is asked to go on with that, and has to answer soon.
    Renewing,
}

/// What keeps a leg alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Say something to the client.
    StillHere,
    /// Begin anew upstream.
    Renew,
}

/// What a client that has taken its leave left behind upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing that we know of.
    Nothing,
    /// IMAP: a mailbox is selected.
    Mailbox,
}

/// Between two clients: puts the upstream back to where it was right after its login. We are the client.
pub trait Reset: Send {
    /// What is said first.
    fn begin(&self) -> Bytes;

    /// Looks at what the upstream says; any split.
    fn step(&mut self, bytes: &[u8]) -> Progress;
}

/// How far a [`Reset`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Waits,
    /// The upstream is as it was after its login, and has nothing more to say.
    Clean,
    /// It is not, or not surely.
    Unfit,
}

/// The most bytes a watch may leave unread and ask for more.
pub const HOLD_MAX: usize = 16 * 1024;

/// What follows an end of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Answers are due: go on reading the other leg. Its writing side stays open, since a TLS server takes
    /// close_notify for the end of both directions (Dovecot 2.3 does) and would leave the answers unsaid.
    HalfClose,
    /// Flush and close both.
    Close,
}

/// Why we end a session that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The service stops.
    Shutdown,
    /// The upstream connection broke.
    UpstreamLost,
    /// Neither leg said anything for longer than the protocol allows.
    Idle,
}

/// A peer broke the protocol in a way that cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{leg} broke the protocol: {what}")]
pub struct Breach {
    /// Whose fault it is.
    pub leg: Leg,
    /// What it did; never its own words.
    pub what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `script` at an upstream that repeats what it was told last.
    fn refused(protocol: Protocol, credential: Credential, script: &[&str], echo: &str) -> String {
        let mut upstream = crate::proto::upstream(
            protocol,
            UpstreamSettings {
                tls: TlsMode::Implicit,
                ehlo_name: "h".into(),
                credential,
                passthrough: false,
            },
        );
        let mut actions = Vec::new();
        upstream.step(UpstreamInput::Connected, &mut actions);
        for line in script {
            upstream.step(UpstreamInput::Bytes(line.as_bytes()), &mut actions);
        }
        let Some(UpstreamAction::WriteSecret(said)) = actions.last() else {
            panic!("{actions:?}");
        };
        let said = echo.replace("{}", &String::from_utf8_lossy(said.expose()));
        upstream.step(UpstreamInput::Bytes(said.as_bytes()), &mut actions);
        match actions.pop() {
            Some(UpstreamAction::Fail(refusal)) => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_upstream_that_echoes_the_credential_is_not_quoted() {
        let imap = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] up\r\n";
        let [user, plain] = ["USER", "SASL PLAIN"].map(|c| format!("+OK\r\n+OK\r\n{c}\r\n.\r\n"));
        let smtp = "220 x\r\n250-x\r\n250 AUTH PLAIN\r\n";
        for (protocol, script, echo) in [
            (Protocol::Imap, vec![imap, "+ \r\n"], "{}"),
            (Protocol::Imap, vec![imap, "+ \r\n"], "m1 NO what is {}"),
            (Protocol::Pop3, vec![&*user, "+OK\r\n"], "-ERR unknown: {}"),
            (Protocol::Pop3, vec![&*plain, "+ \r\n"], "-ERR unknown: {}"),
            (Protocol::Smtp, vec![smtp], "500 unknown: {}"),
        ] {
            let shown = refused(protocol, password(), &script, echo);
            assert!(
                !shown.contains("app-secret") && !shown.contains("AGFubmEA"),
                "{shown}"
            );
        }
        let shown = refused(
            Protocol::Imap,
            password(),
            &[imap, "+ \r\n"],
            "m1 NO not today\r\n",
        );
        assert!(shown.contains("not today"), "{shown}");
    }

    #[test]
    fn an_upstream_that_echoes_the_token_is_not_quoted() {
        for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
            let imap = format!("* OK [CAPABILITY IMAP4rev1 AUTH={mechanism}] up\r\n");
            let pop3 = format!("+OK\r\n+OK\r\nSASL {mechanism}\r\n.\r\n");
            let smtp = format!("220 x\r\n250-x\r\n250 AUTH {mechanism}\r\n");
            for (protocol, script, echo) in [
                (Protocol::Imap, vec![&*imap, "+ \r\n"], "m1 NO what is {}"),
                (Protocol::Imap, vec![&*imap, "+ \r\n"], "m1 NO T0KEN?\r\n"),
                (Protocol::Pop3, vec![&*pop3, "+ \r\n"], "-ERR what is {}"),
                (Protocol::Smtp, vec![&*smtp], "500 what is {}"),
                (Protocol::Smtp, vec![&*smtp], "535 VDBLRU4= is over\r\n"),
            ] {
                let shown = refused(protocol, bearer(), &script, echo);
                let quoted = ["what is", "T0KEN", "is over"];
                assert!(
                    !quoted.iter().any(|words| shown.contains(words)),
                    "{mechanism}: {shown}"
                );
            }
        }
    }

    fn password() -> Credential {
        Credential::Password {
            user: "anna".into(),
            password: Secret::from("app-secret"),
        }
    }

    fn bearer() -> Credential {
        Credential::Bearer {
            user: "anna".into(),
            token: Secret::from("T0KEN"),
            host: "mail.example.org".into(),
            port: 993,
            mechanisms: Vec::new(),
        }
    }
}

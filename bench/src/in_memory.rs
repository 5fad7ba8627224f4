//! A session without sockets, clocks or TLS: the three dialogues wired as the relay wires them, with scripted peers.
//!
//! Nothing here depends on time or chance, so two runs execute the same instructions in mailsluice.

use std::sync::{Arc, LazyLock};

use mailsluice::profile::Profile;
use mailsluice::proto::dialogue::{
    ClientTls, Credential, Established, Login, LoginAction, LoginInput, LoginSettings,
    UpstreamAction, UpstreamInput, UpstreamSettings, Watch, Welcome,
};
use mailsluice::proto::flow::{Flow, Piece};
use mailsluice::proto::{login, upstream, watch};
use mailsluice::protocol::{Leg, Protocol, TlsMode};
use mailsluice::secret::Secret;

use crate::inputs::WINDOW;

/// The dialogues did not do what the script expects of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// The client's side has said everything and is still not logged in.
    #[error("the {0} login does not come to its end")]
    Login(Protocol),
    /// The upstream's side has said everything and the upstream dialogue wants more, or failed.
    #[error("the {0} upstream dialogue does not come to its end")]
    Upstream(Protocol),
    /// The watch called a scripted byte a breach.
    #[error("the watch refuses what was scripted")]
    Watch(#[from] mailsluice::proto::dialogue::Breach),
    /// The watch takes nothing of a full window.
    #[error("the watch stands still {at} octets into the script")]
    Still {
        /// How much it took before.
        at: usize,
    },
}

/// What both peers of a login say, one entry for each time it is their turn.
struct Script {
    client: &'static [&'static str],
    upstream: &'static [&'static str],
}

/// The login that most programs use against the upstream that most providers run.
fn script(protocol: Protocol) -> Script {
    match protocol {
        Protocol::Imap => Script {
            client: &[
                "a0 CAPABILITY\r\n",
                "a1 LOGIN \"anna@example.org\" wonderland\r\n",
            ],
            upstream: &[
                "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN AUTH=XOAUTH2] ready\r\n",
                "m1 OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE IDLE UIDPLUS MOVE CONDSTORE QRESYNC \
                 COMPRESS=DEFLATE UNSELECT NAMESPACE SPECIAL-USE] Logged in\r\n",
            ],
        },
        Protocol::Pop3 => Script {
            client: &[
                "CAPA\r\n",
                "USER anna@example.org\r\n",
                "PASS wonderland\r\n",
            ],
            upstream: &[
                "+OK ready\r\n",
                "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nUSER\r\nSASL PLAIN XOAUTH2\r\n.\r\n",
                "+ \r\n",
                "+OK Logged in\r\n",
                "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\n.\r\n",
            ],
        },
        Protocol::Smtp => Script {
            client: &["EHLO laptop\r\n", "AUTH PLAIN AGFubmEAd29uZGVybGFuZA==\r\n"],
            upstream: &[
                "220 mx.example ESMTP\r\n",
                "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 36700160\r\n250-8BITMIME\r\n250-DSN\r\n\
                 250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n",
                "235 2.7.0 OK\r\n",
            ],
        },
    }
}

/// Logs in and hands over to the watch, which has seen nothing yet.
pub(crate) fn log_in(protocol: Protocol) -> Result<Box<dyn Watch>, ScriptError> {
    let settings = settings(protocol);
    let script = script(protocol);
    let mut client = login(protocol, settings.clone());
    let mut actions = Vec::new();
    client.step(LoginInput::Connected, &mut actions);
    for said in script.client {
        client.step(LoginInput::Bytes(said.as_bytes()), &mut actions);
    }
    if !actions
        .iter()
        .any(|action| matches!(action, LoginAction::Authenticate(_)))
    {
        return Err(ScriptError::Login(protocol));
    }
    let established = authenticate(protocol, script.upstream)?;
    accept(protocol, &mut *client, &established, &mut actions)?;
    Ok(watch(
        protocol,
        &settings,
        Arc::clone(&settings.offer.profile),
        &established,
    ))
}

/// As a session gets them: what a listener offers is computed when it is opened, and not for each login.
fn settings(protocol: Protocol) -> LoginSettings {
    static OF_EACH: LazyLock<[LoginSettings; 3]> = LazyLock::new(|| {
        Protocol::ALL.map(|it| LoginSettings::usual(it, "sluice.test", ClientTls::Off))
    });
    let index = Protocol::ALL.iter().position(|it| *it == protocol);
    let settings = index.and_then(|index| OF_EACH.get(index)).cloned();
    settings.unwrap_or_else(|| LoginSettings::usual(protocol, "sluice.test", ClientTls::Off))
}

/// The upstream dialogue from the greeting to "authenticated".
fn authenticate(protocol: Protocol, replies: &[&str]) -> Result<Established, ScriptError> {
    let mut dialogue = upstream(protocol, upstream_settings());
    let mut actions = Vec::new();
    dialogue.step(UpstreamInput::Connected, &mut actions);
    for reply in replies {
        dialogue.step(UpstreamInput::Bytes(reply.as_bytes()), &mut actions);
        if let Some(established) = take_established(&mut actions) {
            return Ok(established);
        }
    }
    Err(ScriptError::Upstream(protocol))
}

fn take_established(actions: &mut Vec<UpstreamAction>) -> Option<Established> {
    match actions.pop()? {
        UpstreamAction::Established(established) => Some(*established),
        other => {
            actions.push(other);
            None
        }
    }
}

fn accept(
    protocol: Protocol,
    client: &mut dyn Login,
    established: &Established,
    actions: &mut Vec<LoginAction>,
) -> Result<(), ScriptError> {
    let welcome = Welcome {
        established,
        profile: &Profile::default(),
        server_final: None,
    };
    client.step(LoginInput::Accepted(welcome), actions);
    match actions.last() {
        Some(LoginAction::HandOver { leftover }) if leftover.is_empty() => Ok(()),
        _ => Err(ScriptError::Login(protocol)),
    }
}

fn upstream_settings() -> UpstreamSettings {
    UpstreamSettings {
        tls: TlsMode::Implicit,
        ehlo_name: "sluice.test".to_owned(),
        credential: Credential::Password {
            user: "anna@example.org".to_owned(),
            password: Secret::from("app-secret"),
        },
        passthrough: false,
    }
}

/// Shows `script` to the watch as the relay does, in windows of at most [`WINDOW`]; returns the octets it passed on.
pub(crate) fn relay(watch: &mut dyn Watch, leg: Leg, script: &[u8]) -> Result<usize, ScriptError> {
    let mut flow = Flow::default();
    let mut at = 0;
    let mut passed = 0;
    while let Some(rest) = script.get(at..).filter(|rest| !rest.is_empty()) {
        let window = rest.get(..WINDOW).unwrap_or(rest);
        flow.clear();
        let taken = watch.step(leg, window, &mut flow)?;
        if taken == 0 {
            return Err(ScriptError::Still { at });
        }
        passed += flow.pieces(leg.other()).iter().map(octets).sum::<usize>();
        at += taken;
    }
    Ok(passed)
}

fn octets(piece: &Piece) -> usize {
    match piece {
        Piece::Input(range) => range.len(),
        Piece::Own(bytes) => bytes.len(),
    }
}

/// Relays `script` with what stands before and behind it: the command that it answers, or the replies to it. Returns the
/// octets of the script that were passed on.
pub(crate) fn exchange(
    watch: &mut dyn Watch,
    (protocol, leg): (Protocol, Leg),
    script: &[u8],
) -> Result<usize, ScriptError> {
    let (command, reply): (&[u8], &[u8]) = match (protocol, leg) {
        (Protocol::Imap, Leg::Upstream) => (b"a1 FETCH 1:* (UID FLAGS BODY[])\r\n", b""),
        (Protocol::Imap, Leg::Client) => (b"", b""),
        (Protocol::Pop3, _) => (b"RETR 1\r\n", b""),
        (Protocol::Smtp, _) => (MAIL, b"250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 Go on\r\n"),
    };
    relay(watch, Leg::Client, command)?;
    relay(watch, Leg::Upstream, reply)?;
    let passed = relay(watch, leg, script)?;
    let verdict: &[u8] = match (protocol, leg) {
        (Protocol::Imap, Leg::Client) => b"a1 OK APPEND completed\r\n",
        (Protocol::Smtp, _) => b"250 2.0.0 Queued\r\n",
        _ => b"",
    };
    relay(watch, Leg::Upstream, verdict)?;
    Ok(passed)
}

const MAIL: &[u8] = b"MAIL FROM:<anna@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n";

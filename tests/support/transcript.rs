//! A transcript file, parsed: settings, and what each party says and does, line by line. The format is explained in
//! `tests/transcripts/README.md`. Nothing here knows how it is replayed.

use std::path::Path;
use std::sync::Arc;

use mailsluice::profile::{Profile, builtin};
use mailsluice::proto::dialogue::{Abilities, Beat, ClientTls, Farewell};
use mailsluice::proto::refusal::Cause;
use mailsluice::protocol::{Leg, Protocol, TlsMode};

/// One file.
pub(crate) struct Transcript {
    /// Its path, as it is reported.
    pub(crate) file: String,
    pub(crate) settings: Settings,
    /// What happens, cut where the parties take turns.
    pub(crate) turns: Vec<Turn>,
}

/// The `@` lines.
pub(crate) struct Settings {
    pub(crate) protocol: Protocol,
    pub(crate) client_tls: ClientTls,
    pub(crate) upstream_tls: TlsMode,
    pub(crate) credential: Credential,
    /// What the upstream takes as a token, and the SASL mechanisms it may go by.
    pub(crate) token: String,
    pub(crate) mechanisms: Vec<String>,
    pub(crate) max_message_size: u64,
    /// How the client is served.
    pub(crate) profile: Arc<Profile>,
    /// The local password can be recovered, and challenges are made from a seed that is always the same.
    pub(crate) recoverable: bool,
    /// What every upstream here is known to name.
    pub(crate) promised: Vec<String>,
    /// What the upstream named at an earlier login, before it and after it.
    pub(crate) assumed: Option<Abilities>,
    /// The upstream may outlive the client.
    pub(crate) keep: bool,
    /// Replayed in one mode only; the file says why.
    pub(crate) whole_only: bool,
}

/// What goes upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A password of the provider's.
    Stored,
    /// The client's own password.
    Passthrough,
    /// An OAuth token.
    Bearer,
}

/// Inputs, then everything they lead to. The first turn has no inputs: it is what we say to a new connection.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) inputs: Vec<Numbered<Input>>,
    pub(crate) expected: Vec<Numbered<Expected>>,
}

/// With the line of the file it stands in.
pub(crate) struct Numbered<T> {
    pub(crate) line: usize,
    pub(crate) what: T,
}

/// What the peers or the world do.
pub(crate) enum Input {
    /// `C:` or `P:`
    Bytes(Leg, Vec<u8>),
    Eof(Leg),
    /// The handshake that a dialogue asked for is done.
    TlsReady(Leg),
    Deadline,
    Shutdown,
    Farewell(Farewell),
    /// The time to keep a leg alive has come.
    Beat(Beat),
    /// The next login attempt is refused.
    Refuse(Cause),
}

/// What mailsluice must do.
pub(crate) enum Expected {
    /// `A:` or `U:`, said to that leg.
    Bytes(Leg, Vec<u8>),
    /// `close quit`, `close`, `half-close`, `upstream failed in-use`, `breach client`.
    Outcome(String),
}

/// A line that is no transcript line.
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Transcript {
    /// Parses `text`; `file` is only for reports.
    pub(crate) fn parse(file: &Path, protocol: Protocol, text: &str) -> Result<Self, Malformed> {
        let mut transcript = Self {
            file: file.display().to_string(),
            settings: Settings::new(protocol),
            turns: vec![Turn::default()],
        };
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            transcript
                .line(line, text)
                .map_err(|what| Malformed { line, what })?;
        }
        Ok(transcript)
    }

    fn line(&mut self, line: usize, text: &str) -> Result<(), String> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (voice, rest) = text.split_once(' ').unwrap_or((text, ""));
        match voice {
            "@" => self.settings.set(rest)?,
            "C:" => self.input(line, Input::Bytes(Leg::Client, unescape(rest)?)),
            "P:" => self.input(line, Input::Bytes(Leg::Upstream, unescape(rest)?)),
            "A:" => self.expect(line, Expected::Bytes(Leg::Client, unescape(rest)?)),
            "U:" => self.expect(line, Expected::Bytes(Leg::Upstream, unescape(rest)?)),
            "!" => match event(rest)? {
                Some(input) => self.input(line, input),
                None => self.expect(line, Expected::Outcome(rest.to_owned())),
            },
            _ => return Err(format!("no voice is called {voice:?}")),
        }
        Ok(())
    }

    fn input(&mut self, line: usize, what: Input) {
        let numbered = Numbered { line, what };
        match self.turns.last_mut() {
            Some(turn) if turn.expected.is_empty() && !turn.inputs.is_empty() => {
                turn.inputs.push(numbered);
            }
            _ => self.turns.push(Turn {
                inputs: vec![numbered],
                expected: Vec::new(),
            }),
        }
    }

    fn expect(&mut self, line: usize, what: Expected) {
        if let Some(turn) = self.turns.last_mut() {
            turn.expected.push(Numbered { line, what });
        }
    }
}

impl Settings {
    /// What holds where a file says nothing else.
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            client_tls: ClientTls::Off,
            upstream_tls: TlsMode::Implicit,
            credential: Credential::Stored,
            token: TOKEN.to_owned(),
            mechanisms: Vec::new(),
            max_message_size: 0,
            profile: Arc::default(),
            recoverable: false,
            promised: Vec::new(),
            assumed: None,
            keep: false,
            whole_only: false,
        }
    }

    fn assume(&mut self) -> &mut Abilities {
        self.assumed.get_or_insert_default()
    }

    fn set(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once(' ').unwrap_or((text, ""));
        match (key, value) {
            ("tls", "off") => self.client_tls = ClientTls::Off,
            ("tls", "offered") => self.client_tls = ClientTls::Offered,
            ("tls", "active") => self.client_tls = ClientTls::Active,
            ("upstream", "implicit") => self.upstream_tls = TlsMode::Implicit,
            ("upstream", "starttls") => self.upstream_tls = TlsMode::StartTls,
            ("password", "stored") => self.credential = Credential::Stored,
            ("password", "passthrough") => self.credential = Credential::Passthrough,
            ("password", "bearer") => self.credential = Credential::Bearer,
            ("mechanisms", list) => {
                self.mechanisms = list.split(' ').map(str::to_owned).collect();
            }
            ("token-length", length) => {
                let length = length.parse().map_err(|_| "token-length is a number")?;
                self.token = TOKEN.chars().cycle().take(length).collect();
            }
            ("max-size", size) => {
                self.max_message_size = size.parse().map_err(|_| "max-size is a number")?;
            }
            ("assume", list) => self.assume().before_login = words(list),
            ("assume-after-login", list) => self.assume().after_login = words(list),
            ("profile", name) => {
                let profile = builtin(name).ok_or("no profile is called so")?;
                self.profile = Arc::new(profile);
            }
            ("recoverable", "") => self.recoverable = true,
            ("promised", list) => self.promised = words(list).unwrap_or_default(),
            ("keep", "") => self.keep = true,
            ("whole-only", reason) if !reason.is_empty() => self.whole_only = true,
            ("whole-only", _) => return Err("whole-only needs a reason".into()),
            _ => return Err(format!("no setting is called {text:?}")),
        }
        Ok(())
    }
}

/// Capabilities, in POP3 lines, with a comma between them; `-` where the question was not understood.
fn words(list: &str) -> Option<Vec<String>> {
    (list != "-").then(|| list.split(',').map(str::to_owned).collect())
}

/// What stands behind `!`: an input, or `None` for an outcome.
fn event(text: &str) -> Result<Option<Input>, String> {
    let words: Vec<&str> = text.split(' ').collect();
    Ok(Some(match words.as_slice() {
        ["client", "eof"] => Input::Eof(Leg::Client),
        ["upstream", "eof"] => Input::Eof(Leg::Upstream),
        ["client", "tls"] => Input::TlsReady(Leg::Client),
        ["upstream", "tls"] => Input::TlsReady(Leg::Upstream),
        ["deadline"] => Input::Deadline,
        ["shutdown"] => Input::Shutdown,
        ["farewell", "shutdown"] => Input::Farewell(Farewell::Shutdown),
        ["farewell", "upstream-lost"] => Input::Farewell(Farewell::UpstreamLost),
        ["beat", "still-here"] => Input::Beat(Beat::StillHere),
        ["beat", "renew"] => Input::Beat(Beat::Renew),
        ["farewell", "idle"] => Input::Farewell(Farewell::Idle),
        ["refuse", name] => Input::Refuse(cause(name)?),
        ["upstream", "failed", name] => {
            cause(name)?;
            return Ok(None);
        }
        ["close" | "half-close" | "kept" | "clean" | "unfit"]
        | ["close", _]
        | ["breach", "client" | "upstream"] => {
            return Ok(None);
        }
        _ => return Err(format!("nothing is called {text:?}")),
    }))
}

fn cause(name: &str) -> Result<Cause, String> {
    CAUSES
        .into_iter()
        .find(|cause| cause.name() == name)
        .ok_or_else(|| format!("no cause is called {name:?}"))
}

/// Resolves the escapes and appends CRLF, unless the text ends in `\-`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        let one = match chars.next() {
            Some('r') if escape.starts_with("rep(") => {
                rest = repeat(escape, &mut bytes)?;
                continue;
            }
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let (hex, tail) = escape.split_at_checked(3).ok_or("\\x needs two digits")?;
                let hex = hex.trim_start_matches('x');
                bytes.push(u8::from_str_radix(hex, 16).map_err(|_| "\\x needs two digits")?);
                rest = tail;
                continue;
            }
            Some('-') if chars.as_str().is_empty() => return Ok(bytes),
            _ => return Err(format!("no such escape: \\{escape}")),
        };
        bytes.push(one);
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

/// `rep(N,text)`; what follows it is returned.
fn repeat<'a>(escape: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let parts = escape
        .strip_prefix("rep(")
        .and_then(|inner| inner.split_once(')'))
        .and_then(|(inner, tail)| Some((inner.split_once(',')?, tail)));
    let Some(((count, text), tail)) = parts else {
        return Err("\\rep is written \\rep(N,text)".into());
    };
    let count: usize = count.parse().map_err(|_| "\\rep needs a number")?;
    let mut once = unescape(text)?;
    once.truncate(once.len().saturating_sub(2));
    for _ in 0..count {
        bytes.extend_from_slice(&once);
    }
    Ok(tail)
}

/// The access token of transcripts, or what a longer one is made of.
const TOKEN: &str = "access-token";

const CAUSES: [Cause; 15] = [
    Cause::WrongPassword,
    Cause::CredentialRejected,
    Cause::TokenRejected,
    Cause::SignInNeeded,
    Cause::ContactAdmin,
    Cause::PasswordExpired,
    Cause::Unavailable,
    Cause::UntrustedUpstream,
    Cause::UpstreamPolicy,
    Cause::LimitReached,
    Cause::InUse,
    Cause::ProtocolOff,
    Cause::ServerBug,
    Cause::PrivacyRequired,
    Cause::Shutdown,
];

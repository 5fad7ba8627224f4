//! What was asked: the file mirror, the checked runtime types, the provider presets.
//!
//! | file | role |
//! |---|---|
//! | `paths.rs` | where the file and the state are |
//! | `source.rs` | the layers (defaults, file, environment, flags), merged by figment; which line a setting stands on |
//! | `file.rs` | what may be written: serde types, unknown keys refused |
//! | `read.rs` | layers → file types, reporting every error and not only the first |
//! | `check/` | file types → runtime types; everything that can be wrong without opening a port |
//! | `fault.rs`, `problem.rs` | what is wrong, where, and what to write instead |
//! | `runtime.rs`, `reach.rs`, `accounts.rs` | the checked configuration; where listeners stand; login name → account |
//! | `proxy.rs` | the URLs of proxies, and which hosts are reached without |
//! | `providers/` | the mail providers we know |
//! | `issuers.rs`, `oauth.rs` | the OAuth issuers we know; the checked grants |
//! | `edit.rs` | `account add` and `remove` in the user's file, comments kept |
//!
//! It opens no port, runs no command and reads no secret: it looks only whether a secret's file is there and closed to
//! others.

mod accounts;
mod check;
pub mod edit;
mod fault;
mod file;
pub mod issuers;
mod key;
mod names;
mod nearest;
pub mod oauth;
mod paths;
pub mod problem;
pub mod providers;
mod proxy;
mod reach;
mod read;
pub mod runtime;
mod source;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::{Dict, Value};

pub use self::accounts::Found;
pub use self::check::PortProbe;
use self::check::{Check, Files, Written};
use self::fault::Fault;
use self::file::File;
use self::key::KeyPath;
pub use self::problem::{Place, Problem, Problems};
use self::providers::Catalogue;
pub use self::proxy::password_in;
use self::read::{Report, read};
use self::runtime::{Config, Listener};
pub use self::source::Flag;
use self::source::{Sources, TomlFile};

/// What to load. Not `Debug`: the environment may hold secrets.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// `--config`; without it the variable `MAILSLUICE_CONFIG`, then the usual places.
    pub path: Option<PathBuf>,
    /// Text to take in place of the file's: an edit that is not written yet.
    pub text: Option<String>,
    /// The process environment.
    pub environment: HashMap<String, String>,
    /// Settings from the command line.
    pub flags: Vec<Flag>,
    /// Whether environment variables and systemd credentials that hold secrets must be there now: for `run` and
    /// `check`. Other commands may run in another environment than the service.
    pub for_service: bool,
    /// How to see that a listener's port is taken. For a start of the service, and for `check` while none runs; on a
    /// reload the ports in use are our own.
    pub port_probe: Option<PortProbe>,
}

/// A checked configuration and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// What was asked. Shared, since sessions keep the one they began with.
    pub config: Arc<Config>,
    /// The file: where it is, or would be.
    pub path: PathBuf,
    /// Whether the file is there.
    pub exists: bool,
    /// The compiled-in providers and the user's own.
    pub providers: Catalogue,
    /// Where each of `config.listeners` is written.
    listeners_written: Vec<Written>,
}

impl LoadRequest {
    /// With the environment of this process. Variables that are no UTF-8 are left out: no setting is one.
    pub fn from_process(path: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let variables = std::env::vars_os();
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            path,
            flags,
            environment: variables.filter_map(unicode).collect(),
            ..Self::default()
        }
    }

    /// Where the file is, or would be.
    pub fn config_path(&self) -> PathBuf {
        let given = self.path.clone().or_else(|| self.named_by_variable());
        given.unwrap_or_else(|| paths::config_file(&self.environment))
    }

    fn named_by_variable(&self) -> Option<PathBuf> {
        self.environment
            .get(source::CONFIG_VARIABLE)
            .map(PathBuf::from)
    }
}

impl Loaded {
    /// The problem that one of `config.listeners` cannot listen, found when it is bound.
    pub fn cannot_listen(&self, listener: &Listener, trouble: io::ErrorKind) -> Option<Problem> {
        let same = |l: &Listener| l.address == listener.address && l.protocol == listener.protocol;
        let index = self.config.listeners.iter().position(same)?;
        let written = self.listeners_written.get(index)?;
        Some(written.cannot_listen(vec![listener.address.clone()], trouble))
    }
}

/// Reads and checks everything: defaults, then the file, then the `MAILSLUICE_` environment, then flags.
///
/// No port is opened. Either all is well, or every problem is reported.
pub fn load(request: &LoadRequest) -> Result<Loaded, Problems> {
    let path = request.config_path();
    let single = |problem| Problems::new(vec![problem]);
    let text = read_file(request, &path).map_err(single)?;
    let exists = text.is_some();
    let file = text
        .map(|text| TomlFile::parse(&path, text))
        .transpose()
        .map_err(single)?;
    let sources = Sources::new(file, &request.environment, &request.flags);
    let defaults = TomlFile::parse(Path::new("defaults"), DEFAULTS.to_owned()).map_err(single)?;
    let mut merged = sources.merged(defaults.dict()).ok_or_else(|| {
        single(Problem::new(
            Place::Default,
            &KeyPath::root(),
            Fault::Unreadable,
        ))
    })?;
    let mut report = Report::new(&sources);
    let accounts = take_list("account", &mut merged, &mut report);
    let listeners = take_list("listener", &mut merged, &mut report);
    let file: File = read(Value::from(merged), &KeyPath::root(), &mut report).unwrap_or_default();
    let base = path.parent().unwrap_or(Path::new(""));
    let catalogue = catalogue(&file, base, request, &mut report);
    let mut check = Check {
        catalogue: &catalogue,
        defaults: &file.defaults,
        issuers: &file.issuer,
        profiles: HashMap::new(),
        proxy: check::OfEnvironment::of(&request.environment),
        sign_in_port: file.sign_in.port,
        base,
        environment: &request.environment,
        for_service: request.for_service,
        addresses: HashSet::new(),
        grants: BTreeMap::new(),
        loopback_upstreams: Vec::new(),
        files: Files::default(),
        report,
    };
    let (config, listeners_written) = checked(&file, accounts, listeners, request, &mut check);
    let problems = check.report.into_problems();
    if !problems.is_empty() {
        return Err(Problems::new(problems));
    }
    Ok(Loaded {
        config: Arc::new(config),
        path,
        exists,
        providers: catalogue,
        listeners_written,
    })
}

fn checked(
    file: &File,
    accounts: Vec<Value>,
    listeners: Vec<Value>,
    request: &LoadRequest,
    check: &mut Check<'_>,
) -> (Config, Vec<Written>) {
    let host = file.host.clone().unwrap_or_default();
    check::host(&host, check);
    let state_dir = match &file.state_dir {
        Some(path) => check.path(path),
        None => paths::state_dir(check.environment),
    };
    check::issuers(&file.issuer, check);
    check.profiles = check::profiles(&file.profile, check);
    let accounts = check::accounts(accounts, check);
    let listeners = check::listeners(listeners, &accounts, check);
    if let Some(probe) = request.port_probe {
        check::ports(&listeners, probe, check);
        check::callback_port(file.sign_in.port, &accounts, probe, check);
    }
    let (listeners, written): (Vec<_>, _) = listeners.into_iter().unzip();
    let sign_in = check::sign_in(&file.sign_in, &listeners, check);
    let config = Config {
        listeners,
        accounts,
        profiles: std::mem::take(&mut check.profiles),
        store: check::store(&file.store, &state_dir, check),
        state_dir,
        host,
        limits: check::limits(&file.limits, check),
        warm: check::warm(&file.warm, check),
        log: check::log(&file.log, check),
        sign_in,
        certificates: check::certificates(&file.certificates, check),
    };
    (config, written)
}

/// Where the state is, as far as that can be told while other settings may be wrong.
pub fn state_dir(request: &LoadRequest) -> PathBuf {
    let path = request.config_path();
    let text = read_file(request, &path).ok().flatten();
    let file = text.and_then(|text| TomlFile::parse(&path, text).ok());
    let sources = Sources::new(file, &request.environment, &request.flags);
    let written = sources.merged(Dict::new()).and_then(|mut merged| {
        let value = merged.remove("state_dir")?;
        value.into_string()
    });
    let base = path.parent().unwrap_or(Path::new(""));
    match written {
        Some(text) => check::absolute(&text, base, &request.environment),
        None => paths::state_dir(&request.environment),
    }
}

/// The file's text; `None` where there is none and none was asked for by name.
fn read_file(request: &LoadRequest, path: &Path) -> Result<Option<String>, Problem> {
    let whole = |fault| {
        let place = Place::File(path.to_owned(), None);
        Problem::new(place, &KeyPath::root(), fault)
    };
    if let Some(text) = &request.text {
        return Ok(Some(text.clone()));
    }
    let named = request.path.is_some() || request.named_by_variable().is_some();
    match fs::read_to_string(path) {
        Ok(_) if writable_by_anyone(path) => Err(whole(Fault::WritableByAnyone)),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) => Err(whole(Fault::NoFile(error.kind()))),
    }
}

#[cfg(unix)]
fn writable_by_anyone(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o002 != 0)
}

#[cfg(not(unix))]
fn writable_by_anyone(_: &Path) -> bool {
    false
}

/// Takes the entries of a `[[name]]` list out of `merged`.
fn take_list(name: &'static str, merged: &mut Dict, report: &mut Report<'_>) -> Vec<Value> {
    match merged.remove(name) {
        None => Vec::new(),
        Some(Value::Array(_, entries)) => entries,
        Some(_) => {
            report.add(
                &KeyPath::root().child(name),
                Fault::NeedsDoubleBrackets(name),
            );
            Vec::new()
        }
    }
}

/// The compiled-in providers under those of the user's files; of two files the later one wins.
fn catalogue(
    file: &File,
    base: &Path,
    request: &LoadRequest,
    report: &mut Report<'_>,
) -> Catalogue {
    let mut catalogue = providers::builtin().clone();
    for (index, name) in file.providers.iter().enumerate() {
        let path = check::absolute(name, base, &request.environment);
        match fs::read_to_string(&path) {
            Ok(text) => match providers::parse(&path, text) {
                Ok(file) => catalogue = catalogue.overridden_by(file),
                Err(problems) => report.extend(problems),
            },
            Err(error) => {
                let why = error.kind();
                let key = KeyPath::root().child("providers").child(index);
                report.add(&key, Fault::UnreadableFile { path, why });
            }
        }
    }
    catalogue
}

/// The weakest layer. What depends on the machine (`state_dir`, the store in it, listeners on both loopbacks) is
/// decided by the checks.
///
/// `host` is a name below `.localhost`, which RFC 6761 keeps for the own machine: it has the form of a full name, as
/// some servers demand in EHLO, and tells nothing about the machine. The times are those of PROTOCOL B.7.
///
/// The port that sign-ins come back to stays the same, since some issuers compare the whole redirect URI with the one
/// that was registered, and a person who forwards it by SSH must know it. 8143 is in nobody's registry that we know of,
/// below the ports that systems hand out for a while (from 32768), and none that browsers refuse to open.
const DEFAULTS: &str = r#"
host = "mailsluice.localhost"

[limits]
sessions = 20_000
sessions_per_peer = 100
before_login = 60
login = 25
drain = 30

[warm]
sessions = 2
idle = 30

[log]
filter = "info"
format = "text"

[sign_in]
port = 8143
"#;

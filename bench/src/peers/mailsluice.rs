//! mailsluice itself, as somebody sets it up: a configuration file, local passwords made by its own command, `run`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Login, Peer, Ports, Running, Setup, Upstream, first_line, free_ports, wait_ready};
use crate::error::BenchError;

/// A binary of it.
#[derive(Debug)]
pub(crate) struct Mailsluice {
    name: &'static str,
    binary: PathBuf,
    /// What is said in the configuration besides what all have.
    settings: &'static str,
    /// So many accounts besides those that are used.
    fillers: usize,
}

impl Mailsluice {
    /// The one that is built.
    pub(crate) fn new(binary: PathBuf) -> Self {
        Self {
            name: "mailsluice",
            binary,
            settings: "",
            fillers: 0,
        }
    }

    /// The same, but each login goes upstream.
    pub(crate) fn cold(binary: PathBuf) -> Self {
        Self {
            name: "mailsluice-cold",
            binary,
            settings: "[warm]\nsessions = 0\n",
            fillers: 0,
        }
    }

    /// Another one, to compare with.
    pub(crate) fn named(name: &str, binary: PathBuf) -> Self {
        Self {
            // A target's name lives as long as the program: there are a handful.
            name: Box::leak(format!("mailsluice:{name}").into_boxed_str()),
            binary,
            settings: "",
            fillers: 0,
        }
    }

    /// With so many accounts besides, every other one with a password.
    pub(crate) fn with(self, fillers: usize) -> Self {
        Self { fillers, ..self }
    }

    fn config(&self, upstream: &Upstream, listeners: [SocketAddr; 3]) -> String {
        let settings = self.settings;
        let ca = upstream.ca.display();
        let mut text = format!(
            "state_dir = \"state\"\n\
             {settings}[limits]\nsessions = 100000\n\
             [sign_in]\nport = 0\n\
             [issuer.bench]\ntoken_url = \"{token}\"\nauthorize_url = \"{token}\"\nclient_id = \"bench\"\n\
             client_secret = {{ file = \"client-secret\" }}\nsasl = [\"XOAUTH2\"]\n",
            token = upstream.token_endpoint,
        );
        let fillers = (0..self.fillers).map(|number| {
            let how = if number % 2 == 0 {
                BY_PASSWORD
            } else {
                BY_TOKEN
            };
            (format!("filler-{number}@bench.example"), how)
        });
        let used = [(ACCOUNT, BY_PASSWORD), (OAUTH_ACCOUNT, BY_TOKEN)];
        let accounts = fillers.chain(used.map(|(address, how)| (address.to_owned(), how)));
        let protocols = [
            ("imap", upstream.imap),
            ("pop3", upstream.pop3),
            ("smtp", upstream.smtp),
        ];
        for (address, how) in accounts {
            text.push_str(&format!(
                "\n[[account]]\naddress = \"{address}\"\nprovider = \"custom\"\nuser = \"{}\"\n{how}\n",
                upstream.user
            ));
            for (protocol, at) in protocols {
                text.push_str(&format!(
                    "[account.{protocol}]\nhost = \"{}\"\nport = {}\nca_file = \"{ca}\"\n",
                    upstream.host,
                    at.port()
                ));
            }
        }
        for ((protocol, _), address) in protocols.into_iter().zip(listeners) {
            text.push_str(&format!(
                "\n[[listener]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n"
            ));
        }
        text
    }

    /// Runs a command that reads the whole configuration, beside the service.
    pub(crate) fn read_configuration(&self, dir: &Path) -> Result<(), BenchError> {
        let output = self
            .command(dir)
            .args(["account", "show", ACCOUNT])
            .output()
            .map_err(BenchError::io("running mailsluice"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(BenchError::start(self.name, said))
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .current_dir(dir)
            .stdin(Stdio::null())
            .arg("--config")
            .arg(dir.join(CONFIG));
        command
    }

    fn local_password(&self, dir: &Path, account: &str) -> Result<String, BenchError> {
        let output = self
            .command(dir)
            .args(["password", "add", account])
            .output()
            .map_err(BenchError::io("running mailsluice"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::start(self.name, said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Peer for Mailsluice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn understands_protocol(&self) -> bool {
        true
    }

    fn find(&self) -> Option<String> {
        first_line(Command::new(&self.binary).arg("--version"))
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let dir = setup.dir;
        let [imap, pop3, smtp] = free_ports()?;
        write(&dir.join("password"), &setup.upstream.password)?;
        write(&dir.join("client-secret"), "bench")?;
        write(
            &dir.join(CONFIG),
            &self.config(setup.upstream, [imap, pop3, smtp]),
        )?;
        let password = self.local_password(dir, ACCOUNT)?;
        let oauth = self.local_password(dir, OAUTH_ACCOUNT)?;
        let log = File::create(dir.join("log")).map_err(BenchError::io("opening the log"))?;
        let child = self
            .command(dir)
            .arg("run")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(BenchError::io("starting mailsluice"))?;
        let running = Running::one(
            child,
            Ports {
                imap: Some(imap),
                pop3: Some(pop3),
                smtp: Some(smtp),
                user: ACCOUNT.to_owned(),
                password,
                oauth: Some(Login {
                    user: OAUTH_ACCOUNT.to_owned(),
                    password: oauth,
                }),
                ..Ports::default()
            },
        );
        for port in [imap, pop3, smtp] {
            wait_ready(self.name, port).map_err(|_| {
                let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                BenchError::start(self.name, log)
            })?;
        }
        Ok(running)
    }
}

/// For its owner alone, as mailsluice wants it of what holds a secret.
fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(BenchError::io(format!("writing {}", path.display())))
}

const BY_PASSWORD: &str = "password = { file = \"password\" }";
const BY_TOKEN: &str = "auth = \"oauth\"\noauth = { issuer = \"bench\", flow = \"client-credentials\", scopes = { common = [\"mail\"] } }";
const CONFIG: &str = "mailsluice.toml";
const ACCOUNT: &str = "password@bench.example";
const OAUTH_ACCOUNT: &str = "oauth@bench.example";

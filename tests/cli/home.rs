//! A home folder to run the program in, and the service running there.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mailsluice::bridge::provider::Provider;
use mailsluice::protocol::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// An empty home folder.
pub(crate) struct Home(TempDir);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The output of a command that had to succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// The one line of output of a command that had to succeed.
    #[track_caller]
    pub(crate) fn line(self) -> String {
        let text = self.ok();
        let line = text.strip_suffix('\n').unwrap_or(&text);
        assert!(!line.is_empty() && !line.contains('\n'), "{text:?}");
        line.to_owned()
    }

    /// The output as JSON, whatever the exit code.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// What a command that had to fail with `code` said about it.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.stderr.is_empty(), "it says nothing");
        self.stderr
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// One with a configuration whose `[defaults]` lead to `provider`, and with comments to keep.
    pub(crate) fn at(provider: &Provider) -> (Self, String) {
        let home = Self::new();
        home.write("ca.pem", provider.ca_pem());
        let mut text = "# mine\n\n[defaults] # shared by all\n".to_owned();
        for protocol in Protocol::ALL {
            let port = provider.port(protocol);
            text.push_str(&format!(
                "{protocol} = {{ host = \"localhost\", port = {port}, ca_file = \"~/ca.pem\" }}\n"
            ));
        }
        for protocol in Protocol::ALL {
            text.push_str(&format!(
                "\n[[listener]] # any free port\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n"
            ));
        }
        text.push_str("# the end\n");
        home.write(CONFIG, &text);
        (home, text)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file for its owner alone, with its folders.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path).expect("a file");
        file.write_all(text.as_bytes()).expect("its text");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file in UTF-8")
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.path(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    }

    /// The program with nothing of the outer environment but the way to other programs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsluice"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    /// With `input` on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("its input");
        // Who needs no input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        Done {
            code: output.status.code().expect("it exits"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts the service and waits until it is ready.
    pub(crate) fn start(&self) -> Service<'_> {
        let mut process = self.command(&["run"]).spawn().expect("it starts");
        let log = lines(process.stderr.take().expect("its log"));
        let service = Service {
            home: self,
            process,
            log,
        };
        service.wait_for("ready");
        service
    }
}

/// A running service; killed when dropped.
pub(crate) struct Service<'a> {
    home: &'a Home,
    process: Child,
    log: Receiver<String>,
}

impl Service<'_> {
    /// Reads the log up to the line that holds `text`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {text:?} in the log: {seen:#?}"),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).ok();
        let pid = id.and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it takes the signal");
    }

    pub(crate) fn ended(mut self) -> ExitStatus {
        self.process.wait().expect("it ends")
    }

    /// Where a protocol is served, as `status --json` tells.
    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        let status = self.home.run(&["status", "--json"]).json();
        let listeners = status["listeners"].as_array().expect("listeners");
        let ours = listeners.iter().find(|l| l["protocol"] == protocol.name());
        let address = ours.and_then(|listener| listener["address"].as_str());
        address.and_then(|a| a.parse().ok()).expect("an address")
    }

    /// Logs in by POP3 and says whether it was let in.
    pub(crate) fn pop3(&self, user: &str, password: &str) -> (Pop3, bool) {
        let mut client = Pop3::connect(self.address(Protocol::Pop3));
        client.say(&format!("USER {user}"));
        let reply = client.say(&format!("PASS {password}"));
        (client, reply.starts_with("+OK"))
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The smallest POP3 client.
pub(crate) struct Pop3(BufReader<TcpStream>);

impl Pop3 {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let mut client = Self(BufReader::new(stream));
        client.line();
        client
    }

    pub(crate) fn say(&mut self, command: &str) -> String {
        let stream = self.0.get_mut();
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("it reads");
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        line
    }

    /// What comes until it closes.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("it closes");
        rest
    }
}

fn lines(log: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether a program is there to be asked.
pub(crate) fn installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| Path::new(&folder).join(program).is_file())
}

/// Where the configuration is, below the home folder.
pub(crate) const CONFIG: &str = ".config/mailsluice/mailsluice.toml";

/// Where the state is.
pub(crate) const STATE: &str = ".local/state/mailsluice";

/// Only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

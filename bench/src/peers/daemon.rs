//! What the installed proxies share: a configuration file, a start in the foreground, the ports that clients use.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Ports, Upstream};
use crate::error::BenchError;

/// Writes `text` to `name` in `dir`.
pub(crate) fn configuration(dir: &Path, name: &str, text: &str) -> Result<PathBuf, BenchError> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(BenchError::io(format!("writing {}", path.display())))?;
    Ok(path)
}

/// Starts `command` in `dir`; what it says goes to a log there. It answers on all of `ports` when this returns.
pub(crate) fn start(
    program: &str,
    command: &mut Command,
    dir: &Path,
    ports: &[SocketAddr],
) -> Result<Child, BenchError> {
    let log = dir.join(format!("{program}.log"));
    let to = || File::options().create(true).append(true).open(&log);
    let mut child = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(to().map_err(BenchError::io("opening a log"))?)
        .stderr(to().map_err(BenchError::io("opening a log"))?)
        .spawn()
        .map_err(BenchError::io(format!("starting {program}")))?;
    match ports
        .iter()
        .try_for_each(|port| await_port(program, &mut child, *port))
    {
        Ok(()) => Ok(child),
        Err(error) => {
            end(&mut child);
            let last = last_line(&log);
            Err(last.map_or(error, |line| BenchError::start(program, line)))
        }
    }
}

/// Waits until something accepts connections there; what has ended is not waited for.
fn await_port(program: &str, child: &mut Child, port: SocketAddr) -> Result<(), BenchError> {
    let deadline = Instant::now() + READY;
    while TcpStream::connect(port).is_err() {
        let ended = child
            .try_wait()
            .map_err(BenchError::io(format!("waiting for {program}")))?;
        if let Some(status) = ended {
            return Err(BenchError::start(
                program,
                format!("it ended with {status}"),
            ));
        }
        if Instant::now() > deadline {
            return Err(BenchError::start(
                program,
                format!("nothing answers on {port}"),
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Lets it end its own children, and ends it if it does not.
fn end(child: &mut Child) {
    crate::process::end(&[child.id()], &[child.id()], GRACE);
    let _ = child.wait();
}

fn last_line(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    text.lines()
        .rfind(|line| !line.trim().is_empty())
        .map(str::to_owned)
}

/// How long a program may take to come up.
const READY: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

impl Upstream {
    /// IMAP, POP3, SMTP.
    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        [self.imap, self.pop3, self.smtp]
    }
}

impl Ports {
    /// Of a target behind which the client says the upstream's user and password.
    pub(crate) fn blind(upstream: &Upstream, [imap, pop3, smtp]: [SocketAddr; 3]) -> Self {
        Self {
            imap: Some(imap),
            pop3: Some(pop3),
            smtp: Some(smtp),
            user: upstream.user.clone(),
            password: upstream.password.clone(),
            ..Self::default()
        }
    }

    /// Of a target that says the upstream's secret itself: clients have a password of their own.
    pub(crate) fn own([imap, pop3, smtp]: [SocketAddr; 3]) -> Self {
        Self {
            imap: Some(imap),
            pop3: Some(pop3),
            smtp: Some(smtp),
            user: LOCAL_USER.to_owned(),
            password: LOCAL_PASSWORD.to_owned(),
            ..Self::default()
        }
    }
}

const LOCAL_USER: &str = "client@bench.test";
/// Not the upstream's, so that a target that passes it on is found out.
pub(crate) const LOCAL_PASSWORD: &str = "local-password";

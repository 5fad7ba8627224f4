//! Processes of our own executable: the upstream and the baselines. Each says where it listens in one line of JSON, and
//! ends with its standard input, so with whoever started it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BenchError;

/// Starts this executable with a hidden subcommand, and reads what it says once it is ready.
pub(crate) fn start<T: DeserializeOwned>(
    name: &str,
    arguments: &[&std::ffi::OsStr],
) -> Result<(Child, T), BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("finding this program"))?;
    let mut child = Command::new(program)
        .arg(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(BenchError::io(format!("starting {name}")))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    match serde_json::from_str(&line) {
        Ok(said) => Ok((child, said)),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(BenchError::start(name, "it did not say where it listens"))
        }
    }
}

/// In the started process: says where it listens, and sees to its end.
pub(crate) fn ready<T: Serialize>(said: &T) -> Result<(), BenchError> {
    let text = serde_json::to_string(said).unwrap_or_default();
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(BenchError::io("saying where it listens"))?;
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Ok(())
}

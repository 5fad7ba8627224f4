//! `mailsluice demo` as a person uses it: every line it prints is typed, and does what it promises.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running demo and what it printed.
struct Demo {
    process: Child,
    printed: Vec<String>,
}

impl Demo {
    fn start() -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_mailsluice"))
            .arg("demo")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let mut demo = Self {
            process,
            printed: Vec::new(),
        };
        let stdout = demo.process.stdout.take().expect("its output");
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("a line in UTF-8");
            let last = line.contains("Ctrl-C");
            demo.printed.push(line);
            if last {
                return demo;
            }
        }
        panic!("the demo ended early: {:#?}", demo.printed);
    }

    /// The shell lines, as they are printed.
    fn shell_lines(&self) -> Vec<&str> {
        let lines = self.printed.iter().map(|line| line.trim());
        lines.filter(|line| line.contains("curl ")).collect()
    }

    fn port(&self, protocol: &str) -> u16 {
        let line = self
            .printed
            .iter()
            .find_map(|line| line.trim().strip_prefix(protocol));
        let port = line.and_then(|line| line.rsplit(' ').next());
        port.and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port of {protocol}: {:#?}", self.printed))
    }

    /// Ends it as Ctrl-C does, and returns what it told of the sessions.
    fn interrupt(mut self) -> String {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), Signal::INT).expect("the demo takes the signal");
        let mut told = String::new();
        let mut stderr = self.process.stderr.take().expect("its log");
        stderr.read_to_string(&mut told).expect("a log in UTF-8");
        let status = self.process.wait().expect("the demo ends");
        assert!(status.success(), "{status}\n{told}");
        told
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a shell prints for `line`.
fn shell(line: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", line])
        .output()
        .expect("sh runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{printed}{errors}");
    printed
}

#[test]
fn every_printed_line_does_what_it_promises() {
    let demo = Demo::start();
    let lines = demo.shell_lines();
    let [folders, by_uid, listing, by_number, send] = lines.as_slice() else {
        panic!("{:#?}", demo.printed);
    };
    assert!(shell(folders).contains("\"INBOX\""));
    let welcome = shell(by_uid);
    assert!(welcome.contains("Subject: Welcome"), "{welcome}");
    let listed = shell(listing);
    assert_eq!(listed.lines().count(), 6, "{listed}");
    assert_eq!(shell(by_number), welcome);
    shell(send);
    assert_eq!(shell(listing).lines().count(), 7);
    let sent = shell(&by_uid.replace("UID=1", "UID=7"));
    assert!(
        sent.contains("Subject: hello") && sent.contains("sent by curl"),
        "{sent}"
    );
    let told = demo.interrupt();
    let sessions = |what: &str| told.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        (sessions("logged in"), sessions("session ended")),
        (7, 7),
        "{told}"
    );
}

#[test]
fn a_second_demo_takes_the_next_free_ports() {
    let (first, second) = (Demo::start(), Demo::start());
    for protocol in ["IMAP", "POP3", "SMTP"] {
        assert_ne!(first.port(protocol), second.port(protocol));
    }
    for demo in [first, second] {
        let folders = demo.shell_lines().first().map(|line| shell(line));
        assert!(folders.is_some_and(|folders| folders.contains("\"INBOX\"")));
        demo.interrupt();
    }
}

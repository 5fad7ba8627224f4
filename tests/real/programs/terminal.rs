//! A terminal for programs that want to be looked at: tmux shows their screen and takes keys.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::desk::{Desk, text};

/// One program on a screen of its own. It ends with this.
pub(super) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs a shell command at `desk`.
    pub(super) fn open(desk: &Desk, command: &str) -> Self {
        let terminal = Self {
            socket: desk.path("tmux"),
        };
        let size = ["-x", "100", "-y", "30"];
        let mut tmux = terminal.tmux();
        tmux.env("HOME", desk.path(""));
        tmux.args(["-f", "/dev/null", "new-session", "-d"])
            .args(size);
        let opened = tmux.arg(command).output().expect("tmux");
        assert!(opened.status.success(), "{opened:?}");
        terminal
    }

    /// Waits until the screen shows `expected`, and gives it.
    #[track_caller]
    pub(super) fn wait_for(&self, expected: &str) -> String {
        self.wait_for_any(&[expected])
    }

    /// Waits until the screen shows one of these, and gives it.
    #[track_caller]
    pub(super) fn wait_for_any(&self, expected: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = text(&self.ask(&["capture-pane", "-p"]).stdout);
            if expected.iter().any(|text| screen.contains(text)) {
                return screen;
            }
            assert!(
                Instant::now() < deadline && self.is_open(),
                "no {expected:?} on the screen:\n{screen}"
            );
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Types letters as they are.
    pub(super) fn write(&self, letters: &str) {
        self.ask(&["send-keys", "-l", letters]);
    }

    /// Presses a key by its name, such as `Enter` or `C-x`.
    pub(super) fn press(&self, key: &str) {
        self.ask(&["send-keys", key]);
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(super) fn wait_until_closed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_open() {
            assert!(Instant::now() < deadline, "the program does not end");
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn is_open(&self) -> bool {
        self.ask(&["has-session"]).status.success()
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.tmux().args(arguments).output().expect("tmux")
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket);
        tmux.env_remove("TMUX").stdin(Stdio::null());
        tmux.env("LC_ALL", "C.UTF-8");
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.ask(&["kill-server"]);
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

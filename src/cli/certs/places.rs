//! Where trust is kept on a machine, and the commands that put a CA there or take it away. Decides; runs nothing.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::count;

/// What is known of the machine.
pub(super) struct Machine {
    pub(super) system: System,
    /// Where the person's files are.
    pub(super) home: PathBuf,
    /// Whether we may do what only root may.
    pub(super) is_root: bool,
    /// Programs that are there, of [`PROGRAMS`].
    pub(super) programs: Vec<&'static str>,
    /// NSS databases: of Firefox, Thunderbird and their kin.
    pub(super) databases: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Unix,
    MacOs,
    Windows,
}

/// What is trusted.
pub(super) struct Authority {
    /// Its certificate in PEM.
    pub(super) file: PathBuf,
    /// Its name, with its mark.
    pub(super) subject: String,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Trust,
    Remove,
}

/// One place of trust, and the commands for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The place in people's words.
    pub(super) place: String,
    pub(super) commands: Vec<Command>,
}

/// A command, printed as it would be typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) program: &'static str,
    pub(super) arguments: Vec<OsString>,
    pub(super) wanted: Outcome,
}

/// How a command has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Well.
    Success,
    /// In any way: it takes away what may not be there.
    Any,
    /// It looks for what must not be there.
    Failure,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let home = std::env::home_dir().unwrap_or_default();
        let system = if cfg!(windows) {
            System::Windows
        } else if cfg!(target_os = "macos") {
            System::MacOs
        } else {
            System::Unix
        };
        Self {
            system,
            is_root: is_root(),
            programs: PROGRAMS
                .into_iter()
                .filter(|name| is_installed(name))
                .collect(),
            databases: databases(&home),
            home,
        }
    }

    fn has(&self, program: &str) -> bool {
        self.programs.contains(&program)
    }

    /// All that has to be done for `ca`, the system first.
    pub(super) fn steps(&self, deed: Deed, ca: &Authority, scope: Scope) -> Vec<Step> {
        let file = ca.file.as_path();
        let system = self.of_the_system(deed, ca).filter(|_| scope.system);
        let programs = self
            .databases
            .iter()
            .filter(|_| scope.programs && self.has(NSS));
        let programs = programs.map(|folder| of_a_database(deed, file, folder));
        system.into_iter().chain(programs).collect()
    }

    /// What cannot be done for want of a program, and which.
    pub(super) fn missing(&self, scope: Scope) -> Option<String> {
        let wanted = scope.programs && !self.databases.is_empty() && !self.has(NSS);
        wanted.then(|| {
            format!(
                "{} of Firefox, Thunderbird or the like are here, and nothing to tell them: install NSS's certutil \
                 (libnss3-tools, nss-tools), or import the CA in their settings",
                count(self.databases.len(), "profile")
            )
        })
    }

    fn of_the_system(&self, deed: Deed, ca: &Authority) -> Option<Step> {
        let file = ca.file.as_path();
        let (place, commands) = match self.system {
            System::MacOs => ("the login keychain of macOS", self.keychain(deed, ca)),
            System::Windows => ("the person's root store of Windows", windows(deed, ca)),
            System::Unix if self.has(DEBIAN) => (
                "the system (OpenSSL, GnuTLS, curl, Python)",
                self.debian(deed, file),
            ),
            System::Unix if self.has(P11_KIT) => ("the system (p11-kit)", self.p11_kit(deed, file)),
            System::Unix => return None,
        };
        Some(Step {
            place: place.to_owned(),
            commands,
        })
    }

    fn debian(&self, deed: Deed, file: &Path) -> Vec<Command> {
        match deed {
            Deed::Trust => vec![
                self.as_root("install")
                    .words("-m 644")
                    .arg(file)
                    .arg(DEBIAN_FILE),
                self.as_root(DEBIAN),
            ],
            // Only a fresh start takes away the links to a file that has gone.
            Deed::Remove => vec![
                self.as_root("rm").words("-f").arg(DEBIAN_FILE),
                self.as_root(DEBIAN).words("--fresh"),
            ],
        }
    }

    fn p11_kit(&self, deed: Deed, file: &Path) -> Vec<Command> {
        let option = match deed {
            Deed::Trust => "anchor --store",
            Deed::Remove => "anchor --remove",
        };
        vec![self.as_root(P11_KIT).words(option).arg(file)]
    }

    fn keychain(&self, deed: Deed, ca: &Authority) -> Vec<Command> {
        let security = || Command::new("security");
        let keychain = self.home.join("Library/Keychains/login.keychain-db");
        match deed {
            Deed::Trust => vec![
                security()
                    .words("add-trusted-cert -r trustRoot -p ssl -k")
                    .arg(keychain)
                    .arg(&ca.file),
            ],
            Deed::Remove => vec![
                security().words("remove-trusted-cert").arg(&ca.file),
                security().words("delete-certificate -c").arg(&ca.subject),
            ],
        }
    }

    /// By `sudo`, unless we are root already.
    fn as_root(&self, program: &'static str) -> Command {
        if self.is_root {
            return Command::new(program);
        }
        Command::new("sudo").words(program)
    }
}

/// Which places are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) system: bool,
    pub(super) programs: bool,
}

fn windows(deed: Deed, ca: &Authority) -> Vec<Command> {
    let certutil = Command::new("certutil").words("-user");
    vec![match deed {
        Deed::Trust => certutil.words("-addstore Root").arg(&ca.file),
        Deed::Remove => certutil.words("-delstore Root").arg(&ca.subject),
    }]
}

/// What is there under our name goes first: NSS keeps two of one name, and then takes away one of them.
fn of_a_database(deed: Deed, file: &Path, folder: &Path) -> Step {
    let by_name = |option: &str| {
        let mut database = OsString::from("sql:");
        database.push(folder);
        let certutil = Command::new(NSS).words("-d").arg(database);
        certutil.words(option).words("-n").arg(NAME)
    };
    let remove = by_name("-D").wanting(Outcome::Any);
    let then = match deed {
        Deed::Trust => by_name("-A").words("-t C,, -i").arg(file),
        Deed::Remove => by_name("-L").wanting(Outcome::Failure),
    };
    Step {
        place: format!(
            "the program that keeps its certificates in {}",
            folder.display()
        ),
        commands: vec![remove, then],
    }
}

impl Command {
    fn new(program: &'static str) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            wanted: Outcome::Success,
        }
    }

    /// Arguments without white space.
    fn words(mut self, words: &str) -> Self {
        let words = words.split_whitespace();
        self.arguments.extend(words.map(OsString::from));
        self
    }

    fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn wanting(self, wanted: Outcome) -> Self {
        Self { wanted, ..self }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wanted == Outcome::Failure {
            f.write_str("! ")?;
        }
        f.write_str(self.program)?;
        for argument in &self.arguments {
            let text = argument.to_string_lossy();
            let plain = |c: char| c.is_alphanumeric() || "-_./:,=+".contains(c);
            if text.chars().all(plain) && !text.is_empty() {
                write!(f, " {text}")?;
            } else {
                write!(f, " '{}'", text.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A person's path often lacks the folders of root's programs, and sudo has them.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .into_iter()
        .any(|folder| folder.join(program).is_file())
}

/// The databases of the person's programs, and the shared one.
fn databases(home: &Path) -> Vec<PathBuf> {
    let in_profiles = PROFILES
        .iter()
        .flat_map(|folder| folders_in(&home.join(folder)));
    let mut found: Vec<_> = [home.join(SHARED)].into_iter().chain(in_profiles).collect();
    found.retain(|folder| folder.join("cert9.db").is_file());
    found.sort();
    found
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What the CA is called in stores that go by names.
pub(super) const NAME: &str = "mailsluice local CA";

/// Programs whose presence tells where trust is kept.
const PROGRAMS: [&str; 3] = [DEBIAN, P11_KIT, NSS];
const DEBIAN: &str = "update-ca-certificates";
const P11_KIT: &str = "trust";
/// NSS's; the one of Windows has this name by chance.
const NSS: &str = "certutil";

/// Debian takes what ends in `.crt`.
const DEBIAN_FILE: &str = "/usr/local/share/ca-certificates/mailsluice-local-ca.crt";

/// Chromium's, Evolution's and other programs' without profiles.
const SHARED: &str = ".pki/nssdb";

/// Where Firefox and Thunderbird keep a folder for each profile: as packages, as snap, as flatpak, on macOS.
const PROFILES: [&str; 9] = [
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    ".thunderbird",
    "snap/firefox/common/.mozilla/firefox",
    "snap/thunderbird/common/.thunderbird",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.Thunderbird/.thunderbird",
    "Library/Application Support/Firefox/Profiles",
    "Library/Thunderbird/Profiles",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(system: System, programs: &[&'static str]) -> Machine {
        Machine {
            system,
            home: PathBuf::from("/home/anna"),
            is_root: false,
            programs: programs.to_vec(),
            databases: vec![PathBuf::from("/home/anna/.thunderbird/a b")],
        }
    }

    fn ca() -> Authority {
        Authority {
            file: PathBuf::from("/s/ca.pem"),
            subject: "mailsluice local CA 0a1b".to_owned(),
        }
    }

    fn typed(machine: &Machine, deed: Deed) -> Vec<String> {
        let scope = Scope {
            system: true,
            programs: true,
        };
        let steps = machine.steps(deed, &ca(), scope);
        let commands = steps.into_iter().flat_map(|step| step.commands);
        commands.map(|command| command.to_string()).collect()
    }

    #[test]
    fn each_system_has_its_commands() {
        let debian = machine(System::Unix, &[DEBIAN, P11_KIT]);
        let file = "/usr/local/share/ca-certificates/mailsluice-local-ca.crt";
        assert_eq!(
            typed(&debian, Deed::Trust),
            [
                format!("sudo install -m 644 /s/ca.pem {file}"),
                "sudo update-ca-certificates".to_owned()
            ]
        );
        assert_eq!(
            typed(&debian, Deed::Remove),
            [
                format!("sudo rm -f {file}"),
                "sudo update-ca-certificates --fresh".to_owned()
            ]
        );
        let root = Machine {
            is_root: true,
            ..machine(System::Unix, &[P11_KIT])
        };
        assert_eq!(
            typed(&root, Deed::Trust),
            ["trust anchor --store /s/ca.pem"]
        );
        assert_eq!(
            typed(&root, Deed::Remove),
            ["trust anchor --remove /s/ca.pem"]
        );
        assert_eq!(
            typed(&machine(System::MacOs, &[]), Deed::Trust),
            [
                "security add-trusted-cert -r trustRoot -p ssl -k /home/anna/Library/Keychains/login.keychain-db /s/ca.pem"
            ]
        );
        assert_eq!(
            typed(&machine(System::Windows, &[]), Deed::Trust),
            ["certutil -user -addstore Root /s/ca.pem"]
        );
        assert_eq!(
            typed(&machine(System::MacOs, &[]), Deed::Remove),
            [
                "security remove-trusted-cert /s/ca.pem",
                "security delete-certificate -c 'mailsluice local CA 0a1b'"
            ]
        );
        assert_eq!(
            typed(&machine(System::Windows, &[]), Deed::Remove),
            ["certutil -user -delstore Root 'mailsluice local CA 0a1b'"]
        );
        assert!(typed(&machine(System::Unix, &[]), Deed::Trust).is_empty());
    }

    #[test]
    fn programs_with_a_database_are_told_by_nss() {
        let machine = machine(System::Unix, &[NSS]);
        let of = "certutil -d 'sql:/home/anna/.thunderbird/a b'";
        let remove = format!("{of} -D -n 'mailsluice local CA'");
        let add = format!("{of} -A -n 'mailsluice local CA' -t C,, -i /s/ca.pem");
        assert_eq!(typed(&machine, Deed::Trust), [remove.clone(), add]);
        let look = format!("! {of} -L -n 'mailsluice local CA'");
        assert_eq!(typed(&machine, Deed::Remove), [remove, look]);
        let only = Scope {
            system: true,
            programs: false,
        };
        assert!(machine.steps(Deed::Trust, &ca(), only).is_empty());
    }

    #[test]
    fn profiles_that_nothing_can_tell_are_told_to_the_person() {
        let all = Scope {
            system: true,
            programs: true,
        };
        let missing = machine(System::Unix, &[DEBIAN]).missing(all).unwrap();
        assert!(missing.starts_with("1 profile of ") && missing.contains("libnss3-tools"));
        assert_eq!(machine(System::Unix, &[NSS]).missing(all), None);
        let system = Scope {
            programs: false,
            ..all
        };
        assert_eq!(machine(System::Unix, &[]).missing(system), None);
    }

    #[test]
    fn databases_are_found_where_profiles_are() {
        let home = tempfile::tempdir().unwrap();
        for folder in [".pki/nssdb", ".thunderbird/x.default", ".mozilla/firefox/y"] {
            let folder = home.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cert9.db"), "").unwrap();
        }
        fs::create_dir_all(home.path().join(".thunderbird/Crash Reports")).unwrap();
        let found = databases(home.path());
        let expected = [".mozilla/firefox/y", ".pki/nssdb", ".thunderbird/x.default"];
        assert_eq!(found, expected.map(|folder| home.path().join(folder)));
    }
}

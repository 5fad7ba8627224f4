//! Where the file and the state are: systemd's folders, then the XDG base directories, then the machine's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The configuration file, where none is named.
pub(super) fn config_file(environment: &HashMap<String, String>) -> PathBuf {
    let folder = systemd("CONFIGURATION_DIRECTORY", environment)
        .or_else(|| user("XDG_CONFIG_HOME", ".config", environment));
    folder
        .unwrap_or_else(|| PathBuf::from("/etc/mailsluice"))
        .join("mailsluice.toml")
}

/// The state folder, where none is named.
pub(super) fn state_dir(environment: &HashMap<String, String>) -> PathBuf {
    systemd("STATE_DIRECTORY", environment)
        .or_else(|| user("XDG_STATE_HOME", ".local/state", environment))
        .unwrap_or_else(|| PathBuf::from("/var/lib/mailsluice"))
}

/// The first of a colon-separated list (systemd.exec(5), `ConfigurationDirectory=`).
fn systemd(variable: &str, environment: &HashMap<String, String>) -> Option<PathBuf> {
    let first = environment.get(variable)?.split(':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(first))
}

/// An XDG folder counts only if it is absolute (XDG Base Directory Specification).
fn user(variable: &str, below: &str, environment: &HashMap<String, String>) -> Option<PathBuf> {
    let given = environment.get(variable).map(PathBuf::from);
    let home = || Some(Path::new(environment.get("HOME")?).join(below));
    let folder = given.filter(|path| path.is_absolute()).or_else(home)?;
    Some(folder.join("mailsluice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn systemd_comes_before_xdg_and_xdg_before_home() {
        let mut pairs = vec![("HOME", "/home/anna")];
        let paths = |pairs: &[_]| {
            (
                config_file(&environment(pairs)),
                state_dir(&environment(pairs)),
            )
        };
        let expected = |config: &str, state: &str| (PathBuf::from(config), PathBuf::from(state));
        let home = expected(
            "/home/anna/.config/mailsluice/mailsluice.toml",
            "/home/anna/.local/state/mailsluice",
        );
        assert_eq!(paths(&pairs), home);
        pairs.extend([("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "relative")]);
        let xdg = expected(
            "/c/mailsluice/mailsluice.toml",
            "/home/anna/.local/state/mailsluice",
        );
        assert_eq!(paths(&pairs), xdg);
        pairs.extend([
            ("CONFIGURATION_DIRECTORY", "/etc/a:/etc/b"),
            ("STATE_DIRECTORY", "/s"),
        ]);
        assert_eq!(paths(&pairs), expected("/etc/a/mailsluice.toml", "/s"));
        assert_eq!(
            paths(&[]),
            expected("/etc/mailsluice/mailsluice.toml", "/var/lib/mailsluice")
        );
    }
}

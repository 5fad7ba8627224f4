//! Gets the program that is measured: what cargo builds from this workspace, in the same way as this one was built.

use std::path::PathBuf;
use std::process::Command;

use crate::error::BenchError;

/// Builds mailsluice, which takes no time if nothing has changed, and says where it is.
pub(crate) fn mailsluice() -> Result<PathBuf, BenchError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "mailsluice", "--bin", "mailsluice"]);
    if OPTIMISED {
        command.arg("--release");
    }
    let output = command
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(BenchError::io("running cargo"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    executable(&text)
        .filter(|_| output.status.success())
        .ok_or_else(|| BenchError::start("mailsluice", "cargo did not build it"))
}

/// Whether this program is of the release profile: figures of another mean nothing.
pub(crate) const OPTIMISED: bool = !cfg!(debug_assertions);

/// From the messages of cargo.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_what_cargo_says() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/x/mailsluice\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/x/mailsluice")));
        assert_eq!(executable("{\"reason\":\"build-finished\"}\n"), None);
    }
}

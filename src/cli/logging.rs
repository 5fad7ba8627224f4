//! Logs by tracing, to standard error: text for people, one JSON object a line for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::error::CliError;
use crate::config::runtime::LogSettings;

/// Starts logging. Once a process.
pub(crate) fn start(settings: &LogSettings) -> Result<(), CliError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.filter)?)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if settings.json {
        builder.json().flatten_event(true).try_init()
    } else if std::env::var_os("JOURNAL_STREAM").is_some() {
        // The journal puts its own time before each line.
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    Ok(())
}

/// The same for a person who looks on: without the time, which is now.
pub(crate) fn start_plain(words: &str) -> Result<(), CliError> {
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter(words)?)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    drop(started);
    Ok(())
}

fn filter(words: &str) -> Result<EnvFilter, CliError> {
    EnvFilter::try_new(words).map_err(|source| CliError::LogFilter {
        filter: words.to_owned(),
        source,
    })
}

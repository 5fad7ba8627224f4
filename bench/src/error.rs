//! What can go wrong in the bench, and where.

use std::io;
use std::path::PathBuf;

/// An error of the bench itself, or of a target that it measures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A socket, file or process.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A connection of a client.
    #[error("connection")]
    Connection(#[from] io::Error),
    /// A program that had to be started.
    #[error("{program} does not start: {why}")]
    Start {
        /// Its name.
        program: String,
        /// What it said, or what it did not do.
        why: String,
    },
    /// A target answered something else than its protocol wants here.
    #[error("{phase}: unexpected answer {line:?}")]
    Answer {
        /// What was asked.
        phase: &'static str,
        /// What it said.
        line: String,
    },
    /// A target gave nothing for too long.
    #[error("{phase}: no answer within {seconds} s")]
    Timeout {
        /// What was asked.
        phase: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// A target changed mail, or did not log in as it should.
    #[error("not faithful: {0}")]
    Fidelity(String),
    /// TLS.
    #[error("TLS")]
    Tls(#[from] rustls::Error),
    /// Making the certificates.
    #[error("certificates")]
    Certificates(#[from] rcgen::Error),
    /// A results file.
    #[error("{path}: no results of this bench")]
    Results {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A results file of another time.
    #[error("{path}: schema {schema} is not the one of this bench")]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        schema: u32,
    },
    /// Counting instructions.
    #[error("instructions")]
    Instructions(#[from] crate::instructions::InstructionsError),
    /// The command line names something that is not there.
    #[error("no {what} called {name:?}; there are: {known}")]
    Unknown {
        /// A target, a scenario.
        what: &'static str,
        /// As it was written.
        name: String,
        /// All there are.
        known: String,
    },
}

impl BenchError {
    /// For `map_err`: says what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A program that does not come up.
    pub(crate) fn start(program: &str, why: impl Into<String>) -> Self {
        Self::Start {
            program: program.to_owned(),
            why: why.into(),
        }
    }
}

/// The whole chain in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

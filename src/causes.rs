//! An error with everything that led to it, on one line: for a log, a person, or both.

use std::error::Error;

/// The error and its causes, the outermost first, with a colon between them.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

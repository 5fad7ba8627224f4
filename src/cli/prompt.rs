//! Asking for a secret: hidden on a terminal, one line from standard input otherwise. Asking for a yes.

use std::io::{self, BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use super::error::CliError;
use crate::secret::Secret;

/// Asks once.
pub(crate) fn secret(question: &str) -> Result<Secret, CliError> {
    let typed = if io::stdin().is_terminal() {
        Zeroizing::new(rpassword::prompt_password(format!("{question}: "))?)
    } else {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line)?;
        line
    };
    let secret = Secret::from(typed.trim_end_matches(['\r', '\n']));
    if secret.is_empty() {
        return Err(CliError::NoSecret);
    }
    Ok(secret)
}

/// Asks twice on a terminal, where nobody sees what is typed.
pub(crate) fn new_secret(question: &str) -> Result<Secret, CliError> {
    let first = secret(question)?;
    if io::stdin().is_terminal() && secret("Again")?.expose() != first.expose() {
        return Err(CliError::Mismatch);
    }
    Ok(first)
}

/// Asks on a terminal; elsewhere nobody is there who could say yes.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut told = io::stderr();
    write!(told, "{question} [y/N] ")?;
    told.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

//! `mailsluice man` and `mailsluice completions`: made from the same texts as the help.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use super::args::Arguments;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Prints the manual page, or writes one page a command into `folder`.
pub(crate) fn man(context: &Context, folder: Option<&Path>) -> Result<Exit, CliError> {
    match folder {
        None => clap_mangen::Man::new(Arguments::command()).render(&mut context.out())?,
        Some(folder) => {
            clap_mangen::generate_to(Arguments::command(), folder).map_err(|source| {
                CliError::Write {
                    path: folder.to_owned(),
                    source,
                }
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// Prints completions for `shell`.
pub(crate) fn completions(
    context: &Context,
    shell: clap_complete::Shell,
) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mailsluice", &mut script);
    context.out().write_all(&script)?;
    Ok(Exit::Ok)
}

//! `mailsluice man`, `completions` and `example`: made from the same texts as the help, and from `config/`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::{Arguments, FIRST_STEPS};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Prints the manual page, or writes one page a command into `folder`.
pub(crate) fn man(context: &Context, folder: Option<&Path>) -> Result<Exit, CliError> {
    match folder {
        None => page(&mut context.out())?,
        Some(folder) => pages(folder).map_err(|source| CliError::Write {
            path: folder.to_owned(),
            source,
        })?,
    }
    Ok(Exit::Ok)
}

fn pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command(), folder)?;
    page(&mut File::create(folder.join("mailsluice.1"))?)
}

/// The page of the program itself. Its last section is printed as it is written: filled, the columns would run together.
fn page(out: &mut impl Write) -> io::Result<()> {
    let man = Man::new(command());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    man.render_subcommands_section(out)?;
    writeln!(out, ".SH EXAMPLES\n.nf")?;
    for line in FIRST_STEPS.lines().skip(1) {
        // A minus, not a hyphen, so that what is copied from the page works.
        writeln!(out, "{}", line.replace('-', "\\-"))?;
    }
    writeln!(out, ".fi")?;
    man.render_version_section(out)
}

/// Without `help`, which has no page.
fn command() -> Command {
    Arguments::command().disable_help_subcommand(true)
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

/// Prints the explained configuration.
pub(crate) fn example(context: &Context) -> Result<Exit, CliError> {
    context.out().write_all(EXAMPLE.as_bytes())?;
    Ok(Exit::Ok)
}

const EXAMPLE: &str = include_str!("../../config/example.toml");

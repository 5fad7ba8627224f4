//! What a person types; the only code that prints.
//!
//! Results go to standard output, everything else to standard error. Where a script reads, there is `--json`. The exit
//! codes are those of `sysexits.h` (`exit.rs`).

mod accounts;
mod args;
mod certs;
mod check;
mod context;
pub mod demo;
mod error;
mod exit;
mod harden;
mod logging;
mod manual;
mod no_login;
mod passwords;
mod profiles;
mod prompt;
mod providers;
mod run;
mod settings;
mod sign_in;
mod sign_ins;
mod status;

use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use crate::causes::with_causes;

use self::args::{Arguments, Command};
use self::context::Context;
use self::error::CliError;
use self::exit::Exit;

/// The program: reads the arguments, does what they say, and returns a `sysexits.h` code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
            .into();
        }
    };
    match dispatch(arguments) {
        Ok(exit) => exit.into(),
        // The reader of our output has gone, as `head` does, and has what it wanted.
        Err(error) if error.is_broken_pipe() => Exit::Ok.into(),
        Err(error) => {
            report(&error);
            error.exit().into()
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<Exit, CliError> {
    // Every command may meet a secret. Where it cannot be done, `run` says so in its log.
    let _ = harden::close_memory();
    let context = Context::new(arguments.global)?;
    match arguments.command {
        Command::Run => run::run(&context),
        Command::Check(arguments) => check::check(&context, &arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Account(command) => accounts::account(&context, command),
        Command::SignIn(arguments) => sign_in::sign_in(&context, &arguments),
        Command::SignOut(arguments) => sign_in::sign_out(&context, &arguments),
        Command::Password(command) => passwords::password(&context, command),
        Command::Certs(command) => certs::certs(&context, &command),
        Command::Providers(arguments) => providers::providers(&context, &arguments),
        Command::Profiles(arguments) => profiles::profiles(&context, &arguments),
        Command::Status(arguments) => status::status(&context, &arguments),
        Command::Example => manual::example(&context),
        Command::Completions { shell } => manual::completions(&context, shell),
        Command::Man { folder } => manual::man(&context, folder.as_deref()),
    }
}

/// The error and everything that led to it, on standard error.
fn report(error: &CliError) {
    let _ = writeln!(io::stderr(), "mailsluice: {}", with_causes(error));
}

/// Runs `task` on a runtime of its own, one thread a core.
fn block_on<T>(task: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    Ok(runtime.block_on(task))
}

/// "1 account", "2 accounts".
fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

fn print_json(out: &mut impl Write, document: &impl Serialize) -> Result<(), CliError> {
    serde_json::to_writer_pretty(&mut *out, document).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

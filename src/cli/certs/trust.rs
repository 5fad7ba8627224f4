//! `certs trust`: says what it would do, and does it.

use std::io::{self, Write};
use std::process;

use super::now;
use super::places::{Command, Deed, Machine, Outcome, Scope, Step};
use crate::cli::args::{CertsTrustArguments, TrustScope};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::prompt;
use crate::net::certificates::{Folder, wanted};

/// Tells the system and the person's programs, or makes them forget.
pub(super) fn trust(context: &Context, arguments: &CertsTrustArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let folder = Folder::of(&loaded.config);
    let deed = if arguments.remove {
        Deed::Remove
    } else {
        folder.authority(&wanted(&loaded.config), now())?;
        Deed::Trust
    };
    let file = folder.authority_file();
    let steps = Machine::here().steps(deed, &file, scope(arguments.only));
    if steps.is_empty() {
        return Err(CliError::NowhereToTrust { file });
    }
    let mut out = context.out();
    for step in &steps {
        writeln!(out, "{}:", step.place)?;
        for command in &step.commands {
            writeln!(out, "  {command}")?;
        }
    }
    out.flush()?;
    if !arguments.yes && !prompt::confirm("Run these commands?")? {
        return Err(CliError::NotConfirmed);
    }
    let failed: Vec<_> = steps.iter().filter(|step| !done(step)).collect();
    for step in &steps {
        let how = match (failed.contains(&step), deed) {
            (true, _) => "failed",
            (false, Deed::Trust) => "trusts the CA now",
            (false, Deed::Remove) => "does not trust the CA",
        };
        writeln!(out, "{}: {how}", step.place)?;
    }
    if failed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(CliError::Trust {
        failed: failed.len(),
        tried: steps.len(),
    })
}

fn scope(only: Option<TrustScope>) -> Scope {
    Scope {
        system: only != Some(TrustScope::Programs),
        programs: only != Some(TrustScope::System),
    }
}

/// One after the other, up to the first that does not end as it should.
fn done(step: &Step) -> bool {
    step.commands.iter().all(|command| {
        let well = ran(command);
        match command.wanted {
            Outcome::Success => well,
            Outcome::Any => true,
            Outcome::Failure => !well,
        }
    })
}

/// With our terminal: sudo and a database with a password ask for it there. What a command says goes where what people
/// read goes, unless it may complain for no reason.
fn ran(command: &Command) -> bool {
    let mut process = process::Command::new(command.program);
    process.args(&command.arguments).stdout(io::stderr());
    if command.wanted != Outcome::Success {
        process.stdout(process::Stdio::null());
        process.stderr(process::Stdio::null());
    }
    process.status().is_ok_and(|status| status.success())
}

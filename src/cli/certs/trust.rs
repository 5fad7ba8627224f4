//! `certs trust`: says what it would do, and does it.

use std::io::{self, Write};
use std::process;

use super::now;
use super::places::{Authority, Command, Deed, Machine, NAME, Outcome, Scope, Step};
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
    let there = folder.look_at_authority();
    let (deed, ca) = if arguments.remove {
        // It is forgotten by its name, too, so its file may be broken or gone.
        (Deed::Remove, there.ok().flatten())
    } else {
        there?;
        let authority = folder.authority(&wanted(&loaded.config), now())?;
        (Deed::Trust, Some(authority))
    };
    let ca = Authority {
        file: folder.authority_file(),
        subject: ca.map_or_else(|| NAME.to_owned(), |ca| ca.facts.subject),
    };
    let (machine, scope) = (Machine::here(), scope(arguments.only));
    if let Some(missing) = machine.missing(scope) {
        writeln!(io::stderr(), "{missing}")?;
    }
    let steps = machine.steps(deed, &ca, scope);
    if steps.is_empty() {
        return Err(CliError::NowhereToTrust { file: ca.file });
    }
    let mut out = context.out();
    // Which one: a service of another user has its own, in another folder.
    writeln!(out, "{}, of {}", ca.subject, ca.file.display())?;
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
        writeln!(
            out,
            "Programs that are running learn of it when they start again."
        )?;
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

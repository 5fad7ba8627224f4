//! `mailsluice certs`: what listeners with TLS present, and who is told to trust it.

mod export;
mod p12;
mod places;
mod show;
mod trust;

use std::io::Write;
use std::time::SystemTime;

use time::OffsetDateTime;

use self::export::export;
pub(super) use self::show::{Presented, presented};
use super::args::{CertsCommand, CertsNewArguments};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::prompt;
use crate::net::certificates::{Folder, wanted};

/// Does what `certs …` says.
pub(crate) fn certs(context: &Context, command: &CertsCommand) -> Result<Exit, CliError> {
    match command {
        CertsCommand::Show { json } => show::show(context, *json),
        CertsCommand::Export(arguments) => export(context, arguments),
        CertsCommand::Trust(arguments) => trust::trust(context, arguments),
        CertsCommand::New(arguments) => new(context, arguments),
    }
}

/// Another authority, since somebody may have got the key of this one, or it may not vouch for a name.
fn new(context: &Context, arguments: &CertsNewArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let folder = Folder::of(&loaded.config);
    let there = folder.look_at_authority();
    let is_there = !matches!(there, Ok(None));
    let question = "Programs that trust the CA of now will refuse the new one's certificate until they are told again. Go on?";
    if is_there && !arguments.yes && !prompt::confirm(question)? {
        return Err(CliError::NotConfirmed);
    }
    let made = folder.replace_authority(&wanted(&loaded.config), now())?;
    let mut out = context.out();
    writeln!(out, "{} is in {}", made.facts.subject, made.path.display())?;
    writeln!(out, "This machine is told by: mailsluice certs trust")?;
    if context.running()?.is_some() {
        writeln!(
            out,
            "The running service presents a certificate by it within five minutes."
        )?;
    }
    Ok(Exit::Ok)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from(SystemTime::now())
}

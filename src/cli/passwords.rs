//! `mailsluice password`: the local passwords that mail programs log in with.

use std::io::{IsTerminal, Write};

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::args::PasswordCommand;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::{accounts, prompt};
use crate::auth::{add_chosen, add_generated};
use crate::secret::Secret;
use crate::store::{LocalPassword, Store};

/// Does what was asked with the local passwords of one account.
pub(crate) fn password(context: &Context, command: PasswordCommand) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let name = match &command {
        PasswordCommand::Add { address, .. }
        | PasswordCommand::List { address, .. }
        | PasswordCommand::Revoke { address, .. } => address,
    };
    let account = accounts::find(&loaded.config, name)?;
    super::block_on(async {
        let store = context.store(&loaded.config).await?;
        let done = match command {
            PasswordCommand::Add {
                name,
                choose: false,
                ..
            } => generate(context, &store, &account.address, &name).await,
            PasswordCommand::Add { name, .. } => {
                choose(context, &store, &account.address, &name).await
            }
            PasswordCommand::List { json, .. } => {
                list(context, &store, &account.address, json).await
            }
            PasswordCommand::Revoke { name, .. } => {
                revoke(context, &store, &account.address, &name).await
            }
        };
        store.close().await;
        done
    })??;
    Ok(Exit::Ok)
}

/// Makes one and shows it: with a sentence on a terminal, alone to a script.
async fn generate(
    context: &Context,
    store: &Store,
    account: &str,
    name: &str,
) -> Result<(), CliError> {
    let shown = add_generated(store, account, name).await?;
    let mut out = context.out();
    if !std::io::stdout().is_terminal() {
        return print_alone(&mut out, &shown);
    }
    write!(
        out,
        "Local password \"{name}\" for {account}, shown only now:\n\n    "
    )?;
    print_alone(&mut out, &shown)?;
    writeln!(out, "\nDashes and capitals do not matter when it is typed.")?;
    Ok(())
}

/// A password on a line of its own.
pub(crate) fn print_alone(out: &mut impl Write, password: &Secret) -> Result<(), CliError> {
    out.write_all(password.expose())?;
    writeln!(out)?;
    Ok(())
}

async fn choose(
    context: &Context,
    store: &Store,
    account: &str,
    name: &str,
) -> Result<(), CliError> {
    let password = prompt::new_secret("Local password")?;
    add_chosen(store, account, name, password).await?;
    writeln!(
        context.out(),
        "{account} has the local password \"{name}\" now."
    )?;
    Ok(())
}

async fn list(context: &Context, store: &Store, account: &str, json: bool) -> Result<(), CliError> {
    let passwords = store.local_passwords(account).await?;
    let mut out = context.out();
    if json {
        let documents: Vec<_> = passwords
            .iter()
            .map(|p| {
                json!({
                    "name": p.name,
                    "kind": p.kind.name(),
                    "created": day(p.created_at),
                    "last_used": p.last_used_at.and_then(day),
                })
            })
            .collect();
        return super::print_json(&mut out, &documents);
    }
    if passwords.is_empty() {
        writeln!(
            out,
            "{account} has no local password; make one: mailsluice password add {account}"
        )?;
    }
    for password in &passwords {
        writeln!(out, "{}", line(password))?;
    }
    Ok(())
}

async fn revoke(
    context: &Context,
    store: &Store,
    account: &str,
    name: &str,
) -> Result<(), CliError> {
    if store.revoke_local_password(account, name).await? {
        writeln!(
            context.out(),
            "The local password \"{name}\" of {account} is refused from now on."
        )?;
        return Ok(());
    }
    Err(CliError::NoPassword {
        account: account.to_owned(),
        name: name.to_owned(),
    })
}

fn line(password: &LocalPassword) -> String {
    let of = |at| day(at).unwrap_or_else(|| "?".to_owned());
    format!(
        "{:24} {:9}  made {}  {}",
        password.name,
        password.kind.name(),
        of(password.created_at),
        match password.last_used_at {
            Some(at) => format!("last used {}", of(at)),
            None => "not used yet".to_owned(),
        }
    )
}

/// The day of a Unix time, in UTC.
fn day(unix: i64) -> Option<String> {
    let format = format_description!("[year]-[month]-[day]");
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()?
        .format(format)
        .ok()
}

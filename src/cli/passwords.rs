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
use crate::auth::{Making, add_chosen, add_generated};
use crate::config::runtime::Config;
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
                choose: chosen,
                recoverable,
                profile,
                ..
            } => {
                let making = Making {
                    name,
                    recoverable,
                    profile: known_profile(&loaded.config, profile)?,
                };
                if chosen {
                    choose(context, &store, &account.address, making).await
                } else {
                    generate(context, &store, &account.address, making).await
                }
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
    making: Making,
) -> Result<(), CliError> {
    let (name, recoverable) = (making.name.clone(), making.recoverable);
    let shown = add_generated(store, account, making).await?;
    let mut out = context.out();
    if !std::io::stdout().is_terminal() {
        return print_alone(&mut out, &shown);
    }
    write!(
        out,
        "Local password \"{name}\" for {account}, shown only now:\n\n    "
    )?;
    print_alone(&mut out, &shown)?;
    let advice = if recoverable {
        "Type it as it stands here: CRAM-MD5, SCRAM and APOP send only a digest of what was typed."
    } else {
        "Dashes and capitals do not matter when it is typed."
    };
    writeln!(out, "\n{advice}")?;
    Ok(())
}

/// The profile that is asked for by name, if it is one.
fn known_profile(config: &Config, name: Option<String>) -> Result<Option<String>, CliError> {
    let Some(name) = name else { return Ok(None) };
    if config.profiles.contains_key(&name) {
        return Ok(Some(name));
    }
    let mut known: Vec<&str> = config.profiles.keys().map(String::as_str).collect();
    known.sort_unstable();
    Err(CliError::NoProfile {
        name,
        known: known.join(", "),
    })
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
    making: Making,
) -> Result<(), CliError> {
    let name = making.name.clone();
    let password = prompt::new_secret("Local password")?;
    add_chosen(store, account, making, password).await?;
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
                    "profile": p.profile,
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
        "{:24} {:11}  made {}  {}{}",
        password.name,
        password.kind.name(),
        of(password.created_at),
        match password.last_used_at {
            Some(at) => format!("last used {}", of(at)),
            None => "not used yet".to_owned(),
        },
        match &password.profile {
            Some(profile) => format!("  profile {profile}"),
            None => String::new(),
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

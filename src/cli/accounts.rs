//! `mailsluice account`: the accounts of the configuration file and what the store keeps for them.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use super::args::{AccountAddArguments, AccountArguments, AccountCommand, ListArguments};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::status::standing;
use super::{passwords, prompt, settings, sign_in};
use crate::config::edit::{
    NewAccount, NewAuth, NewOAuth, new_file, with_account, without_account, write,
};
use crate::config::providers::{self, Provider};
use crate::config::runtime::{Account, AccountAuth, Config, SecretSource};
use crate::config::{Found, LoadRequest, Loaded, load};
use crate::protocol::Protocol;
use crate::secret::Secret;
use crate::web::GrantView;

/// Does what was asked with accounts.
pub(crate) fn account(context: &Context, command: AccountCommand) -> Result<Exit, CliError> {
    match command {
        AccountCommand::Add(arguments) => add(context, *arguments),
        AccountCommand::List(arguments) => list(context, &arguments),
        AccountCommand::Show(arguments) => show(context, &arguments),
        AccountCommand::Remove(arguments) => remove(context, &arguments),
    }
}

/// The account a person means, by the same rules as a login: its address, an alias, a local part, or a name that a
/// catch-all entry takes. A catch-all entry itself is named as it is written.
pub(crate) fn find(config: &Config, name: &str) -> Result<Arc<Account>, CliError> {
    let written = config
        .accounts
        .all
        .iter()
        .find(|account| account.address == name.to_lowercase());
    let routed = || {
        Protocol::ALL.into_iter().find_map(|protocol| {
            match config.accounts.find(protocol, name, None) {
                Found::Account(account) | Found::ProtocolOff(account) => Some(account),
                Found::Unknown => None,
            }
        })
    };
    written
        .map(Arc::clone)
        .or_else(routed)
        .ok_or_else(|| CliError::NoAccount {
            name: name.to_owned(),
        })
}

/// First everything is checked, then the secret is stored, then the file written, then a local password made: whatever
/// fails, nothing is left that does not work.
fn add(context: &Context, arguments: AccountAddArguments) -> Result<Exit, CliError> {
    let path = context.request().config_path();
    let before = current_text(&path)?;
    let new = new_account(context, arguments)?;
    let address = new.address.to_lowercase();
    let after = with_account(&before, &new)?;
    let loaded = load(&LoadRequest {
        text: Some(after.clone()),
        ..context.request().clone()
    })?;
    let account = find(&loaded.config, &address)?;
    let secret = match &account.auth {
        AccountAuth::Password(SecretSource::Stored) => {
            Some(ask_for_provider_password(&loaded, &account)?)
        }
        _ => None,
    };
    super::block_on(finish_adding(
        context, &loaded, &account, secret, &path, &after,
    ))??;
    Ok(Exit::Ok)
}

async fn finish_adding(
    context: &Context,
    loaded: &Loaded,
    account: &Account,
    secret: Option<Secret>,
    path: &Path,
    text: &str,
) -> Result<(), CliError> {
    let store = context.store(&loaded.config).await?;
    if let Some(secret) = secret {
        store.put_stored_secret(&account.address, &secret).await?;
    }
    write(path, text)?;
    if !matches!(account.auth, AccountAuth::Passthrough) {
        passwords::generate(context, &store, &account.address, "default").await?;
    }
    store.close().await;
    let mut out = std::io::stderr();
    writeln!(out, "Added to {}.", path.display())?;
    settings::write(&mut out, &loaded.config, account)?;
    if let AccountAuth::OAuth(grant) = &account.auth
        && grant.flow.needs_person()
    {
        writeln!(out, "Now sign in: mailsluice sign-in {}", account.address)?;
    }
    writeln!(
        out,
        "A running mailsluice learns of it by SIGHUP (systemctl reload mailsluice)."
    )?;
    Ok(())
}

/// The file as it is, or the text a new one begins with.
fn current_text(path: &Path) -> Result<String, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(new_file().to_owned()),
        Err(error) => Err(error.into()),
    }
}

fn new_account(context: &Context, arguments: AccountAddArguments) -> Result<NewAccount, CliError> {
    let wants_token = wants_token(context, &arguments);
    let source = arguments.password;
    let stored = |source| Some(NewAuth::Password(source));
    let auth = if source.passthrough {
        Some(NewAuth::Passthrough)
    } else if source.oauth {
        let said = arguments.oauth;
        Some(NewAuth::OAuth(NewOAuth {
            issuer: said.issuer,
            flow: said.flow,
            grant: said.grant,
            tenant: said.tenant,
            client_id: said.client_id,
        }))
    } else if let Some(command) = source.password_command {
        stored(SecretSource::Command(command))
    } else if let Some(file) = source.password_file {
        let absolute = std::path::absolute(file)?;
        stored(SecretSource::File(absolute))
    } else if let Some(name) = source.password_keyring {
        stored(SecretSource::Keyring(name))
    } else if wants_token {
        None
    } else {
        stored(SecretSource::Stored)
    };
    Ok(NewAccount {
        address: arguments.address,
        login_names: arguments.login_name,
        provider: arguments.provider,
        host: arguments.host,
        user: arguments.user,
        auth,
    })
}

/// Whether a server of the provider's takes nothing but tokens, so that no password is asked for.
fn wants_token(context: &Context, arguments: &AccountAddArguments) -> bool {
    let loaded = context.load();
    let catalogue = match &loaded {
        Ok(loaded) => &loaded.providers,
        Err(_) => providers::builtin(),
    };
    let domain = arguments.address.rsplit_once('@').map(|(_, domain)| domain);
    let provider = match &arguments.provider {
        Some(name) => catalogue.find_by_name(name),
        None => domain.and_then(|domain| catalogue.find_by_domain(domain)),
    };
    let refuses = |provider: &Provider| {
        let mut protocols = Protocol::ALL.into_iter();
        protocols.any(|p| !provider.servers(p).is_empty() && !provider.takes_password(p))
    };
    provider.is_some_and(refuses)
}

/// With what a person should know about this provider first.
fn ask_for_provider_password(loaded: &Loaded, account: &Account) -> Result<Secret, CliError> {
    if std::io::stdin().is_terminal()
        && let Some(provider) = loaded.providers.find_by_name(&account.provider)
    {
        let mut out = std::io::stderr();
        writeln!(out, "{} is served by {}.", account.address, provider.title)?;
        for hint in provider.hints() {
            writeln!(out, "  - {hint}")?;
        }
    }
    prompt::secret(&format!("Password of {} at the provider", account.address))
}

fn list(context: &Context, arguments: &ListArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let accounts = &loaded.config.accounts.all;
    let grants = super::block_on(sign_in::grant_views(context, &loaded.config))??;
    let mut out = context.out();
    if arguments.json {
        let documents: Vec<_> = accounts
            .iter()
            .map(|account| settings::document(&loaded.config, account, grant_of(account, &grants)))
            .collect();
        super::print_json(&mut out, &documents)?;
        return Ok(Exit::Ok);
    }
    if accounts.is_empty() {
        writeln!(
            out,
            "no accounts yet; add one: mailsluice account add you@example.org"
        )?;
    }
    for account in accounts {
        let mut protocols: Vec<_> = account.endpoints.keys().collect();
        protocols.sort();
        let names: Vec<_> = protocols.into_iter().map(|p| p.name()).collect();
        let standing = grant_of(account, &grants).map(standing);
        let line = format!(
            "{:32} {:16} {:14} {}",
            account.address,
            account.provider,
            names.join(" "),
            standing.unwrap_or_default()
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, arguments: &AccountArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let account = find(&loaded.config, &arguments.address)?;
    let grants = super::block_on(sign_in::grant_views(context, &loaded.config))??;
    let mut out = context.out();
    settings::write(&mut out, &loaded.config, &account)?;
    if let Some(grant) = grant_of(&account, &grants) {
        writeln!(out, "  at the provider: {}", standing(grant))?;
    }
    Ok(Exit::Ok)
}

/// How the grant that serves `account` stands, where it has one.
fn grant_of<'a>(account: &Account, grants: &'a [GrantView]) -> Option<&'a GrantView> {
    let AccountAuth::OAuth(grant) = &account.auth else {
        return None;
    };
    grants.iter().find(|view| view.name == grant.name)
}

fn remove(context: &Context, arguments: &AccountArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let account = find(&loaded.config, &arguments.address)?;
    let text = current_text(&loaded.path)?;
    let after = without_account(&text, &account.address)?;
    // First the file: without its account, what the store keeps can do nothing.
    write(&loaded.path, &after)?;
    super::block_on(async {
        let store = context.store(&loaded.config).await?;
        store.delete_account(&account.address).await?;
        store.close().await;
        Ok::<_, CliError>(())
    })??;
    Ok(Exit::Ok)
}

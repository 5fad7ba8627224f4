//! `mailsluice account`: the accounts of the configuration file and what the store keeps for them.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use super::args::{
    AccountAddArguments, AccountArguments, AccountCommand, AccountShowArguments, ListArguments,
};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::settings::{self, PasswordLine};
use super::status::standing;
use super::{passwords, prompt, sign_in};
use crate::auth::add_generated;
use crate::config::edit::{
    NewAccount, NewAuth, NewOAuth, new_file, with_account, without_account, write,
};
use crate::config::oauth::Flow;
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
        AccountCommand::SetPassword(arguments) => set_password(context, &arguments),
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
    let json = arguments.json;
    let new = new_account(context, arguments)?;
    let address = new.address.to_lowercase();
    let after = with_account(&before, &new)?;
    let loaded = load_edited(context, before, after.clone(), &address)?;
    let account = find(&loaded.config, &address)?;
    let secret = match &account.auth {
        AccountAuth::Password(SecretSource::Stored) => {
            Some(ask_for_provider_password(&loaded, &account)?)
        }
        _ => None,
    };
    let made = super::block_on(async {
        let store = context.store(&loaded.config).await?;
        if let Some(secret) = secret {
            store.put_stored_secret(&account.address, &secret).await?;
        }
        write(&path, &after)?;
        let made = match account.auth {
            AccountAuth::Password(_) | AccountAuth::OAuth(_) => {
                Some(add_generated(&store, &account.address, FIRST_PASSWORD).await?)
            }
            AccountAuth::Passthrough => None,
        };
        store.close().await;
        Ok::<_, CliError>(made)
    })??;
    let added = Added {
        context,
        loaded: &loaded,
        account: &account,
        local_password: made.as_ref(),
    };
    if json {
        added.print_json()?;
    } else {
        added.print()?;
    }
    Ok(Exit::Ok)
}

/// The configuration as it will be. What is wrong with it is the new account's, unless the file had problems before.
fn load_edited(
    context: &Context,
    before: String,
    after: String,
    address: &str,
) -> Result<Loaded, CliError> {
    let with_text = |text| {
        load(&LoadRequest {
            text: Some(text),
            ..context.request().clone()
        })
    };
    with_text(after).map_err(|problems| match with_text(before) {
        Ok(_) => CliError::NotAdded {
            address: address.to_owned(),
            problems,
        },
        Err(problems) => CliError::Config(problems),
    })
}

/// An account that was added, and what its owner has to know now.
struct Added<'a> {
    context: &'a Context,
    loaded: &'a Loaded,
    account: &'a Account,
    local_password: Option<&'a Secret>,
}

impl Added<'_> {
    /// To a terminal all of it; to a script the local password alone, and the rest on standard error.
    fn print(&self) -> Result<(), CliError> {
        if std::io::stdout().is_terminal() {
            let password = match self.local_password {
                Some(secret) => PasswordLine::Now(secret),
                None => PasswordLine::Earlier,
            };
            return self.tell(&mut self.context.out(), &password);
        }
        if let Some(secret) = self.local_password {
            passwords::print_alone(&mut self.context.out(), secret)?;
        }
        self.tell(&mut std::io::stderr(), &PasswordLine::OnStandardOutput)
    }

    fn print_json(&self) -> Result<(), CliError> {
        let mut document = settings::document(&self.loaded.config, self.account, None);
        if let Some(secret) = self.local_password {
            let shown = String::from_utf8_lossy(secret.expose());
            if let Some(fields) = document.as_object_mut() {
                fields.insert("local_password".to_owned(), shown.into());
            }
        }
        super::print_json(&mut self.context.out(), &document)
    }

    fn tell(&self, out: &mut impl Write, password: &PasswordLine<'_>) -> Result<(), CliError> {
        let path = self.loaded.path.display();
        writeln!(out, "{} is added to {path}.\n", self.account.address)?;
        settings::write(out, &self.loaded.config, self.account, password)?;
        if let AccountAuth::OAuth(grant) = &self.account.auth
            && grant.flow.needs_person()
        {
            let address = &self.account.address;
            writeln!(out, "\nSign in: mailsluice sign-in {address}")?;
        }
        match self.context.running()? {
            Some(status) => writeln!(
                out,
                "\nThe running service learns of it by: kill -HUP {}",
                status.pid
            )?,
            None => writeln!(out, "\nStart the service: mailsluice run")?,
        }
        Ok(())
    }
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

fn show(context: &Context, arguments: &AccountShowArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let account = find(&loaded.config, &arguments.address)?;
    let grants = super::block_on(sign_in::grant_views(context, &loaded.config))??;
    let grant = grant_of(&account, &grants);
    let mut out = context.out();
    if arguments.json {
        let document = settings::document(&loaded.config, &account, grant);
        super::print_json(&mut out, &document)?;
        return Ok(Exit::Ok);
    }
    settings::write(&mut out, &loaded.config, &account, &PasswordLine::Earlier)?;
    if let Some(grant) = grant {
        writeln!(out, "  at the provider: {}", standing(grant))?;
    }
    Ok(Exit::Ok)
}

/// A running service asks the store again once the provider has refused the password it had.
fn set_password(context: &Context, arguments: &AccountArguments) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let account = find(&loaded.config, &arguments.address)?;
    let Some(name) = stored_under(&account) else {
        return Err(CliError::NotStored {
            account: account.address.clone(),
        });
    };
    let secret = ask_for_provider_password(&loaded, &account)?;
    super::block_on(async {
        let store = context.store(&loaded.config).await?;
        store.put_stored_secret(name, &secret).await?;
        store.close().await;
        Ok::<_, CliError>(())
    })??;
    let address = &account.address;
    writeln!(
        context.out(),
        "The provider's password of {address} is stored; try it: mailsluice check --connect"
    )?;
    Ok(Exit::Ok)
}

/// The name under which the store has the provider's password, if it has it: the issuer is sent a grant's.
fn stored_under(account: &Account) -> Option<&str> {
    match &account.auth {
        AccountAuth::Password(SecretSource::Stored) => Some(&account.address),
        AccountAuth::OAuth(grant) if grant.flow == Flow::Password(SecretSource::Stored) => {
            Some(&grant.name)
        }
        AccountAuth::Password(_) | AccountAuth::OAuth(_) | AccountAuth::Passthrough => None,
    }
}

/// How the grant that serves `account` stands, where it has one.
fn grant_of<'a>(account: &Account, grants: &'a [GrantView]) -> Option<&'a GrantView> {
    let AccountAuth::OAuth(grant) = &account.auth else {
        return None;
    };
    // They come in the order of their names, and there may be thousands.
    let at = grants.binary_search_by(|view| view.name.as_str().cmp(&grant.name));
    at.ok().and_then(|at| grants.get(at))
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
    let mut out = context.out();
    let path = loaded.path.display();
    writeln!(
        out,
        "{} is removed from {path}, its passwords from the store.",
        account.address
    )?;
    if let Some(status) = context.running()? {
        writeln!(
            out,
            "The running service learns of it by: kill -HUP {}",
            status.pid
        )?;
    }
    Ok(Exit::Ok)
}

/// The name of the local password that comes with an account.
const FIRST_PASSWORD: &str = "default";

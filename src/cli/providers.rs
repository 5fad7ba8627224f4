//! `mailsluice providers`: what is known about mail providers.

use std::io::Write;

use serde_json::{Value, json};

use super::args::ProvidersArguments;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::config::issuers::{self, IssuerPreset};
use crate::config::providers::Provider;
use crate::protocol::{Protocol, TlsMode};

/// Lists the providers that match, with the user's own among them where the configuration can be read.
pub(crate) fn providers(
    context: &Context,
    arguments: &ProvidersArguments,
) -> Result<Exit, CliError> {
    let catalogue = match context.load() {
        Ok(loaded) => loaded.providers,
        Err(_) => crate::config::providers::builtin().clone(),
    };
    let found = match &arguments.search {
        Some(search) => catalogue.search(search),
        None => catalogue.all().iter().collect(),
    };
    let mut out = context.out();
    if arguments.json {
        super::print_json(
            &mut out,
            &found.iter().map(|p| document(p)).collect::<Vec<_>>(),
        )?;
    } else if let Some(meant) = meant(&found, arguments.search.as_deref()) {
        detail(&mut out, meant)?;
        let others: Vec<_> = found
            .iter()
            .copied()
            .filter(|p| p.name != meant.name)
            .collect();
        if !others.is_empty() {
            writeln!(out, "\nAlso found:")?;
            list(&mut out, &others)?;
        }
    } else {
        list(&mut out, &found)?;
    }
    match (&arguments.search, found.is_empty()) {
        (Some(search), true) => Err(CliError::NoProvider {
            search: search.clone(),
        }),
        _ => Ok(Exit::Ok),
    }
}

/// The one that was certainly meant: the only one found, or the one of exactly this name or domain.
fn meant<'a>(found: &[&'a Provider], search: Option<&str>) -> Option<&'a Provider> {
    let search = search?.to_lowercase();
    if let [only] = found {
        return Some(only);
    }
    let exact = |p: &&Provider| p.name == search || p.domains.contains(&search);
    found.iter().copied().find(exact)
}

fn list(out: &mut impl Write, providers: &[&Provider]) -> std::io::Result<()> {
    for provider in providers {
        let line = format!(
            "{:22} {:26} {}",
            provider.name,
            provider.title,
            domains(provider)
        );
        let takes_none = Protocol::ALL
            .into_iter()
            .all(|protocol| !provider.takes_password(protocol));
        let note = if takes_none {
            "  (takes tokens only: mailsluice sign-in)"
        } else {
            ""
        };
        writeln!(out, "{}{note}", line.trim_end())?;
    }
    Ok(())
}

fn domains(provider: &Provider) -> String {
    let shown: Vec<_> = provider
        .domains
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect();
    let more = provider.domains.len().saturating_sub(SHOWN);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(", ") + &rest
}

/// One provider in full: what `account show` needs a person to know before the account exists.
fn detail(out: &mut impl Write, provider: &Provider) -> std::io::Result<()> {
    writeln!(out, "{} ({})", provider.title, provider.name)?;
    if !provider.domains.is_empty() {
        writeln!(out, "  addresses  {}", provider.domains.join(", "))?;
    }
    for protocol in Protocol::ALL {
        for server in provider.servers(protocol) {
            let tls = server.tls.mode().map_or("plain, never used", tls_name);
            writeln!(out, "  {protocol:9}  {}:{} {tls}", server.host, server.port)?;
        }
    }
    let refusing: Vec<_> = Protocol::ALL
        .into_iter()
        .filter(|p| !provider.servers(*p).is_empty() && !provider.takes_password(*p))
        .map(Protocol::name)
        .collect();
    if !refusing.is_empty() {
        writeln!(out, "  takes no password for {}", refusing.join(", "))?;
    }
    if let Some(issuer) = issuers::find(&provider.oauth) {
        tokens(out, provider, issuer)?;
    }
    provider
        .hints()
        .iter()
        .try_for_each(|hint| writeln!(out, "  - {hint}"))
}

/// What a person should know about signing in there.
fn tokens(out: &mut impl Write, provider: &Provider, issuer: &IssuerPreset) -> std::io::Result<()> {
    writeln!(
        out,
        "  takes tokens (OAuth) for {}, issued by {} ({})",
        taking_tokens(provider, issuer).join(", "),
        issuer.title,
        issuer.name
    )?;
    writeln!(out, "  - {} See {}", issuer.registration, issuer.guide)?;
    issuer
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "  - {note}"))
}

fn taking_tokens(provider: &Provider, issuer: &IssuerPreset) -> Vec<&'static str> {
    Protocol::ALL
        .into_iter()
        .filter(|p| !provider.servers(*p).is_empty() && issuer.serves(*p))
        .map(Protocol::name)
        .collect()
}

fn document(provider: &Provider) -> Value {
    let servers = |protocol| {
        provider
            .servers(protocol)
            .iter()
            .map(|server| {
                json!({
                    "host": server.host,
                    "port": server.port,
                    "tls": server.tls.mode().map(tls_name),
                })
            })
            .collect::<Vec<_>>()
    };
    json!({
        "name": provider.name,
        "title": provider.title,
        "domains": provider.domains,
        "imap": servers(Protocol::Imap),
        "pop3": servers(Protocol::Pop3),
        "smtp": servers(Protocol::Smtp),
        "takes_password": {
            "imap": provider.takes_password(Protocol::Imap),
            "pop3": provider.takes_password(Protocol::Pop3),
            "smtp": provider.takes_password(Protocol::Smtp),
        },
        "oauth": issuers::find(&provider.oauth).map(|issuer| json!({
            "issuer": issuer.name,
            "protocols": taking_tokens(provider, issuer),
            "flows": issuer.flows.iter().map(|flow| flow.name()).collect::<Vec<_>>(),
            "registration": issuer.registration,
            "guide": issuer.guide,
        })),
        "hints": provider.hints(),
    })
}

/// As the configuration spells it.
fn tls_name(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Implicit => "implicit",
        TlsMode::StartTls => "starttls",
    }
}

/// Domains on one line of the list.
const SHOWN: usize = 3;

//! The check of the account with tokens: signs in as a person with a browser would, fetches, lets the token end, and
//! fetches again.

use std::io::Write;
use std::sync::Arc;

use super::{CheckError, imap_login};
use crate::bridge::provider::Provider;
use crate::cli::demo::settings::Settings;
use crate::protocol::Protocol;
use crate::web::{Desk, Reply, Request, Way};

/// Why signing in did not work.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The desk did not do it.
    #[error("{0}")]
    Desk(String),
    /// The browser did not get where it should.
    #[error("the browser met an error")]
    Browser(#[from] reqwest::Error),
    /// A page says something else than expected.
    #[error("the page at the end does not say that {0} is signed in")]
    Page(&'static str),
    /// A login before anybody signed in.
    #[error("a login before the sign-in was not refused as temporary")]
    TooEarly,
    /// One token request for each time that one is needed.
    #[error("there were {seen} token requests, {expected} were needed")]
    Requests {
        /// How many there were.
        seen: u32,
        /// How many there should have been.
        expected: u32,
    },
}

/// Does it all and tells each step on `out`.
pub(in crate::cli::demo) async fn run(
    settings: &Settings<'_>,
    provider: &Provider,
    desk: &Arc<Desk>,
    out: &mut impl Write,
) -> Result<(), CheckError> {
    let mailbox = provider.token_mailbox();
    let imap = settings.address(Protocol::Imap);
    match imap_login(settings).await {
        Err(error) if is_temporary(&error) => {}
        _ => return Err(SignInError::TooEarly.into()),
    }
    writeln!(
        out,
        "imap  {imap}  {}: refused as temporary, since nobody has signed in",
        settings.user
    )?;
    sign_in(desk).await?;
    writeln!(
        out,
        "http  {}  signed in as {}",
        provider.authorize_url(),
        settings.user
    )?;
    super::run(settings, &*mailbox, out).await?;
    provider.issuer().expire_tokens();
    super::run(settings, &*mailbox, out).await?;
    let seen = provider.issuer().token_requests();
    if seen != TOKEN_REQUESTS {
        let expected = TOKEN_REQUESTS;
        return Err(SignInError::Requests { seen, expected }.into());
    }
    writeln!(
        out,
        "oauth {}  the token was over, one request renewed it, and no login failed",
        provider.token_url()
    )?;
    Ok(())
}

/// As a person does it: opens the address, allows, and is sent back.
async fn sign_in(desk: &Arc<Desk>) -> Result<(), SignInError> {
    let mut visit = desk.visit();
    let request = Request::SignIn {
        account: Provider::TOKEN_USER.to_owned(),
        way: Way::Configured,
    };
    let url = match visit.answer(request).await {
        Reply::Open { url, .. } => url,
        other => return Err(desk_error(other)),
    };
    // Everything is on this machine, where no proxy of the environment has a part.
    let browser = reqwest::Client::builder().no_proxy().build()?;
    browser.get(&url).send().await?.error_for_status()?;
    let allowed = browser.get(format!("{url}&consent=yes")).send().await?;
    let page = allowed.error_for_status()?.text().await?;
    if !page.contains("is signed in") {
        return Err(SignInError::Page(Provider::TOKEN_USER));
    }
    match visit.answer(Request::Wait).await {
        Reply::Done { .. } => Ok(()),
        other => Err(desk_error(other)),
    }
}

fn desk_error(reply: Reply) -> SignInError {
    SignInError::Desk(match reply {
        Reply::Failed { why, .. } => why,
        _ => "the desk answered something else than was asked".to_owned(),
    })
}

fn is_temporary(error: &CheckError) -> bool {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.is_some_and(|said| said.contains("[UNAVAILABLE]"))
}

/// One for the code, one after the end of the first token.
const TOKEN_REQUESTS: u32 = 2;

//! `mailsluice sign-in` and `sign-out`: at the desk of the running service, or at one of our own where none runs.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::Stdio;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::args::{AccountArguments, SignInArguments};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::auth::oauth::Tokens;
use crate::config::runtime::Config;
use crate::store::Store;
#[cfg(unix)]
use crate::web::{ControlClient, ControlError};
use crate::web::{Desk, Failure, GrantView, Reply, Request, Visit, Way};

/// Signs in.
pub(crate) fn sign_in(context: &Context, arguments: &SignInArguments) -> Result<Exit, CliError> {
    let config = context.load()?.config;
    let browser = Browser::choose(arguments);
    super::block_on(async {
        let mut counter = Counter::open(context, &config).await?;
        let outcome = signing_in(&mut counter, arguments, browser, &mut io::stderr()).await;
        counter.close().await;
        let grant = outcome?;
        if arguments.json {
            let document = serde_json::json!({ "grant": grant, "signed_in": true });
            super::print_json(&mut context.out(), &document)?;
        }
        Ok(Exit::Ok)
    })?
}

/// Signs out.
pub(crate) fn sign_out(context: &Context, arguments: &AccountArguments) -> Result<Exit, CliError> {
    let config = context.load()?.config;
    super::block_on(async {
        let mut counter = Counter::open(context, &config).await?;
        let account = arguments.address.clone();
        let outcome = match counter.ask(Request::SignOut { account }).await {
            Ok(reply) => done(reply),
            Err(error) => Err(error),
        };
        counter.close().await;
        writeln!(io::stderr(), "Signed out of {}.", outcome?)?;
        Ok(Exit::Ok)
    })?
}

/// How the grants stand, from the service where one runs.
pub(super) async fn grant_views(
    context: &Context,
    config: &Arc<Config>,
) -> Result<Vec<GrantView>, CliError> {
    if crate::web::grants(config).is_empty() {
        return Ok(Vec::new());
    }
    let mut counter = Counter::open(context, config).await?;
    let reply = counter.ask(Request::Grants).await;
    counter.close().await;
    match reply? {
        Reply::Grants(views) => Ok(views),
        other => done(other).map(|_| Vec::new()),
    }
}

/// Begins, tells the person where to go, and waits for the end. The grant's name, once it is signed in.
async fn signing_in(
    counter: &mut Counter,
    arguments: &SignInArguments,
    browser: Browser,
    out: &mut impl Write,
) -> Result<String, CliError> {
    let way = if arguments.device {
        Way::Device
    } else {
        Way::Configured
    };
    let account = arguments.address.clone();
    match counter.ask(Request::SignIn { account, way }).await? {
        Reply::Open { url, expires_s } => {
            let opened = browser.open(&url);
            tell_url(out, &url, opened, expires_s)?;
        }
        Reply::Code {
            user_code,
            url,
            url_with_code,
            expires_s,
        } => {
            let opened = browser.open(url_with_code.as_ref().unwrap_or(&url));
            tell_url(out, &url, opened, expires_s)?;
            writeln!(out, "and enter this code:\n\n  {user_code}\n")?;
        }
        other => return done(other),
    }
    if arguments.paste {
        write!(
            out,
            "The browser ends at an address that it may not be able to show. Paste it here: "
        )?;
        out.flush()?;
        let address = pasted().await?;
        let signed_in = done(counter.ask(Request::Paste { address }).await?)?;
        writeln!(out, "{signed_in} is signed in.")?;
        return Ok(signed_in);
    }
    writeln!(out, "Waiting. Ctrl-C gives up.")?;
    out.flush()?;
    let signed_in = done(counter.ask(Request::Wait).await?)?;
    writeln!(out, "{signed_in} is signed in.")?;
    Ok(signed_in)
}

fn tell_url(out: &mut impl Write, url: &str, opened: bool, expires_s: u64) -> io::Result<()> {
    let minutes = (expires_s / 60).max(1);
    if opened {
        writeln!(
            out,
            "The browser opens. If it does not, open this within {minutes} min:\n"
        )?;
    } else {
        writeln!(out, "Open this in a browser within {minutes} min:\n")?;
    }
    writeln!(out, "  {url}\n")
}

/// The grant that it was done for, or the reason why it was not.
fn done(reply: Reply) -> Result<String, CliError> {
    match reply {
        Reply::Done { grant } => Ok(grant),
        Reply::Failed { kind, why } => Err(CliError::SignIn { kind, why }),
        Reply::Status(_) | Reply::Grants(_) | Reply::Open { .. } | Reply::Code { .. } => {
            Err(CliError::SignIn {
                kind: Failure::NotUnderstood,
                why: "the service answered something else than was asked".to_owned(),
            })
        }
    }
}

/// One line from standard input, hidden on no terminal: the person wants to see what was pasted.
async fn pasted() -> Result<String, CliError> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Zeroizing::new(String::new());
        let mut bounded = io::Read::take(io::stdin().lock(), PASTED_MAX);
        bounded.read_line(&mut line)?;
        Ok::<_, io::Error>(line.trim().to_owned())
    });
    let line = read.await.map_err(io::Error::other)??;
    if line.is_empty() {
        return Err(CliError::NoSecret);
    }
    Ok(line)
}

/// Who serves us: the running service, or ourselves.
pub(super) enum Counter {
    #[cfg(unix)]
    Service(ControlClient),
    Own {
        visit: Visit,
        desk: Arc<Desk>,
        store: Store,
    },
}

impl Counter {
    /// The service's where it runs.
    async fn open(context: &Context, config: &Arc<Config>) -> Result<Self, CliError> {
        #[cfg(unix)]
        match ControlClient::connect(&config.state_dir).await {
            Ok(client) => return Ok(Self::Service(client)),
            Err(ControlError::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let store = context.store(config).await?;
        let tokens = Tokens::new(store.clone())?;
        Ok(Self::own(tokens, store, config))
    }

    pub(super) fn own(tokens: Tokens, store: Store, config: &Arc<Config>) -> Self {
        let config = Arc::clone(config);
        let desk = Desk::new(tokens, move || Arc::clone(&config));
        Self::Own {
            visit: desk.visit(),
            desk,
            store,
        }
    }

    async fn ask(&mut self, request: Request) -> Result<Reply, CliError> {
        match self {
            #[cfg(unix)]
            Self::Service(client) => Ok(client.ask(request).await?),
            Self::Own { visit, .. } => Ok(visit.answer(request).await),
        }
    }

    async fn close(self) {
        if let Self::Own { desk, store, .. } = self {
            desk.close().await;
            store.close().await;
        }
    }
}

/// Whether and how a browser is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Browser {
    System,
    None,
}

impl Browser {
    fn choose(arguments: &SignInArguments) -> Self {
        let wanted = !(arguments.no_browser || arguments.paste || arguments.json);
        // Without a screen xdg-open would start a browser inside the terminal.
        let screen = cfg!(not(all(unix, not(target_os = "macos"))))
            || ["DISPLAY", "WAYLAND_DISPLAY"]
                .iter()
                .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        if wanted && screen && io::stderr().is_terminal() {
            Self::System
        } else {
            Self::None
        }
    }

    /// Without a shell, so that nothing in the URL means anything. True where something was started.
    fn open(self, url: &str) -> bool {
        if self == Self::None || !(url.starts_with("https://") || url.starts_with("http://")) {
            return false;
        }
        let (program, before): (_, &[&str]) = if cfg!(windows) {
            ("rundll32", &["url.dll,FileProtocolHandler"])
        } else if cfg!(target_os = "macos") {
            ("open", &[])
        } else {
            ("xdg-open", &[])
        };
        std::process::Command::new(program)
            .args(before)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok()
    }
}

/// An address with a code, as the callback listener takes it.
const PASTED_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests;

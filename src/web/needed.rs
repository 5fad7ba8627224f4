//! The user's command that is told when a sign-in is needed, so that a machine without a screen can mail or push it.
//!
//! URL and code are in its environment, never in its arguments: those are in the process list for all to see. It runs once
//! for each time that a sign-in becomes necessary, however many logins fail for it. The environment is ours otherwise, but
//! for the variables that the configuration takes secrets from.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, accounts_of, grants};
use super::request::Reply;
use crate::auth::oauth::Tokens;
use crate::config::runtime::{ACTIVATION_VARIABLES, Config};
use crate::proto::text::sanitise;

/// From now on logs when a sign-in is needed, and runs the command that the configuration names at that time.
///
/// To be called on a runtime, whose tasks the commands run in; `stop` ends those under way.
pub fn tell_when_needed(
    tokens: &Tokens,
    desk: Arc<Desk>,
    config: impl Fn() -> Arc<Config> + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let runtime = Handle::current();
    tokens.on_needed(move |grant, why| {
        let why = sanitise(why.as_bytes());
        tracing::error!(account = %grant.name, cause = %why, "a sign-in is needed: mailsluice sign-in {}", grant.name);
        let config = config();
        let Some(command) = config.sign_in.on_needed.clone() else {
            return;
        };
        let need = Need {
            accounts: accounts_of(&config, grant),
            grant: grant.name.clone(),
            why,
            not_for_it: config.secret_variables(),
        };
        let telling = tell(need, command, Arc::clone(&desk), config);
        runtime.spawn(stop.clone().run_until_cancelled_owned(telling));
    });
}

/// Who has to sign in, and why.
struct Need {
    grant: String,
    accounts: Vec<String>,
    why: String,
    /// What of our environment is secret.
    not_for_it: Vec<String>,
}

async fn tell(need: Need, command: String, desk: Arc<Desk>, config: Arc<Config>) {
    let Some(grant) = grants(&config).into_iter().find(|g| g.name == need.grant) else {
        return;
    };
    let (invitation, waiting) = if grant.flow.needs_person() {
        let (reply, waiting) = desk.invite(grant).await;
        (Some(reply), Some(waiting))
    } else {
        (None, None)
    };
    let running = run(&command, &need, invitation.as_ref());
    match timeout(COMMAND_TIME, running).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            tracing::error!(account = %need.grant, cause = %why, "sign_in.on_needed failed");
        }
        Err(_) => {
            tracing::error!(account = %need.grant, limit_s = COMMAND_TIME.as_secs(), "sign_in.on_needed did not end and was killed");
        }
    }
    if let (Some(Reply::Open { .. } | Reply::Code { .. }), Some(waiting)) = (invitation, waiting) {
        match waiting.await {
            Reply::Done { grant } => tracing::info!(account = %grant, "signed in"),
            Reply::Failed { why, .. } => {
                tracing::warn!(account = %need.grant, cause = %why, "nobody signed in");
            }
            _ => {}
        }
    }
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("it cannot be run: {0}")]
    Spawn(#[from] std::io::Error),
    #[error("{status}: {stderr}")]
    Status {
        status: std::process::ExitStatus,
        stderr: String,
    },
}

async fn run(line: &str, need: &Need, invitation: Option<&Reply>) -> Result<(), CommandError> {
    let (url, code) = match invitation {
        Some(Reply::Open { url, .. }) => (url.as_str(), ""),
        Some(Reply::Code {
            user_code,
            url,
            url_with_code,
            ..
        }) => (
            url_with_code.as_ref().unwrap_or(url).as_str(),
            user_code.as_str(),
        ),
        // The issuer is not there, or no person takes part: there is a reason to tell all the same.
        _ => ("", ""),
    };
    let account = need.accounts.first().unwrap_or(&need.grant);
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env("MAILSLUICE_ACCOUNT", account)
        .env("MAILSLUICE_URL", url)
        .env("MAILSLUICE_CODE", code)
        .env("MAILSLUICE_REASON", &need.why)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for variable in &need.not_for_it {
        command.env_remove(variable);
    }
    for variable in ACTIVATION_VARIABLES {
        command.env_remove(variable);
    }
    #[cfg(unix)]
    command.process_group(0);
    let mut group = Group(command.spawn()?);
    let stderr = group.0.stderr.take();
    let (stderr, status) = tokio::join!(head(stderr), group.0.wait());
    let status = status?;
    if status.success() {
        return Ok(());
    }
    Err(CommandError::Status {
        status,
        stderr: sanitise(&stderr),
    })
}

/// The command and what it started; all of it is killed when this is dropped before the command has ended.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            let id = self.0.id().and_then(|id| i32::try_from(id).ok());
            if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
                // Gone already is fine.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The beginning of what the command said; the rest is taken so that it does not block.
async fn head(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut from) = from
        && (&mut from)
            .take(STDERR_MAX)
            .read_to_end(&mut kept)
            .await
            .is_ok()
    {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    kept
}

/// For a command that mails or pushes something; a slow mail server takes a minute.
const COMMAND_TIME: Duration = Duration::from_secs(120);

/// What of its error output is kept; the log line has less.
const STDERR_MAX: u64 = 4 * 1024;

#[cfg(test)]
mod tests;

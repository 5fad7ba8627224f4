//! `mailsluice status`: what the running service is doing.

use std::io::Write;

use super::args::StatusArguments;
use super::context::Context;
use super::count;
use super::error::CliError;
use super::exit::Exit;
use crate::relay::SessionView;
use crate::web::Status;

/// Asks the service over its control socket and prints the answer.
pub(crate) fn status(context: &Context, arguments: &StatusArguments) -> Result<Exit, CliError> {
    let status = context.status()?;
    let mut out = context.out();
    if arguments.json {
        super::print_json(&mut out, &status)?;
    } else {
        write(&mut out, &status)?;
    }
    Ok(Exit::Ok)
}

fn write(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    writeln!(
        out,
        "mailsluice {} (process {}), up {}, {}, {} so far",
        status.version,
        status.pid,
        duration(status.up_s),
        count(status.accounts, "account"),
        count(
            usize::try_from(status.connections).unwrap_or(usize::MAX),
            "connection"
        )
    )?;
    for listener in &status.listeners {
        writeln!(out, "  {:5} {}", listener.protocol, listener.address)?;
    }
    if status.sessions.is_empty() {
        return writeln!(out, "no open sessions");
    }
    writeln!(out, "{}:", count(status.sessions.len(), "open session"))?;
    status
        .sessions
        .iter()
        .try_for_each(|session| writeln!(out, "  {}", line(session)))
}

fn line(session: &SessionView) -> String {
    format!(
        "#{} {} {}{} from {}, {}, up {} down {}, {}",
        session.conn,
        session.protocol,
        session.account.as_deref().unwrap_or("not logged in"),
        session
            .upstream
            .as_ref()
            .map(|upstream| format!(" at {upstream}"))
            .unwrap_or_default(),
        session.peer,
        session.phase,
        bytes(session.bytes_up),
        bytes(session.bytes_down),
        duration(session.age_s)
    )
}

/// Seconds as people say them.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Bytes as people say them.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_say_them() {
        let said: Vec<_> = [5, 125, 7_300, 200_000].map(duration).into();
        assert_eq!(said, ["5 s", "2 min", "2 h 1 min", "2 d 7 h"]);
        let said: Vec<_> = [1, 5 << 10, 7 << 20].map(bytes).into();
        assert_eq!(said, ["1 B", "5 KiB", "7 MiB"]);
    }
}

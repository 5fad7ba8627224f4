//! Before login: who is there? Only CAPABILITY, NOOP, ID, LOGOUT, LOGIN and AUTHENTICATE PLAIN are answered.

use std::sync::Arc;

use super::command::id_params;
use super::frame::{self, Frame, Limits};
use super::scan::{Expected, Scanner};
use crate::bridge::Verifier;
use crate::bridge::mailbox::Mailbox;
use crate::bridge::wire::{Stream, Wire, WireError};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::imap::codec;
use crate::proto::lines::Line;
use crate::proto::sasl::{self, SASL_LINE_MAX, SaslError};
use crate::secret::Secret;

/// Runs until somebody is logged in; `None` when the client leaves or has to.
pub(super) async fn login<S: Stream>(
    wire: &mut Wire<S>,
    verifier: &dyn Verifier,
) -> Result<Option<Arc<dyn Mailbox>>, WireError> {
    wire.say(format!("* OK [CAPABILITY {CAPABILITIES}] ready\r\n"));
    let mut strikes = 0;
    while strikes < STRIKES_MAX {
        let step = match frame::read(wire, Limits::BEFORE_LOGIN).await? {
            Frame::Command(command) => answer(wire, verifier, &command).await?,
            Frame::Refused => Step::Strike,
            Frame::Lost => return Ok(None),
        };
        match step {
            Step::Stay => {}
            Step::Strike => strikes += 1,
            Step::Leave => return Ok(None),
            Step::In(mailbox) => return Ok(Some(mailbox)),
        }
    }
    wire.say("* BYE Too many errors\r\n");
    Ok(None)
}

/// What a command led to.
enum Step {
    Stay,
    Strike,
    Leave,
    In(Arc<dyn Mailbox>),
}

/// A command of this state.
enum Command {
    Capability,
    Noop,
    Id,
    Logout,
    Login(Result<LoginAttempt, SaslError>),
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
}

async fn answer<S: Stream>(
    wire: &mut Wire<S>,
    verifier: &dyn Verifier,
    frame: &[u8],
) -> Result<Step, WireError> {
    let mut s = Scanner::new(frame);
    let Ok(tag) = s.tag() else {
        wire.say("* BAD A tag comes first\r\n");
        return Ok(Step::Strike);
    };
    let command = match parse(&mut s) {
        Ok(command) => command,
        Err(expected) => {
            wire.say(format!("{tag} BAD {expected}\r\n"));
            return Ok(Step::Strike);
        }
    };
    let attempt = match command {
        Command::Login(attempt) => attempt,
        Command::Authenticate { mechanism, initial } if mechanism == "PLAIN" => {
            authenticate_plain(wire, initial).await?
        }
        Command::Authenticate { .. } => {
            wire.say(format!("{tag} NO No such mechanism here, only PLAIN\r\n"));
            return Ok(Step::Strike);
        }
        Command::Capability => {
            wire.say(format!(
                "* CAPABILITY {CAPABILITIES}\r\n{tag} OK CAPABILITY completed\r\n"
            ));
            return Ok(Step::Stay);
        }
        Command::Noop => {
            wire.say(format!("{tag} OK NOOP completed\r\n"));
            return Ok(Step::Stay);
        }
        Command::Id => {
            wire.say(format!("* ID NIL\r\n{tag} OK ID completed\r\n"));
            return Ok(Step::Stay);
        }
        Command::Logout => {
            wire.say(format!(
                "* BYE Until next time\r\n{tag} OK LOGOUT completed\r\n"
            ));
            return Ok(Step::Leave);
        }
    };
    decide(wire, verifier, &tag, attempt).await
}

async fn decide<S: Stream>(
    wire: &mut Wire<S>,
    verifier: &dyn Verifier,
    tag: &str,
    attempt: Result<LoginAttempt, SaslError>,
) -> Result<Step, WireError> {
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(error) => {
            wire.say(format!("{tag} BAD {error}\r\n"));
            return Ok(Step::Strike);
        }
    };
    match verifier.verify(&attempt).await {
        Ok(mailbox) => {
            wire.say(format!("{tag} OK [CAPABILITY {AFTER_LOGIN}] Logged in\r\n"));
            Ok(Step::In(mailbox))
        }
        Err(refusal) => {
            wire.say(codec::refusal(tag, &refusal));
            Ok(Step::Strike)
        }
    }
}

fn parse(s: &mut Scanner<'_>) -> Result<Command, Expected> {
    s.sp()?;
    let command = match s.keyword()?.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "ID" => {
            s.sp()?;
            id_params(s)?;
            Command::Id
        }
        "LOGIN" => {
            s.sp()?;
            let name = s.astring()?;
            s.sp()?;
            let password = Secret::new(s.astring()?.into_owned());
            Command::Login(sasl::attempt(&name, password, "LOGIN"))
        }
        "AUTHENTICATE" => {
            s.sp()?;
            let mechanism = s.keyword()?;
            let initial = s.accept(" ").then(|| s.take_while(|b| b != b' ').to_vec());
            Command::Authenticate { mechanism, initial }
        }
        _ => return Err(Expected("LOGIN or AUTHENTICATE first")),
    };
    s.end()?;
    Ok(command)
}

/// The message from the command line, RFC 4959, or from the line behind an empty challenge.
async fn authenticate_plain<S: Stream>(
    wire: &mut Wire<S>,
    initial: Option<Vec<u8>>,
) -> Result<Result<LoginAttempt, SaslError>, WireError> {
    let message = match initial {
        Some(initial) => sasl::decode(&initial),
        None => {
            wire.say("+ \r\n");
            match wire.line(SASL_LINE_MAX).await? {
                Line::Complete(line) => sasl::decode(line.expose()),
                Line::TooLong => Err(SaslError::Base64),
            }
        }
    };
    Ok(message.and_then(|message| sasl::plain(&message, "AUTHENTICATE PLAIN")))
}

/// What is there for sure, and the useful ones already: some programs ask only once (PROTOCOL A.3).
const CAPABILITIES: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID IDLE NAMESPACE CHILDREN SPECIAL-USE UIDPLUS MOVE UNSELECT";

/// The same without what is over.
pub(super) const AFTER_LOGIN: &str =
    "IMAP4rev1 LITERAL+ ID IDLE NAMESPACE CHILDREN SPECIAL-USE UIDPLUS MOVE UNSELECT";

/// Wrong commands and failed logins together; Dovecot closes after three failures, nginx after five errors.
const STRIKES_MAX: u32 = 5;

//! IDLE, RFC 2177: what happens is told as it happens, until the client says DONE.

use super::session::{Done, Failure, Session};
use crate::bridge::wire::Stream;
use crate::proto::lines::Line;

impl<S: Stream> Session<'_, S> {
    pub(super) async fn idle(&mut self) -> Done {
        self.wire.say("+ idling\r\n");
        loop {
            // DONE may be here already, with the next command behind it (PROTOCOL B.8, 12).
            if let Some(line) = self.wire.buffered_line(DONE_MAX) {
                return match line {
                    Line::Complete(line)
                        if line.expose().trim_ascii().eq_ignore_ascii_case(b"DONE") =>
                    {
                        Ok("OK IDLE completed".into())
                    }
                    _ => Err(Failure::Said("BAD Only DONE ends IDLE")),
                };
            }
            self.tell_changes().await?;
            self.wire.flush().await?;
            tokio::select! {
                read = self.wire.fill() => read?,
                // A sender that is gone has no more to tell: then only the client can end this.
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.behind = true,
                    Err(_) => self.wire.fill().await?,
                },
            }
        }
    }
}

/// A line of this state is four octets long.
const DONE_MAX: usize = 64;

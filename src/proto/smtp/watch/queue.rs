//! Whose reply is due next. Commands are answered in order (RFC 2920 section 3.2), some by the upstream and some by us, so
//! what we have to say waits for every reply that is due before it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::flow::Flow;
use crate::protocol::Leg;

/// The most replies that may be due. mpop and mail servers pipeline up to a hundred commands.
pub(super) const QUEUE_MAX: usize = 100;

/// What the upstream was asked, as far as its reply is treated differently.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// MAIL, RCPT, RSET, NOOP.
    Command,
    /// DATA: may the message come?
    Data,
    /// The final dot: was it taken?
    Verdict,
    /// QUIT.
    Quit,
    /// RSET in place of the client's EHLO or HELO, whose reply is this.
    Hello(Bytes),
    /// MAIL of a client without a login, the nth.
    Mail(u64),
    /// RCPT of one, for its nth MAIL, and whom it named.
    Rcpt(u64, String),
}

/// The replies that are due, oldest first. The first one is always the upstream's.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Due>);

#[derive(Debug)]
enum Due {
    Upstream(Asked),
    Ours(Bytes),
}

impl Queue {
    /// Notes that the upstream was asked.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.0.push_back(Due::Upstream(asked));
    }

    /// Says `reply` to the client when it is its turn, which may be now.
    pub(super) fn say(&mut self, reply: impl Into<Bytes>, flow: &mut Flow) {
        if self.0.is_empty() {
            flow.say(Leg::Client, reply);
        } else {
            self.0.push_back(Due::Ours(reply.into()));
        }
    }

    /// What the upstream's next reply answers.
    pub(super) fn front(&self) -> Option<&Asked> {
        match self.0.front()? {
            Due::Upstream(asked) => Some(asked),
            Due::Ours(_) => None,
        }
    }

    /// The upstream's reply has been passed on: now it is our turn, until the next reply of the upstream's is due.
    pub(super) fn answered(&mut self, flow: &mut Flow) {
        self.0.pop_front();
        while let Some(Due::Ours(reply)) = self.0.pop_front_if(|due| matches!(due, Due::Ours(_))) {
            flow.say(Leg::Client, reply);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= QUEUE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flow: &Flow) -> String {
        format!("{:?}", flow.pieces(Leg::Client))
    }

    #[test]
    fn our_replies_wait_for_the_upstreams_before_them() {
        let mut queue = Queue::default();
        let mut flow = Flow::default();
        queue.say("now", &mut flow);
        assert!(said(&flow).contains("now"));
        queue.ask(Asked::Command);
        queue.say("later", &mut flow);
        queue.say("too", &mut flow);
        queue.ask(Asked::Quit);
        queue.say("last", &mut flow);
        assert!(!said(&flow).contains("later"));
        queue.answered(&mut flow);
        assert!(said(&flow).contains("later") && said(&flow).contains("too"));
        assert!(!said(&flow).contains("last"));
        assert_eq!(queue.front(), Some(&Asked::Quit));
        queue.answered(&mut flow);
        assert!(said(&flow).contains("last") && queue.is_empty());
    }
}

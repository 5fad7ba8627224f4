//! IDLE (RFC 2177), kept alive on both legs while the client stays in it.
//!
//! Providers end an IDLE that is old (RFC 2177: after 29 minutes; some after 15), and Outlook never renews its own. So we
//! do it: DONE upstream, and IDLE again under a tag of ours. The client notices nothing of it; what the upstream says
//! meanwhile about the mailbox passes as ever.
//!
//! | state | the client | the upstream | waits for |
//! |---|---|---|---|
//! | `Off` | gives commands | answers them | – |
//! | `On` | idles | idles | DONE of the client, or the time to renew |
//! | `AwaitEnd` | idles, and is not read | was told DONE | its tagged answer, which is ours |
//! | `AwaitGoAhead` | idles, and is not read | was told IDLE | its `+`, which is ours |
//! | `Alone` | idles | refused to idle again | DONE of the client, which is answered here |

use crate::proto::dialogue::Pulse;
use crate::proto::flow::Flow;
use crate::protocol::Leg;

/// Who idles.
#[derive(Debug, Default)]
pub(super) struct Idle {
    state: State,
    /// By which the client knows its IDLE.
    tag: Vec<u8>,
    /// Whether the upstream knows it by ours.
    renewed: bool,
    /// The client's IDLE has ended, and it is we who have to say so.
    owed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    On,
    AwaitEnd,
    AwaitGoAhead,
    Alone,
}

/// What becomes of a tagged answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagged {
    /// It is the client's.
    Passed,
    /// It is ours, and the client does not see it.
    Ours,
    /// It is the client's, under our tag.
    Renamed,
}

impl Idle {
    /// The upstream let the client idle.
    pub(super) fn begin(&mut self, tag: &[u8]) {
        self.state = State::On;
        self.tag = tag.to_vec();
        self.renewed = false;
    }

    /// The client says something. True if that is not for the upstream, which has ended its IDLE already.
    pub(super) fn end(&mut self) -> bool {
        self.owed = self.state == State::Alone;
        self.state = State::Off;
        self.owed
    }

    /// Says that the client's IDLE has ended, if that is for us to say. Only where a response may stand.
    pub(super) fn pay(&mut self, flow: &mut Flow) {
        if std::mem::take(&mut self.owed) {
            let words = &b" OK IDLE terminated\r\n"[..];
            flow.say(Leg::Client, [&self.tag, words].concat());
        }
    }

    /// Whether the client is not to be read: something of ours comes first.
    pub(super) fn is_busy(&self) -> bool {
        self.owed || matches!(self.state, State::AwaitEnd | State::AwaitGoAhead)
    }

    /// Whether the client idles as far as it knows.
    pub(super) fn is_on(&self) -> bool {
        self.state != State::Off
    }

    /// The time has come to renew it upstream.
    pub(super) fn renew(&mut self, flow: &mut Flow) {
        if self.state == State::On {
            flow.say(Leg::Upstream, "DONE\r\n");
            self.state = State::AwaitEnd;
        }
    }

    /// The upstream said `+`. True if it is ours.
    pub(super) fn on_continue(&mut self) -> bool {
        let ours = self.state == State::AwaitGoAhead;
        if ours {
            self.state = State::On;
            self.renewed = true;
        }
        ours
    }

    /// The upstream answered the command `tag`.
    pub(super) fn on_tagged(&mut self, tag: &[u8], flow: &mut Flow) -> Tagged {
        let upstream_tag = if self.renewed { OUR_TAG } else { &self.tag };
        match self.state {
            State::AwaitEnd if tag == upstream_tag => {
                flow.say(Leg::Upstream, [OUR_TAG, &b" IDLE\r\n"[..]].concat());
                self.state = State::AwaitGoAhead;
                Tagged::Ours
            }
            // It will not, whatever it says: the client is left to believe so, and hears of mail when it asks again.
            State::AwaitGoAhead if tag == OUR_TAG => {
                self.state = State::Alone;
                Tagged::Ours
            }
            _ if self.renewed && tag == OUR_TAG => {
                self.renewed = false;
                self.state = State::Off;
                Tagged::Renamed
            }
            // It ended the IDLE by itself.
            State::On if tag == upstream_tag => {
                self.state = State::Off;
                Tagged::Passed
            }
            _ => Tagged::Passed,
        }
    }

    /// By which the client knows its IDLE.
    pub(super) fn tag(&self) -> &[u8] {
        &self.tag
    }

    pub(super) fn pulse(&self) -> Pulse {
        match self.state {
            State::Off => Pulse::None,
            State::On | State::Alone => Pulse::Idling,
            State::AwaitEnd | State::AwaitGoAhead => Pulse::Renewing,
        }
    }
}

/// While the client idles it has no other command under way, so that no tag of its own can be meant.
const OUR_TAG: &[u8] = b"m0";

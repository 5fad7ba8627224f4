//! What a client without a login may not decide for itself: whether it may send one more message, and what is written down
//! about each.

use std::time::SystemTime;

use aws_lc_rs::rand;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::allowances::Allowances;
use super::registry::SessionRecord;
use crate::config::runtime::{ListenAddress, Listener, NoLogin};
use crate::peer::Who;
use crate::proto::smtp::device::{Permit, Submission, Terms};

/// The messages of one session.
#[derive(Debug)]
pub(super) struct Submissions<'a> {
    record: &'a SessionRecord,
    allowances: &'a Allowances,
    listener: &'a ListenAddress,
    no_login: &'a NoLogin,
    began: Instant,
}

impl<'a> Submissions<'a> {
    /// `None` where people log in.
    pub(super) fn of(
        listener: &'a Listener,
        record: &'a SessionRecord,
        allowances: &'a Allowances,
    ) -> Option<Self> {
        Some(Self {
            record,
            allowances,
            listener: &listener.address,
            no_login: listener.no_login.as_ref()?,
            began: Instant::now(),
        })
    }

    /// Whether it is worth while to log in upstream for the client.
    pub(super) fn has_room(&self) -> bool {
        let max = self.no_login.messages_per_hour;
        self.allowances
            .has_room(self.listener, self.peer(), max, Instant::now())
    }

    /// Leave for one message. Where the system has no randomness there is none, since two messages would have one name.
    pub(super) fn permit(&mut self) -> Option<Permit> {
        self.began = Instant::now();
        let permit = permit(&self.no_login.account)?;
        let max = self.no_login.messages_per_hour;
        self.allowances
            .take(self.listener, self.peer(), max, self.began)
            .then_some(permit)
    }

    /// The audit line.
    pub(super) fn note(&self, submission: &Submission) {
        let view = self.record.view();
        tracing::info!(
            conn = view.conn,
            proto = view.protocol,
            peer = view.peer,
            account = view.account,
            upstream = view.upstream,
            sender = submission.sender,
            recipients = submission.recipients,
            to = submission.first.join(" "),
            octets = submission.octets,
            reply = submission.reply,
            by = if submission.ours {
                "mailsluice"
            } else {
                "upstream"
            },
            elapsed_ms = self.began.elapsed().as_millis() as u64,
            "message without a login"
        );
    }

    fn peer(&self) -> Who {
        self.record.peer.who()
    }
}

/// The terms of a listener in the dialogue's words.
pub(super) fn terms(no_login: &NoLogin) -> Terms {
    Terms {
        address: no_login.account.clone(),
        envelope: no_login.envelope,
        header: no_login.header,
        recipients: no_login.recipients,
    }
}

fn permit(account: &str) -> Option<Permit> {
    let mut unique = [0; 16];
    rand::fill(&mut unique).ok()?;
    // The account's domain, so that nothing tells of this machine.
    let domain = account.rsplit('@').next().unwrap_or_default();
    Some(Permit {
        date: date(SystemTime::now())?,
        message_id: format!("{:032x}@{domain}", u128::from_be_bytes(unique)),
    })
}

/// RFC 5322 section 3.3, in UTC: the device's zone is not known, and UTC is right anywhere.
fn date(now: SystemTime) -> Option<String> {
    let format = format_description!(
        "[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second] +0000"
    );
    OffsetDateTime::from(now).format(&format).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_one_of_rfc_5322() {
        let at = |seconds| date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(
            at(784_111_777).as_deref(),
            Some("Sun, 6 Nov 1994 08:49:37 +0000")
        );
        assert_eq!(at(0).as_deref(), Some("Thu, 1 Jan 1970 00:00:00 +0000"));
    }

    #[test]
    fn no_two_messages_have_one_name() {
        let [one, other] = [(), ()].map(|()| permit("scanner@firma.example").unwrap());
        assert_ne!(one.message_id, other.message_id);
        assert!(one.message_id.ends_with("@firma.example"));
        assert_eq!(one.message_id.len(), 32 + "@firma.example".len());
    }
}

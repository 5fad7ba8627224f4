//! A client that cannot log in, at a listener that is bound to one account: what it may do, and what is told about it.

use crate::protocol::SenderRule;

/// What a client may do that comes without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The account's address: the one sender there is.
    pub address: String,
    /// Another one in MAIL.
    pub envelope: SenderRule,
    /// Another one in the header.
    pub header: SenderRule,
    /// How many recipients one message may have.
    pub recipients: usize,
}

impl Terms {
    /// Whether `address` is the account's. Its local part is compared without case, too: no provider tells two mailboxes
    /// apart by it.
    pub fn is_ours(&self, address: &[u8]) -> bool {
        address.eq_ignore_ascii_case(self.address.as_bytes())
    }
}

/// Leave to send one message, and what only somebody with a clock can put into its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// RFC 5322 section 3.3, for a message without a date.
    pub date: String,
    /// Without angle brackets, never given twice, for a message without one.
    pub message_id: String,
}

/// One message of such a client, or the attempt to send one, at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// The envelope sender as the client named it.
    pub sender: String,
    /// How many recipients the upstream took.
    pub recipients: usize,
    /// The first [`RECIPIENTS_TOLD`] of them.
    pub first: Vec<String>,
    /// The message as received, without what SMTP puts around it (RFC 1870 section 5).
    pub octets: u64,
    /// The reply that ended it.
    pub reply: u16,
    /// Whether that reply was ours; else the upstream's.
    pub ours: bool,
}

/// Enough to see where mail goes, and a line of a bounded length.
pub const RECIPIENTS_TOLD: usize = 10;

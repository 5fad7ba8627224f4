//! What to type into a mail program, and the same as `curl` lines.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::protocol::Protocol;
use crate::secret::Secret;

/// Where the proxy is and who may in.
pub(super) struct Settings<'a> {
    pub(super) addresses: Vec<(Protocol, SocketAddr)>,
    pub(super) user: &'a str,
    pub(super) password: &'a Secret,
}

impl Settings<'_> {
    /// Where a protocol is served.
    pub(super) fn address(&self, protocol: Protocol) -> SocketAddr {
        self.addresses
            .iter()
            .find(|(own, _)| *own == protocol)
            .map_or(
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                |(_, address)| *address,
            )
    }
}

impl fmt::Display for Settings<'_> {
    /// Shows the local password: it is the demo's purpose, and it opens a mailbox that ends with this process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [imap, pop3, smtp] = Protocol::ALL.map(|protocol| self.address(protocol));
        let password = String::from_utf8_lossy(self.password.expose());
        let user = self.user;
        let login = format!("--user '{user}:{password}'");
        writeln!(
            f,
            "Settings for a mail program (no encryption, normal password):\n"
        )?;
        for (what, address) in [("IMAP", imap), ("POP3", pop3), ("SMTP", smtp)] {
            writeln!(
                f,
                "  {what}  server {}  port {}",
                address.ip(),
                address.port()
            )?;
        }
        writeln!(f, "  user name  {user}\n  password   {password}\n")?;
        writeln!(f, "Or, by hand:\n")?;
        writeln!(f, "  curl imap://{imap}/ {login}")?;
        writeln!(f, "  curl 'imap://{imap}/INBOX;UID=1' {login}")?;
        writeln!(f, "  curl pop3://{pop3}/ {login}")?;
        writeln!(f, "  curl pop3://{pop3}/1 {login}")?;
        writeln!(
            f,
            "  printf 'Subject: hello\\r\\n\\r\\nsent by curl\\r\\n' | curl smtp://{smtp}/ {login} --mail-from {user} \
             --mail-rcpt {user} --upload-file -"
        )
    }
}

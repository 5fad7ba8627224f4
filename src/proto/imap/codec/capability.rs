//! Capability lists: ours before login, the upstream's afterwards without what must stay hidden.

use crate::proto::dialogue::ClientTls;

/// What we complete ourselves before login, and nothing that might not hold once the upstream speaks.
pub fn before_login(tls: ClientTls) -> &'static str {
    match tls {
        ClientTls::Offered => "IMAP4rev1 SASL-IR LITERAL- ID STARTTLS AUTH=PLAIN AUTH=LOGIN",
        ClientTls::Off | ClientTls::Active => "IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN AUTH=LOGIN",
    }
}

/// capability-data without its first word: the upstream's `list` with the hidden ones left out and the protocol
/// versions first (RFC 3501 section 7.2.1: `IMAP4` must lead; some clients look for `IMAP4rev1` there).
pub fn after_login(list: &[u8]) -> Vec<u8> {
    let mut shown: Vec<&[u8]> = list
        .split(|&b| b == b' ')
        .filter(|token| !token.is_empty() && !is_hidden(token))
        .collect();
    // Stable: everything else keeps the upstream's order.
    shown.sort_by_key(|token| match token {
        t if t.eq_ignore_ascii_case(b"IMAP4") => 0,
        t if t.eq_ignore_ascii_case(b"IMAP4rev1") => 1,
        _ => 2,
    });
    if shown.is_empty() {
        return b"IMAP4rev1".to_vec();
    }
    shown.join(&b' ')
}

/// Whether a client must not see this capability after login (PROTOCOL B.2).
fn is_hidden(token: &[u8]) -> bool {
    HIDDEN.iter().any(|name| token.eq_ignore_ascii_case(name))
        || HIDDEN_PREFIXES.iter().any(|prefix| {
            token
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

const HIDDEN: [&[u8]; 8] = [
    // A client that is logged in cannot do these again; LOGINDISABLED would stop old ones dead.
    b"STARTTLS",
    b"LOGINDISABLED",
    // The client would send its local password to the provider.
    b"UNAUTHENTICATE",
    b"X-UNAUTHENTICATE",
    // c-client follows these by itself: a credential redirected to another host.
    b"LOGIN-REFERRALS",
    b"MAILBOX-REFERRALS",
    // Registers the device's push token with a server the client does not talk to.
    b"XAPPLEPUSHSERVICE",
    // Outlook switches it on and cannot handle it (mox#388).
    b"UIDONLY",
];

const HIDDEN_PREFIXES: [&[u8]; 3] = [
    // The client would log in with its own identity.
    b"AUTH=",
    // Nothing could be watched any more, and sizes would leak plaintext.
    b"COMPRESS",
    // URLs that name the upstream host. URLAUTH, URLAUTH=BINARY.
    b"URLAUTH",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &str) -> String {
        String::from_utf8(after_login(list.as_bytes())).unwrap()
    }

    #[test]
    fn what_would_open_a_hole_is_hidden() {
        assert_eq!(
            shown(
                "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID COMPRESS=DEFLATE auth=plain URLAUTH=BINARY CATENATE \
                 UNAUTHENTICATE X-UNAUTHENTICATE UIDONLY XAPPLEPUSHSERVICE STARTTLS LOGINDISABLED MAILBOX-REFERRALS IDLE"
            ),
            "IMAP4rev1 SASL-IR ID CATENATE IDLE"
        );
    }

    #[test]
    fn versions_come_first_and_the_rest_keeps_its_order() {
        assert_eq!(
            shown("IDLE  IMAP4rev2 IMAP4rev1 UIDPLUS"),
            "IMAP4rev1 IDLE IMAP4rev2 UIDPLUS"
        );
        assert_eq!(shown("IMAP4rev1 IMAP4 ID"), "IMAP4 IMAP4rev1 ID");
        assert_eq!(shown("STARTTLS"), "IMAP4rev1");
    }

    #[test]
    fn starttls_is_offered_only_where_it_can_be_done() {
        assert!(before_login(ClientTls::Offered).contains("STARTTLS"));
        assert!(!before_login(ClientTls::Off).contains("STARTTLS"));
        assert!(!before_login(ClientTls::Active).contains("STARTTLS"));
    }
}

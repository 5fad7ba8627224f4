//! Capability lists: ours before login, the upstream's afterwards without what must stay hidden.

use crate::profile::Shown;
use crate::proto::dialogue::ClientTls;
use crate::proto::offer::Offer;
use crate::protocol::Protocol;

/// What we complete ourselves before login, and what holds with every upstream behind the listener.
pub fn before_login(offer: &Offer, tls: ClientTls, promised: &[String]) -> Vec<String> {
    let mut list = vec!["IMAP4rev1".to_owned()];
    list.extend(offer.profile.imap.before_login.iter().cloned());
    for capability in offer.promised(Protocol::Imap, promised, &MAY_PROMISE) {
        if !list.iter().any(|it| it.eq_ignore_ascii_case(&capability)) {
            list.push(capability);
        }
    }
    if tls == ClientTls::Offered {
        list.push("STARTTLS".to_owned());
    }
    let mechanisms = offer.mechanisms(Protocol::Imap, tls);
    list.extend(mechanisms.iter().map(|name| format!("AUTH={name}")));
    list
}

/// capability-data without its first word: the upstream's `list` with the hidden ones left out and the protocol
/// versions first (RFC 3501 section 7.2.1: `IMAP4` must lead; some clients look for `IMAP4rev1` there).
pub fn after_login(list: &[u8], shown: &Shown) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = list
        .split(|&b| b == b' ')
        .filter(|token| !token.is_empty() && !is_hidden(token) && shown.admits(token))
        .collect();
    // Stable: everything else keeps the upstream's order.
    kept.sort_by_key(|token| match token {
        t if t.eq_ignore_ascii_case(b"IMAP4") => 0,
        t if t.eq_ignore_ascii_case(b"IMAP4rev1") => 1,
        _ => 2,
    });
    if kept.is_empty() {
        return b"IMAP4rev1".to_vec();
    }
    kept.join(&b' ')
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

const HIDDEN: [&[u8]; 7] = [
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
];

/// What may be told before login where every upstream has it (PROTOCOL B.2): it concerns nothing that is said before.
const MAY_PROMISE: [&str; 27] = [
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "CHILDREN",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "XLIST",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "CONDSTORE",
    "QRESYNC",
    "ESEARCH",
    "SORT*",
    "THREAD=*",
    "QUOTA*",
    "ACL",
    "METADATA*",
    "WITHIN",
    "SEARCHRES",
    "MULTIAPPEND",
    "APPENDLIMIT*",
    "STATUS=SIZE",
    "CONTEXT=*",
    "X-GM-EXT-1",
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
    use std::sync::Arc;

    use super::*;
    use crate::profile::{Profile, builtin};

    fn shown(list: &str) -> String {
        let seen = after_login(list.as_bytes(), &Profile::default().imap);
        String::from_utf8(seen).unwrap()
    }

    fn offered(profile: &str, tls: ClientTls, promised: &str) -> String {
        let promised: Vec<String> = promised.split(' ').map(str::to_owned).collect();
        let profile = Arc::new(builtin(profile).unwrap());
        let offer = Offer::new(Protocol::Imap, profile, false, &promised);
        offer.list(tls).join(" ")
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
        for (tls, offers) in [
            (ClientTls::Offered, true),
            (ClientTls::Off, false),
            (ClientTls::Active, false),
        ] {
            assert_eq!(offered("modern", tls, "").contains("STARTTLS"), offers);
        }
    }

    #[test]
    fn plain_is_not_named_in_clear_where_c_client_would_warn() {
        assert_eq!(
            offered("modern", ClientTls::Off, ""),
            "IMAP4rev1 SASL-IR LITERAL- ID AUTH=LOGIN"
        );
        assert_eq!(
            offered("modern", ClientTls::Active, ""),
            "IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN AUTH=LOGIN"
        );
        assert_eq!(
            offered("cclient", ClientTls::Active, ""),
            "IMAP4rev1 AUTH=LOGIN"
        );
        assert_eq!(
            offered("strict", ClientTls::Off, ""),
            "IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN"
        );
    }

    #[test]
    fn what_every_upstream_has_is_promised_if_it_concerns_only_the_time_after_login() {
        let theirs = "IMAP4rev1 IDLE ID uidplus COMPRESS=DEFLATE LITERAL+ AUTH=XOAUTH2 UTF8=ACCEPT SORT=DISPLAY NEW";
        assert_eq!(
            offered("modern", ClientTls::Off, theirs),
            "IMAP4rev1 SASL-IR LITERAL- ID IDLE uidplus SORT=DISPLAY AUTH=LOGIN"
        );
        assert_eq!(
            offered("ancient", ClientTls::Off, theirs),
            "IMAP4rev1 AUTH=LOGIN"
        );
        assert_eq!(
            offered("outlook-express", ClientTls::Off, theirs),
            "IMAP4rev1 uidplus AUTH=LOGIN"
        );
    }
}

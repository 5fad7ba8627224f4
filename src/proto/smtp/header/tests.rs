//! The header under any split, and whom a receiver reads in what is passed on. Single rules are in
//! `tests/transcripts/smtp/no-login-*`.

use proptest::prelude::*;

use super::*;

fn terms(header: SenderRule) -> Terms {
    Terms {
        address: "scanner@firma.example".into(),
        envelope: SenderRule::Rewrite,
        header,
        recipients: 1,
    }
}

fn permit() -> Permit {
    Permit {
        date: "now".into(),
        message_id: "id".into(),
    }
}

/// What becomes of the message when it comes in these pieces.
fn passed(pieces: &[&[u8]], rule: SenderRule) -> Result<Vec<u8>, Foreign> {
    let mut collected = Some(Collected::default());
    let mut out = Vec::new();
    for piece in pieces {
        let Some(header) = &mut collected else {
            out.extend_from_slice(piece);
            continue;
        };
        if let Some(whole) = header.push(piece).unwrap() {
            out.extend(rewrite(&whole.fields, &terms(rule), &permit())?);
            out.extend_from_slice(&whole.body);
            out.extend_from_slice(&piece[whole.taken..]);
            collected = None;
        }
    }
    Ok(out)
}

fn from(value: &str) -> String {
    let text = format!("From:{value}\r\nReply-To: x\r\nDate: x\r\nMessage-ID: x\r\n\r\n");
    let out = passed(&[text.as_bytes()], SenderRule::Rewrite).unwrap();
    let out = String::from_utf8_lossy(&out).into_owned();
    let end = out.find("\r\nReply-To").unwrap();
    out[..end].to_owned()
}

#[test]
fn a_display_name_is_kept_however_it_is_written() {
    for (written, told) in [
        (" scanner@localhost", "From: <scanner@firma.example>"),
        (" Scan <s@localhost>", "From: Scan <scanner@firma.example>"),
        (
            " \"Scan, \\\"3\\\"\" <s@localhost>",
            "From: \"Scan, \\\"3\\\"\" <scanner@firma.example>",
        ),
        (
            " =?utf-8?B?w5w=?= =?utf-8?Q?b?= <s@x>",
            "From: =?utf-8?B?w5w=?= =?utf-8?Q?b?= <scanner@firma.example>",
        ),
        (
            " s@localhost (Room 3 (east))",
            "From: \"Room 3 (east)\" <scanner@firma.example>",
        ),
        (
            " Scan [3] <s@localhost>",
            "From: \"Scan [3]\" <scanner@firma.example>",
        ),
        (
            " boss@bank.example <s@localhost>",
            "From: \"boss@bank.example\" <scanner@firma.example>",
        ),
        (
            " A\r\n B <s@localhost>",
            "From: A B <scanner@firma.example>",
        ),
        (
            " A <s@localhost>, B <t@localhost>",
            "From: A <scanner@firma.example>",
        ),
        (" list:;", "From: <scanner@firma.example>"),
        (" \"open <s@localhost>", "From: <scanner@firma.example>"),
        (" <a@x> <b@x>", "From: <scanner@firma.example>"),
    ] {
        assert_eq!(from(written), told, "{written}");
    }
}

#[test]
fn only_the_accounts_own_address_and_no_other_passes_as_it_is() {
    for kept in [
        " scanner@firma.example",
        "scanner@FIRMA.example",
        "\r\n \"B\\\"x\" (c)\r\n <Scanner@firma.example> (d)",
        " Gr\u{fc}n <scanner@firma.example>",
    ] {
        assert_eq!(from(kept), format!("From:{kept}"));
        let text = format!("From:{kept}\r\n\r\n");
        assert!(passed(&[text.as_bytes()], SenderRule::Pin).is_ok());
    }
    for other in [
        " boss@bank.example",
        " scanner@firma.example, boss@bank.example",
        " scanner@firma.example <boss@bank.example>",
        " boss@bank.example <scanner@firma.example>",
        " <scanner@firma.example> boss@bank.example",
        " <scanner@firma.example> <boss@bank.example>",
        " <scanner@firma.example>; boss@bank.example",
        " \"x\" <boss@bank.example",
        " (<scanner@firma.example>) boss@bank.example",
        " scanner@firma.exam ple",
        " group: scanner@firma.example, boss@bank.example;",
    ] {
        assert_ne!(from(other), format!("From:{other}"), "{other}");
        let text = format!("From:{other}\r\n\r\n");
        let pinned = passed(&[text.as_bytes()], SenderRule::Pin);
        assert_eq!(pinned, Err(Foreign), "{other}");
    }
}

#[test]
fn answers_go_where_they_can_get() {
    for (written, told) in [
        ("a@firma.example", "Reply-To: a@firma.example\r\n"),
        (
            "a@firma.example, B <b@firma.example>, c@localhost",
            "Reply-To: a@firma.example,\r\n b@firma.example\r\n",
        ),
        (
            "a@firma.example, A@Firma.example",
            "Reply-To: a@firma.example\r\n",
        ),
        ("scanner@localhost", ""),
        ("scanner@scanner.local", ""),
        ("scanner@192.168.1.5", ""),
        ("scanner@[192.168.1.5]", ""),
        ("root@printer", ""),
        ("a..b@firma..example", ""),
        ("scanner", ""),
    ] {
        let text = format!("From: {written}\r\nDate: x\r\nMessage-ID: x\r\n\r\n");
        let out = passed(&[text.as_bytes()], SenderRule::Rewrite).unwrap();
        let expected =
            format!("From: <scanner@firma.example>\r\nDate: x\r\nMessage-ID: x\r\n{told}\r\n");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

#[test]
fn a_long_name_is_folded_and_stays_what_it_is() {
    let name = "=?utf-8?Q?word?= ".repeat(40);
    let told = from(&format!(" {name}<s@localhost>"));
    assert!(told.split("\r\n").all(|line| line.len() < 100), "{told}");
    let unfolded = told.replace("\r\n", "");
    assert_eq!(unfolded, format!("From: {name}<scanner@firma.example>"));
}

#[test]
fn a_header_is_bounded() {
    let mut collected = Collected::default();
    let line = [b"X: ".to_vec(), vec![b'x'; 995], b"\r\n".to_vec()].concat();
    let taken = (0..).find(|_| collected.push(&line) == Err(TooLong));
    assert_eq!(taken, Some(HEADER_MAX / 1000));
    assert_eq!(
        Collected::default().push(&vec![b'x'; HEADER_MAX + 1]),
        Err(TooLong)
    );
}

/// Whom a receiver reads that takes any line with a colon for a field, up to an empty line.
fn senders(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message).into_owned();
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    let header = header.strip_prefix("\r\n").map_or(header, |_| "");
    let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields = unfolded
        .split("\r\n")
        .filter_map(|line| line.split_once(':'));
    fields
        .filter(|(name, _)| {
            let name = name.trim_end();
            name.eq_ignore_ascii_case("from") || name.eq_ignore_ascii_case("sender")
        })
        .map(|(_, value)| value.to_owned())
        .collect()
}

const PARTS: [&str; 24] = [
    "From: ",
    "from : ",
    "FROM:",
    "Sender: ",
    "boss@bank.example",
    "scanner@firma.example",
    "<boss@bank.example>",
    "<scanner@firma.example>",
    "\"",
    "\\",
    "(",
    ")",
    ",",
    ";",
    ":",
    "\r\n",
    "\r\n",
    "\r\n ",
    "\r\n\t",
    "Subject: x\r\n",
    "From",
    "no field\r\n",
    " ",
    "\u{fc}",
];

proptest! {
    #[test]
    fn no_split_changes_a_header(
        parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..30),
        cuts in prop::collection::vec(0..400usize, 0..8),
        pin in any::<bool>(),
    ) {
        let text = format!("{}\r\n\r\nbody\r\n.\r\n", parts.concat());
        let rule = if pin { SenderRule::Pin } else { SenderRule::Rewrite };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
        prop_assert_eq!(passed(&pieces, rule), passed(&[text.as_bytes()], rule));
    }

    #[test]
    fn nobody_else_is_read_as_the_sender(
        parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..30),
        pin in any::<bool>(),
    ) {
        let text = format!("{}\r\n\r\nbody\r\n", parts.concat());
        let rule = if pin { SenderRule::Pin } else { SenderRule::Rewrite };
        let Ok(out) = passed(&[text.as_bytes()], rule) else {
            prop_assert!(pin);
            return Ok(());
        };
        let senders = senders(&out);
        prop_assert!(!senders.is_empty(), "{}", String::from_utf8_lossy(&out));
        for sender in senders {
            let named = mailboxes(sender.as_bytes()).unwrap_or_default();
            prop_assert_eq!(named.len(), 1, "{}", sender);
            prop_assert_eq!(named[0].address.to_ascii_lowercase(), b"scanner@firma.example".to_vec());
        }
        prop_assert!(out.ends_with(b"body\r\n"));
    }

    #[test]
    fn nothing_in_a_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = [&bytes[..], b"\r\n\r\n"].concat();
        let _ = passed(&[&text], SenderRule::Rewrite);
        let _ = mailboxes(&bytes);
    }
}

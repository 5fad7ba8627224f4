//! BODY and BODYSTRUCTURE, RFC 3501 section 7.4.2.

use super::envelope::envelope;
use super::say::{nstring, string};
use crate::bridge::mime::{self, Content, Media, Part};

/// Appends the structure of `part` of `raw`; `extended` adds what BODYSTRUCTURE has over BODY.
pub(super) fn structure(out: &mut Vec<u8>, raw: &[u8], part: &Part, extended: bool) {
    out.push(b'(');
    let header = raw.get(part.header.clone()).unwrap_or_default();
    match &part.content {
        Content::Multipart(parts) => {
            for each in parts {
                structure(out, raw, each, extended);
            }
            out.push(b' ');
            name(out, &part.media.subtype);
            if extended {
                out.push(b' ');
                params(out, &part.media);
            }
        }
        content => {
            single(out, raw, part, header);
            if let Content::Message(inner) = content {
                out.push(b' ');
                envelope(out, raw.get(inner.header.clone()).unwrap_or_default());
                out.push(b' ');
                structure(out, raw, inner, extended);
            }
            if part.media.kind == "text" || matches!(content, Content::Message(_)) {
                let body = raw.get(part.body.clone()).unwrap_or_default();
                out.extend_from_slice(format!(" {}", lines(body)).as_bytes());
            }
            if extended {
                out.push(b' ');
                nstring(out, mime::field_value(header, "Content-MD5").as_deref());
            }
        }
    }
    if extended {
        extension(out, header);
    }
    out.push(b')');
}

/// `body-fields` with the media type before them.
fn single(out: &mut Vec<u8>, raw: &[u8], part: &Part, header: &[u8]) {
    name(out, &part.media.kind);
    out.push(b' ');
    name(out, &part.media.subtype);
    out.push(b' ');
    params(out, &part.media);
    for field in ["Content-ID", "Content-Description"] {
        out.push(b' ');
        nstring(out, mime::field_value(header, field).as_deref());
    }
    out.push(b' ');
    let encoding = mime::field_value(header, "Content-Transfer-Encoding");
    let encoding = encoding.filter(|encoding| !encoding.is_empty());
    string(out, &encoding.unwrap_or_else(|| b"7bit".to_vec()));
    let octets = raw.get(part.body.clone()).unwrap_or_default().len();
    out.extend_from_slice(format!(" {octets}").as_bytes());
}

/// `body-fld-dsp SP body-fld-lang SP body-fld-loc`, each behind a space.
fn extension(out: &mut Vec<u8>, header: &[u8]) {
    out.push(b' ');
    match mime::field_value(header, "Content-Disposition").map(|value| Media::parse(&value)) {
        Some(disposition) if !disposition.kind.is_empty() => {
            out.push(b'(');
            name(out, &disposition.kind);
            out.push(b' ');
            params(out, &disposition);
            out.push(b')');
        }
        _ => out.extend_from_slice(b"NIL"),
    }
    for field in ["Content-Language", "Content-Location"] {
        out.push(b' ');
        nstring(out, mime::field_value(header, field).as_deref());
    }
}

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`
fn params(out: &mut Vec<u8>, media: &Media) {
    if media.params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (i, (key, value)) in media.params.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        string(out, key.as_bytes());
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

fn name(out: &mut Vec<u8>, name: &str) {
    string(out, name.as_bytes());
}

/// How many line ends there are; a last line without one counts.
fn lines(body: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', body).count();
    ends + usize::from(body.last().is_some_and(|&b| b != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &str, extended: bool) -> String {
        let mut out = Vec::new();
        structure(
            &mut out,
            raw.as_bytes(),
            &mime::parse(raw.as_bytes()),
            extended,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_message() {
        assert_eq!(
            of("Subject: x\r\n\r\na\r\nb\r\n", false),
            r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 2)"#
        );
    }

    #[test]
    fn a_multipart_with_an_attachment() {
        let raw = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\
            Content-Type: image/png; name=\"x.png\"\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=x.png\r\n\r\nAAAA\r\n--b--\r\n";
        assert_eq!(
            of(raw, true),
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 1 NIL NIL NIL NIL)"#
                .to_owned()
                + r#"("image" "png" ("name" "x.png") NIL NIL "base64" 4 NIL ("attachment" ("filename" "x.png")) NIL NIL)"#
                + r#" "mixed" ("boundary" "b") NIL NIL NIL)"#
        );
    }

    #[test]
    fn a_forwarded_message_has_an_envelope_inside() {
        let raw = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n";
        assert_eq!(
            of(raw, false),
            r#"("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL)"#.to_owned()
                + r#" ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1) 3)"#
        );
    }
}

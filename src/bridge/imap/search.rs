//! SEARCH, RFC 3501 section 6.4.4: text is compared decoded and without case. A message is read only where a key asks
//! for its text, and only if the cheaper keys before it fit.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};
use time::{Date, Month};

use super::search_key::{Search, SearchKey};
use super::sequence::Numbers;
use super::session::{Done, Failure, Session};
use crate::bridge::mailbox::{Mailbox, MailboxError, Message};
use crate::bridge::mime::{self, Content, Part};
use crate::bridge::wire::Stream;

impl<S: Stream> Session<'_, S> {
    pub(super) async fn search(&mut self, uid: bool, search: Search) -> Done {
        if !search.charset_known {
            return Err(Failure::Said(
                "NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset",
            ));
        }
        let selected = self.selected()?;
        let last_uid = selected.view.messages.last().map_or(0, |m| m.uid.0);
        let count = u32::try_from(selected.view.messages.len()).unwrap_or(u32::MAX);
        let test = Test::new(search.key, last_uid, count);
        let mut found = String::from("* SEARCH");
        for (number, message) in selected.numbered() {
            let mut subject = Subject {
                mailbox: &*self.mailbox,
                folder: &selected.folder,
                number,
                message,
                raw: None,
            };
            match test.fits(&mut subject).await {
                Ok(true) if uid => found.push_str(&format!(" {}", message.uid)),
                Ok(true) => found.push_str(&format!(" {number}")),
                Ok(false) | Err(MailboxError::MessageGone) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.push_str("\r\n");
        self.wire.say_much(found.as_bytes()).await?;
        Ok("OK SEARCH completed".into())
    }
}

/// A key with its sequence sets resolved.
enum Test {
    Key(SearchKey),
    Uid(Numbers),
    Number(Numbers),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

impl Test {
    fn new(key: SearchKey, last_uid: u32, count: u32) -> Self {
        let of = |key| Self::new(key, last_uid, count);
        match key {
            SearchKey::Uid(set) => Self::Uid(set.resolve(last_uid)),
            SearchKey::Sequence(set) => Self::Number(set.resolve(count)),
            SearchKey::Not(key) => Self::Not(Box::new(of(*key))),
            SearchKey::Or(a, b) => Self::Or(Box::new(of(*a)), Box::new(of(*b))),
            SearchKey::And(keys) => Self::And(keys.into_iter().map(of).collect()),
            key => Self::Key(key),
        }
    }

    fn fits<'a>(
        &'a self,
        subject: &'a mut Subject<'_>,
    ) -> BoxFuture<'a, Result<bool, MailboxError>> {
        async move {
            match self {
                Self::Uid(numbers) => Ok(numbers.contains(subject.message.uid.0)),
                Self::Number(numbers) => {
                    Ok(u32::try_from(subject.number).is_ok_and(|n| numbers.contains(n)))
                }
                Self::Not(test) => Ok(!test.fits(subject).await?),
                Self::Or(a, b) => Ok(a.fits(subject).await? || b.fits(subject).await?),
                Self::And(tests) => {
                    for test in tests {
                        if !test.fits(subject).await? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Self::Key(key) => subject.fits(key).await,
            }
        }
        .boxed()
    }
}

/// The message that is looked at, read at most once.
struct Subject<'m> {
    mailbox: &'m dyn Mailbox,
    folder: &'m str,
    number: usize,
    message: &'m Message,
    raw: Option<Bytes>,
}

impl Subject<'_> {
    async fn fits(&mut self, key: &SearchKey) -> Result<bool, MailboxError> {
        let message = self.message;
        Ok(match key {
            SearchKey::All => true,
            SearchKey::Flag(flag) => message.flags.contains(flag),
            SearchKey::Larger(size) => message.size > u64::from(*size),
            SearchKey::Smaller(size) => message.size < u64::from(*size),
            SearchKey::Arrived(day) => day.fits(message.internal_date.date()),
            SearchKey::Sent(day) => {
                let raw = self.raw().await?;
                // Without a readable Date the day of arrival stands for it.
                day.fits(sent(&raw).unwrap_or(message.internal_date.date()))
            }
            SearchKey::Header { field, text } => in_header(&self.raw().await?, field, text),
            SearchKey::Body(text) => in_body(&self.raw().await?, text),
            SearchKey::Text(text) => {
                let raw = self.raw().await?;
                in_any_header(&raw, text) || in_body(&raw, text)
            }
            // Resolved by `Test::new`.
            SearchKey::Uid(_)
            | SearchKey::Sequence(_)
            | SearchKey::Not(_)
            | SearchKey::Or(..)
            | SearchKey::And(_)
            | SearchKey::Never => false,
        })
    }

    async fn raw(&mut self) -> Result<Bytes, MailboxError> {
        if let Some(raw) = &self.raw {
            return Ok(raw.clone());
        }
        let (uid, size) = (self.message.uid, self.message.size);
        let raw = self.mailbox.read(self.folder, uid, 0..size).await?;
        Ok(self.raw.insert(raw).clone())
    }
}

fn in_header(raw: &[u8], name: &[u8], text: &str) -> bool {
    mime::fields(header_of(raw))
        .filter(|field| field.name.eq_ignore_ascii_case(name))
        .any(|field| decoded(field.value).contains(text))
}

fn in_any_header(raw: &[u8], text: &str) -> bool {
    mime::fields(header_of(raw)).any(|field| decoded(field.raw).contains(text))
}

fn header_of(raw: &[u8]) -> &[u8] {
    raw.get(mime::parse(raw).header).unwrap_or_default()
}

/// A header value with its encoded words resolved, in lower case.
fn decoded(value: &[u8]) -> String {
    // The decoder wants a line end behind the value.
    let line = [value.trim_ascii_end(), b"\r\n"].concat();
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => text.to_lowercase(),
        _ => String::new(),
    }
}

fn in_body(raw: &[u8], text: &str) -> bool {
    in_part(raw, &mime::parse(raw), text)
}

fn in_part(raw: &[u8], part: &Part, text: &str) -> bool {
    match &part.content {
        Content::Multipart(parts) => parts.iter().any(|part| in_part(raw, part, text)),
        Content::Message(inner) => {
            let header = raw.get(inner.header.clone()).unwrap_or_default();
            mime::fields(header).any(|field| decoded(field.raw).contains(text))
                || in_part(raw, inner, text)
        }
        Content::Leaf if part.media.kind == "text" => decoded_text(raw, part).contains(text),
        Content::Leaf => false,
    }
}

/// The text of a part without its transfer encoding and charset, in lower case.
fn decoded_text(raw: &[u8], part: &Part) -> String {
    let header = raw.get(part.header.clone()).unwrap_or_default();
    let body = raw.get(part.body.clone()).unwrap_or_default();
    let encoding = mime::field_value(header, "Content-Transfer-Encoding").unwrap_or_default();
    let octets = if encoding.eq_ignore_ascii_case(b"base64") {
        base64_decode(body)
    } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
        quoted_printable_decode(body)
    } else {
        None
    };
    let octets = octets.as_deref().unwrap_or(body);
    match part.media.param("charset").and_then(charset_decoder) {
        Some(decode) => decode(octets).to_lowercase(),
        None => String::from_utf8_lossy(octets).to_lowercase(),
    }
}

/// The day in the `Date` field as its writer saw it, RFC 3501: time and time zone do not count.
fn sent(raw: &[u8]) -> Option<Date> {
    let value = mime::field_value(header_of(raw), "Date")?;
    let date = DateTime::parse_rfc822(std::str::from_utf8(&value).ok()?)?;
    let month = Month::try_from(date.month).ok()?;
    Date::from_calendar_date(i32::from(date.year), month, date.day).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoded_words_and_bodies_are_searched_decoded() {
        let raw = "Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nRW50d/xyZmU=\r\n";
        assert!(in_header(raw.as_bytes(), b"subject", "gr\u{fc}\u{df}e"));
        assert!(!in_header(raw.as_bytes(), b"from", ""));
        assert!(in_body(raw.as_bytes(), "entw\u{fc}rfe"));
        assert!(!in_body(raw.as_bytes(), "rw50"));
        assert!(in_any_header(raw.as_bytes(), "subject: gr"));
    }

    #[test]
    fn the_day_sent_is_the_writers() {
        let raw = b"Date: Tue, 1 Jul 2003 23:52:37 -1000\r\n\r\n";
        assert_eq!(
            sent(raw),
            Date::from_calendar_date(2003, Month::July, 1).ok()
        );
        assert_eq!(sent(b"Date: yesterday\r\n\r\n"), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_a_search_panic(
            value in "(=\\?(utf-8|x|)\\?[qbx]?\\?[=A-Z0-9 _]{0,6}(\\?=)?| |\r\n |[0-9:+,]|Mon|Jan|.){0,9}",
            encoding in "(base64|quoted-printable|x)",
        ) {
            let raw = format!("Date: {value}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{value}");
            let _ = in_any_header(raw.as_bytes(), "x");
            let _ = in_body(raw.as_bytes(), "x");
            let _ = sent(raw.as_bytes());
        }
    }
}

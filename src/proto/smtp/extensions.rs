//! Which EHLO keywords the client is shown and which MAIL and RCPT parameters go upstream: PROTOCOL table B.4.
//!
//! Before login the upstream is unknown, so [`before_login`] promises only what every submission server has, or what
//! can be answered honestly when it has not: a `SIZE=` is dropped (nothing is lost), `BODY=8BITMIME` gets 5.6.3. DSN and
//! SMTPUTF8 are not promised: a notification asked for and not kept cannot be taken back. After login the client
//! sees what the upstream really named, through an allow-list, since a keyword we do not know may change the stream.
//!
//! A size is checked where the client names it, at MAIL. The octets of a message are counted only where nobody logs in
//! (`watch/device.rs`): elsewhere the upstream counts them, and its 552 passes.

use std::sync::Arc;

use super::envelope::{Envelope, Parameter};
use crate::profile::{Profile, Quirk};
use crate::proto::dialogue::{ClientTls, LoginSettings};
use crate::proto::offer::Offer;
use crate::proto::text::ascii;
use crate::protocol::Protocol;

/// The keyword lines of the EHLO reply before login. `SIZE` stands without a number here; [`with_size`] fills ours in.
pub fn before_login(offer: &Offer, tls: ClientTls, promised: &[String]) -> Vec<String> {
    let mut lines = offer.profile.smtp.before_login.clone();
    for line in offer.promised(Protocol::Smtp, promised, &SHOWN) {
        let known = lines
            .iter()
            .any(|it| keyword(it).eq_ignore_ascii_case(keyword(&line)));
        if !known {
            lines.push(ascii(&line));
        }
    }
    let mechanisms = offer.mechanisms(Protocol::Smtp, tls).join(" ");
    lines.push(format!("AUTH {mechanisms}"));
    if offer.profile.has(Quirk::AuthEquals) {
        // quirk: Outlook Express 4 and the Exchange 5.0 client see only this form (Postfix: broken_sasl_auth_clients).
        lines.push(format!("AUTH={mechanisms}"));
    }
    if tls == ClientTls::Offered {
        lines.push("STARTTLS".to_owned());
    }
    lines
}

/// The lines with our limit in SIZE, if we have one.
pub fn with_size(lines: &[String], max_message_size: u64) -> Vec<String> {
    let sized = lines.iter().map(|line| match line.as_str() {
        "SIZE" => size_line(max_message_size),
        other => other.to_owned(),
    });
    sized.collect()
}

/// What the upstream can do, and we with it.
#[derive(Debug)]
pub struct Extensions {
    /// The upstream's keyword lines.
    upstream: Vec<String>,
    /// The largest message either of us takes; 0 is no limit.
    max_message_size: u64,
    client_tls: ClientTls,
    /// Which of it this client sees.
    profile: Arc<Profile>,
}

impl Extensions {
    /// From the upstream's EHLO reply; none named are none there.
    pub fn new(
        settings: &LoginSettings,
        profile: Arc<Profile>,
        upstream: Option<&[String]>,
    ) -> Self {
        let mut extensions = Self {
            upstream: upstream.unwrap_or_default().to_vec(),
            max_message_size: settings.max_message_size,
            client_tls: settings.tls,
            profile,
        };
        // RFC 1870 section 4: no number, or 0, is no fixed limit.
        let theirs = extensions
            .line("SIZE")
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        extensions.max_message_size = [settings.max_message_size, theirs.unwrap_or(0)]
            .into_iter()
            .filter(|&size| size != 0)
            .min()
            .unwrap_or(0);
        extensions
    }

    /// The largest message either of us takes; 0 is no limit.
    pub fn max_message_size(&self) -> u64 {
        self.max_message_size
    }

    /// Whether the upstream takes commands before it has answered the last one.
    pub fn pipelining(&self) -> bool {
        self.has("PIPELINING")
    }

    /// The keyword lines of the EHLO reply after login.
    ///
    /// PIPELINING is ours: where the upstream lacks it, commands go one by one. AUTH is over, so it is not offered.
    pub fn after_login(&self) -> Vec<String> {
        let mut lines = vec!["PIPELINING".to_owned(), size_line(self.max_message_size)];
        lines.retain(|line| self.profile.smtp.admits(line.as_bytes()));
        let shown = self.upstream.iter().filter(|line| self.is_shown(line));
        lines.extend(shown.map(|line| ascii(line)));
        lines
    }

    /// What of a MAIL command goes upstream; an error is the reply to it.
    pub fn mail<'a>(&self, mut envelope: Envelope<'a>) -> Result<Envelope<'a>, &'static str> {
        let mut kept = Vec::with_capacity(envelope.parameters.len());
        for parameter in envelope.parameters {
            if self.mail_parameter(parameter)? {
                kept.push(parameter);
            }
        }
        envelope.parameters = kept;
        Ok(envelope)
    }

    /// What of a RCPT command goes upstream; an error is the reply to it.
    pub fn rcpt<'a>(&self, envelope: Envelope<'a>) -> Result<Envelope<'a>, &'static str> {
        for parameter in &envelope.parameters {
            self.known_upstream(parameter)?;
        }
        Ok(envelope)
    }

    /// Whether this parameter is passed on.
    fn mail_parameter(&self, parameter: Parameter<'_>) -> Result<bool, &'static str> {
        let value = parameter.value.unwrap_or_default();
        // RFC 4954 section 5: who submitted it is our login's business, and the upstream knows its own user.
        if parameter.is("AUTH") {
            return Ok(false);
        }
        if parameter.is("SIZE") {
            self.check_size(value)?;
            return Ok(self.has("SIZE"));
        }
        if parameter.is("BODY") {
            return if value.eq_ignore_ascii_case(b"7BIT") {
                Ok(self.has("8BITMIME"))
            } else if !value.eq_ignore_ascii_case(b"8BITMIME") {
                // BINARYMIME needs BDAT, which is not offered (RFC 3030 section 3).
                Err(UNKNOWN_PARAMETER)
            } else if self.has("8BITMIME") {
                Ok(true)
            } else {
                Err(NEEDS_CONVERSION)
            };
        }
        self.known_upstream(&parameter).map(|()| true)
    }

    /// RFC 1870 section 6.1. A number too large for us to count is over any limit.
    fn check_size(&self, value: &[u8]) -> Result<(), &'static str> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(BAD_SIZE);
        }
        let size = String::from_utf8_lossy(value).parse().unwrap_or(u64::MAX);
        if self.max_message_size != 0 && size > self.max_message_size {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    /// Refuses the parameter of an extension that the upstream did not name. One that we do not know is for the upstream
    /// to refuse.
    fn known_upstream(&self, parameter: &Parameter<'_>) -> Result<(), &'static str> {
        let extension = PARAMETERS.iter().find(|(keyword, _)| parameter.is(keyword));
        match extension {
            Some((_, extension)) if !self.has(extension) => Err(UNKNOWN_PARAMETER),
            _ => Ok(()),
        }
    }

    fn is_shown(&self, line: &str) -> bool {
        let keyword = keyword(line);
        self.profile.smtp.admits(line.as_bytes()) && self.may_pass(keyword)
    }

    fn may_pass(&self, keyword: &str) -> bool {
        SHOWN.iter().any(|shown| keyword.eq_ignore_ascii_case(shown))
            // RFC 8689 section 2: every hop is encrypted, and we are one.
            || (self.client_tls == ClientTls::Active && keyword.eq_ignore_ascii_case("REQUIRETLS"))
    }

    fn has(&self, keyword: &str) -> bool {
        self.line(keyword).is_some()
            && (keyword != "REQUIRETLS" || self.client_tls == ClientTls::Active)
    }

    fn line(&self, wanted: &str) -> Option<&str> {
        let mut lines = self.upstream.iter().map(String::as_str);
        lines.find(|line| keyword(line).eq_ignore_ascii_case(wanted))
    }
}

fn keyword(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(keyword, _)| keyword)
}

fn size_line(max: u64) -> String {
    match max {
        0 => "SIZE".to_owned(),
        max => format!("SIZE {max}"),
    }
}

/// What is shown after login if the upstream has it. SIZE and PIPELINING have rules of their own.
const SHOWN: [&str; 10] = [
    "8BITMIME",
    "DSN",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "DELIVERBY",
    "FUTURERELEASE",
    "LIMITS",
    "MT-PRIORITY",
    "NO-SOLICITING",
    "RRVS",
];

/// Parameter → the extension it belongs to.
const PARAMETERS: [(&str, &str); 12] = [
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("NOTIFY", "DSN"),
    ("ORCPT", "DSN"),
    ("SMTPUTF8", "SMTPUTF8"),
    ("BY", "DELIVERBY"),
    ("HOLDFOR", "FUTURERELEASE"),
    ("HOLDUNTIL", "FUTURERELEASE"),
    ("MT-PRIORITY", "MT-PRIORITY"),
    ("SOLICIT", "NO-SOLICITING"),
    ("RRVS", "RRVS"),
    ("REQUIRETLS", "REQUIRETLS"),
];

const UNKNOWN_PARAMETER: &str = "555 5.5.4 Parameter not offered\r\n";
const NEEDS_CONVERSION: &str = "554 5.6.3 The provider takes 7-bit messages only\r\n";
const TOO_LARGE: &str = "552 5.3.4 Message larger than the limit\r\n";
const BAD_SIZE: &str = "501 5.5.4 SIZE needs a number\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::codec::{Command, command};

    fn extensions(max_message_size: u64, tls: ClientTls, upstream: &[&str]) -> Extensions {
        let settings = LoginSettings {
            max_message_size,
            ..LoginSettings::usual(Protocol::Smtp, "h", tls)
        };
        let upstream: Vec<String> = upstream.iter().map(|&line| line.to_owned()).collect();
        Extensions::new(&settings, Arc::default(), Some(&upstream))
    }

    fn mail(extensions: &Extensions, parameters: &str) -> Result<String, &'static str> {
        let line = format!("MAIL FROM:<a>{parameters}");
        let Ok(Command::Mail(envelope)) = command(line.as_bytes()) else {
            panic!("{line}");
        };
        let said = extensions.mail(envelope)?.encode("");
        Ok(String::from_utf8_lossy(&said[3..said.len() - 2]).into_owned())
    }

    #[test]
    fn the_smaller_size_limit_is_shown_and_zero_is_none() {
        let shown = |ours, theirs: &str| {
            extensions(ours, ClientTls::Off, &[theirs]).after_login()[1].clone()
        };
        assert_eq!(shown(10, "SIZE 20"), "SIZE 10");
        assert_eq!(shown(30, "size 20"), "SIZE 20");
        assert_eq!(shown(0, "SIZE 20"), "SIZE 20");
        assert_eq!(shown(10, "SIZE 0"), "SIZE 10");
        assert_eq!(shown(0, "SIZE"), "SIZE");
        assert_eq!(shown(0, "X"), "SIZE");
    }

    #[test]
    fn what_would_change_the_stream_or_the_identity_is_hidden() {
        let theirs = [
            "PIPELINING",
            "8BITMIME",
            "AUTH PLAIN",
            "AUTH=PLAIN",
            "STARTTLS",
            "CHUNKING",
            "BINARYMIME",
            "VRFY",
            "ETRN",
            "XCLIENT NAME ADDR",
            "XFORWARD",
            "BURL",
            "REQUIRETLS",
            "X-EXPS GSSAPI",
            "HELP",
            "dsn",
        ];
        let shown = |tls| extensions(0, tls, &theirs).after_login();
        assert_eq!(
            shown(ClientTls::Off),
            ["PIPELINING", "SIZE", "8BITMIME", "dsn"]
        );
        assert!(shown(ClientTls::Active).contains(&"REQUIRETLS".to_owned()));
    }

    #[test]
    fn a_parameter_goes_upstream_only_where_it_is_understood() {
        let rich = extensions(100, ClientTls::Off, &["SIZE", "8BITMIME", "DSN"]);
        assert_eq!(
            mail(&rich, " SIZE=100 BODY=8BITMIME AUTH=<> RET=HDRS"),
            Ok(" SIZE=100 BODY=8BITMIME RET=HDRS".into())
        );
        assert_eq!(mail(&rich, " SIZE=101"), Err(TOO_LARGE));
        assert_eq!(mail(&rich, " SIZE=99999999999999999999999"), Err(TOO_LARGE));
        assert_eq!(mail(&rich, " SIZE=-1"), Err(BAD_SIZE));
        assert_eq!(mail(&rich, " SMTPUTF8"), Err(UNKNOWN_PARAMETER));
        assert_eq!(mail(&rich, " BODY=BINARYMIME"), Err(UNKNOWN_PARAMETER));
        assert_eq!(mail(&rich, " X-UNKNOWN=1"), Ok(" X-UNKNOWN=1".into()));
        let poor = extensions(0, ClientTls::Off, &[]);
        assert_eq!(mail(&poor, " SIZE=5 BODY=7BIT"), Ok(String::new()));
        assert_eq!(mail(&poor, " BODY=8BITMIME"), Err(NEEDS_CONVERSION));
        assert_eq!(mail(&poor, " ENVID=1"), Err(UNKNOWN_PARAMETER));
        assert_eq!(mail(&poor, " REQUIRETLS"), Err(UNKNOWN_PARAMETER));
    }
}

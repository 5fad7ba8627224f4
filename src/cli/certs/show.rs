//! `certs show`, and what `check` tells about certificates.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::now;
use crate::causes::with_causes;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::print_json;
use crate::config::runtime::{CertificateSource, Config, Listener, ListenerTls};
use crate::net::certificates::{CertificateError, Facts, Folder, Shown, describe};

/// Shows what there is; makes nothing.
pub(super) fn show(context: &Context, json: bool) -> Result<Exit, CliError> {
    let loaded = context.load()?;
    let folder = Folder::of(&loaded.config);
    let authority = folder.look_at_authority()?;
    let leaf = folder.look_at_leaf()?;
    let listeners = presented(&loaded.config);
    let mut out = context.out();
    if json {
        let document = json!({
            "ca": authority.as_ref().map(shown_document),
            "certificate": leaf.as_ref().map(shown_document),
            "listeners": listeners.iter().map(Presented::document).collect::<Vec<_>>(),
        });
        print_json(&mut out, &document)?;
        return Ok(Exit::Ok);
    }
    match &authority {
        Some(authority) => section(&mut out, "CA", authority)?,
        None => writeln!(
            out,
            "There is no CA yet. It is made when a listener with tls = \"implicit\" or \"starttls\" and no certificate \
             files starts, or by: mailsluice certs export"
        )?,
    }
    if let Some(leaf) = &leaf {
        section(&mut out, "Certificate", leaf)?;
    }
    if listeners.is_empty() {
        writeln!(out, "No listener has TLS.")?;
    }
    for listener in &listeners {
        writeln!(out, "{listener}")?;
    }
    Ok(Exit::Ok)
}

fn section(out: &mut impl Write, title: &str, shown: &Shown) -> io::Result<()> {
    let facts = &shown.facts;
    writeln!(out, "{title}: {}", facts.subject)?;
    if !facts.names.is_empty() {
        writeln!(out, "  names       {}", names(facts))?;
        writeln!(out, "  issuer      {}", facts.issuer)?;
    }
    writeln!(
        out,
        "  valid       {} to {}",
        facts.not_before.date(),
        facts.not_after.date()
    )?;
    writeln!(out, "  SHA-256     {}", fingerprint(&facts.sha256))?;
    writeln!(out, "  public key  {}", pin(&facts.spki_sha256))?;
    writeln!(out, "  file        {}", shown.path.display())
}

fn shown_document(shown: &Shown) -> Value {
    let mut document = facts_document(&shown.facts);
    if let Some(map) = document.as_object_mut() {
        map.insert("file".to_owned(), json!(shown.path));
    }
    document
}

fn facts_document(facts: &Facts) -> Value {
    json!({
        "subject": facts.subject,
        "issuer": facts.issuer,
        "names": facts.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_before": stamp(facts.not_before),
        "not_after": stamp(facts.not_after),
        "sha256": fingerprint(&facts.sha256),
        "public_key": pin(&facts.spki_sha256),
    })
}

/// A listener with TLS and what it presents.
pub(crate) struct Presented<'a> {
    listener: &'a Listener,
    source: &'a CertificateSource,
    /// `None` where it is made when the service starts.
    facts: Result<Option<Facts>, CertificateError>,
}

/// What each listener with TLS presents, or would. Makes nothing.
pub(crate) fn presented<'a>(config: &'a Config) -> Vec<Presented<'a>> {
    let folder = Folder::of(config);
    let facts = |source: &CertificateSource| match source {
        CertificateSource::Generated => Ok(folder.look_at_leaf()?.map(|leaf| leaf.facts)),
        CertificateSource::Own(files) => describe(files).map(Some),
    };
    let with_tls = |listener: &'a Listener| {
        let source = listener.tls.certificate()?;
        Some(Presented {
            listener,
            source,
            facts: facts(source),
        })
    };
    config.listeners.iter().filter_map(with_tls).collect()
}

impl Presented<'_> {
    /// What is wrong with it, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.facts {
            Err(error) => Some(with_causes(error)),
            // Ours is renewed when the service starts.
            Ok(Some(facts)) if *self.source != CertificateSource::Generated => (facts.not_after
                < now())
            .then(|| format!("{} has expired on {}", self.place(), facts.not_after.date())),
            Ok(_) => None,
        }
    }

    pub(crate) fn document(&self) -> Value {
        let facts = self.facts.as_ref().ok().and_then(Option::as_ref);
        json!({
            "protocol": self.listener.protocol.name(),
            "address": self.listener.address.to_string(),
            "tls": self.tls(),
            "generated": *self.source == CertificateSource::Generated,
            "file": match self.source {
                CertificateSource::Generated => None,
                CertificateSource::Own(files) => Some(&files.certificate),
            },
            "certificate": facts.map(facts_document),
            "error": self.fault(),
        })
    }

    fn tls(&self) -> &'static str {
        match self.listener.tls {
            ListenerTls::Off => "off",
            ListenerTls::StartTls(_) => "starttls",
            ListenerTls::Implicit(_) => "implicit",
        }
    }

    fn place(&self) -> String {
        match self.source {
            CertificateSource::Generated => "our own certificate".to_owned(),
            CertificateSource::Own(files) => files.certificate.display().to_string(),
        }
    }
}

impl std::fmt::Display for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (protocol, address) = (self.listener.protocol, &self.listener.address);
        write!(f, "{protocol} {address} ({}): ", self.tls())?;
        match (self.fault(), &self.facts) {
            (Some(fault), _) => f.write_str(&fault),
            (None, Ok(Some(facts))) => write!(
                f,
                "{} for {}, until {}",
                self.place(),
                names(facts),
                facts.not_after.date()
            ),
            (None, _) => f.write_str("our own certificate, which is made when the service starts"),
        }
    }
}

fn names(facts: &Facts) -> String {
    let names: Vec<_> = facts.names.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        return format!("no name but {}", facts.subject);
    }
    names.join(", ")
}

/// As programs show it, to be compared by eye.
fn fingerprint(sha256: &[u8; 32]) -> String {
    let octets: Vec<_> = sha256.iter().map(|octet| format!("{octet:02X}")).collect();
    octets.join(":")
}

/// As programs pin it, and `public_key` in our own configuration.
fn pin(sha256: &[u8; 32]) -> String {
    format!("sha256/{}", STANDARD.encode(sha256))
}

/// RFC 3339.
fn stamp(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

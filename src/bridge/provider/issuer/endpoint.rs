//! The issuer over HTTP: one request a connection, routed to what [`Issuer`] answers.

use tokio_util::sync::CancellationToken;

use super::{Fields, Issuer};
use crate::bridge::wire::{Patience, Stream, Wire, WireError};
use crate::proto::http::{Answer, HEAD_MAX, Request};
use tokio::time::{Duration, Instant};

/// Answers one request.
pub(in crate::bridge::provider) async fn serve<S: Stream>(
    stream: S,
    issuer: &Issuer,
    stop: CancellationToken,
) -> Result<(), WireError> {
    let patience = Patience::Until(Instant::now() + REQUEST_TIME);
    let mut wire = Wire::new(stream, patience, stop);
    let answer = answer(&mut wire, issuer).await?;
    wire.say(answer.encode());
    wire.close().await;
    Ok(())
}

async fn answer<S: Stream>(wire: &mut Wire<S>, issuer: &Issuer) -> Result<Answer, WireError> {
    let Some(head) = wire.head(HEAD_MAX).await? else {
        return Ok(plain("431 Request Header Fields Too Large"));
    };
    let request = match Request::parse(&head) {
        Ok(request) if request.is_for_loopback() => request,
        _ => return Ok(plain("400 Bad Request")),
    };
    if request.content_length > CONTENT_MAX {
        return Ok(plain("413 Content Too Large"));
    }
    let content = wire.octets(request.content_length).await?;
    Ok(match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/authorize") => {
            issuer.authorize(&fields(request.query.as_bytes()), &request.query)
        }
        ("POST", "/token") => issuer.token(&fields(&content)),
        ("POST", "/revoke") => issuer.revoke(),
        _ => plain("404 Not Found"),
    })
}

fn fields(form: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in url::form_urlencoded::parse(form) {
        fields
            .entry(name.into_owned())
            .or_insert_with(|| value.into_owned());
    }
    fields
}

fn plain(status: &'static str) -> Answer {
    Answer::page(status, format!("{status}\n"))
}

/// From accept to the last octet of a request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// A token request holds a code, a verifier and two names.
const CONTENT_MAX: usize = 16 * 1024;

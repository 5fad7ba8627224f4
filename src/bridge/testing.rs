//! Conversations with the servers for their tests, over a stream in memory.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::Verifier;
use super::mailbox::Mailbox;
use super::memory::MemoryMailbox;
use super::provider::serve;
use crate::proto::dialogue::LoginAttempt;
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;

/// Lets `anna` in with `secret`; the upstream of `down` is down, and wants something of a person
/// for `old` and `off`.
pub(super) struct Door(pub(super) Arc<MemoryMailbox>);

impl Verifier for Door {
    fn verify<'a>(
        &'a self,
        attempt: &'a LoginAttempt,
    ) -> BoxFuture<'a, Result<Arc<dyn Mailbox>, Refusal>> {
        let refused = |cause| Err(Refusal::new(cause, "test", "no"));
        let verdict = match (
            attempt.name.as_str(),
            attempt.proof.password().map_or(&b""[..], |it| it.expose()),
        ) {
            ("anna", b"secret") => Ok(self.0.clone() as Arc<dyn Mailbox>),
            ("down", _) => refused(Cause::Unavailable),
            ("old", _) => refused(Cause::PasswordExpired),
            ("off", _) => refused(Cause::ContactAdmin),
            _ => refused(Cause::WrongPassword),
        };
        ready(verdict).boxed()
    }
}

/// Everything the server says to `input` sent at once, until it closes. The client sends nothing more.
pub(super) async fn converse(
    protocol: Protocol,
    mailbox: &Arc<MemoryMailbox>,
    input: impl AsRef<[u8]>,
) -> String {
    let (mut client, server) = tokio::io::duplex(1024 * 1024);
    let door = Door(mailbox.clone());
    client.write_all(input.as_ref()).await.unwrap();
    client.shutdown().await.unwrap();
    // How it ended shows in what was said.
    let _ = serve(protocol, server, &door, CancellationToken::new()).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

//! mailsluice: old mail programs at today's providers.
//!
//! A local listener takes plain IMAP, POP3 and SMTP, checks a local password, and forwards over TLS to the provider with
//! what the provider takes: its own password, or an OAuth token. This page is the map; [`proto`] explains the dialogues,
//! [`relay`] the engine.
//!
//! # Words
//!
//! *Client*: the mail program that connects to us. *Upstream*: the provider's server that we connect to. *Leg*: one of the
//! two connections. *Account*: one mailbox. *Credential*: what the upstream takes, an app password or a token. *Grant*:
//! what a person granted once by a *sign-in*; accounts may share one. *Local password*: what the client sends us, made by
//! us. *Session*: one client connection from accept to close. *Relay*: the same protocol on both legs; *bridge*:
//! different ones.
//!
//! # Folders
//!
//! | folder | its one sentence |
//! |---|---|
//! | [`config`] | what was asked: file mirror, checked runtime types, provider presets |
//! | [`net`] | bytes in and out: listen, dial, TLS |
//! | [`proto`] | what bytes mean: sans-IO framing, parsers, dialogues; no tokio, no clock, no logging |
//! | [`auth`] | who may, and with which credential |
//! | [`relay`] | who drives whom: the one engine that runs a session |
//! | [`bridge`] | servers over a mailbox trait; the demo's provider is the first of them |
//! | [`store`] | what must survive a restart: one SQL schema, encrypted rows |
//! | [`web`] | what a person looks at: where sign-ins end, and what `status` and `sign-in` ask a running service |
//! | [`cli`] | what a person types; the only code that prints |
//!
//! [`protocol`] and [`secret`] are leaves that every folder may use. Imports run one way: `proto` and `config` know
//! nobody but those leaves; `net`, `auth` and `store` use them and each other only through their front doors; `relay`
//! and `bridge` stand on these; `web` and `cli` stand on top. `tests/boundaries.rs` holds this.
//!
//! # The life of a session
//!
//! 1. [`net`] accepts and `relay::service` spawns; the accept loop does nothing else.
//! 2. A [`proto::dialogue::Login`] greets the client and speaks for itself until it has a login attempt. Everything
//!    before authentication is synthesised, never filtered from an upstream: the upstream is not known yet, which is
//!    what lets one port serve every account and every provider.
//! 3. [`auth`] checks the local password and finds account and credential; a token is fresh already, as a rule, since
//!    [`auth::oauth::Tokens`] renews it in the background.
//! 4. `relay::connect` dials, proves the host's name by TLS, and a [`proto::dialogue::Upstream`] authenticates. A token
//!    that is refused is renewed once, and tried once more, without a word to the client.
//! 5. The client is told, with the upstream's capabilities less what may not pass.
//! 6. A [`proto::dialogue::Watch`] stands between the legs while `relay::copy` moves bytes, until either ends.
//! 7. One `info` line says account, bytes, duration, phase and cause.
//!
//! # Invariants
//!
//! - A credential is sent only over TLS that has proved the configured host name. There are no redirects, referrals or
//!   fallbacks, and verification cannot be switched off.
//! - Success is said to the client only after the upstream said it.
//! - Only a wrong local password looks like a wrong password ([`proto::refusal`]); under pass-through it is the provider's,
//!   which is the client's own.
//! - A literal or a multi-line response is never cut, padded or interpreted. Of an SMTP message nothing changes but its
//!   line ends and its stuffing ([`proto::smtp::data`]).
//! - Every buffer is bounded in every state; a leg whose peer does not read is not read either.
//! - Secrets are [`secret::Secret`] from the first byte that can be one; no log level prints one, nor mail.
//! - A rotated refresh token is in the store before the access token that came with it is used, and one grant has one
//!   token request at a time, in all processes that share the store.
//! - No dialogue does IO, reads a clock or logs. Nothing outside `cli` prints. There is no `unsafe`.
//!
//! # Decisions
//!
//! - **A rejected credential stays temporary.** When the provider refuses the stored password, the client gets
//!   `[UNAVAILABLE]`, however often it happens: its own password is right, and programs erase saved ones otherwise.
//!   After three refusals in a row we stop asking the provider for a growing time, so that it does not lock the mailbox.
//! - **Local passwords are looked up at each login**, in the store's index: tens of microseconds, and a revoked one is
//!   refused from the next login on in every process, with no cache to invalidate.
//! - **One task and one poll function move both directions** (`relay::copy`), reading into a buffer that belongs to the
//!   thread. An idle session holds no buffer at all.
//! - **A watch answers by omission where it can**: a forbidden IMAP or POP3 command goes upstream under a name no server
//!   knows, so that the refusal comes from there, in the right order, and nothing is injected into the stream.
//! - **The upstream says what is a literal.** After login a line that ends in `{n}` is held until the upstream says `+` or
//!   answers; `{n+}` is turned into `{n}` unless the upstream named LITERAL+ or LITERAL-. Guessing costs no round trip,
//!   and takes mail for commands when it is wrong.
//! - **Two dots behind a bare LF are a stuffed one, a single dot is content.** A client that stuffs there loses nothing; one
//!   that does not loses a dot only where two begin a line, as at any server. Only `CRLF . CRLF` ends a message.
//! - **An upstream that repeats the credential is not quoted**, in no log and to no client.
//! - **The callback listener reads HTTP by hand** ([`proto::http`]), as does the demo's authorization server. It answers
//!   one GET a connection with one page; a framework would add a router, a service stack and timeouts to configure, and
//!   still leave the limits on head and `Host` to us.
//! - **One desk for sign-ins** ([`web::Desk`]): the control socket leads to it while the service runs, and the command is
//!   its own desk where none does. A waiting command holds its connection, so what it began ends with it.
//! - **A lease dies with its process.** Who asks an issuer keeps others from it by a row of the store, which ends by time;
//!   on this machine it ends with the process that holds it, since a file beside the store is locked for just as long.
//! - **The callback listener opens with the service** and its port being taken ends the start, as with any listener: whoever
//!   sits on it would be sent authorization codes. After a reload mail goes on without it.

pub mod auth;
pub mod bridge;
pub mod cli;
pub mod config;
pub mod net;
pub mod proto;
pub mod protocol;
pub mod relay;
pub mod secret;
pub mod store;
pub mod web;

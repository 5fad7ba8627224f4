//! mailsluice: old mail programs at today's providers.
//!
//! A local listener takes plain IMAP, POP3 and SMTP, checks a local password, and forwards over TLS to the provider with
//! what the provider takes: its own password, or an OAuth token. This page is the map; [`proto`] explains the dialogues,
//! [`relay`] the engine.
//!
//! # Words
//!
//! *Client*: the mail program that connects to us. *Upstream*: the provider's server that we connect to. *Leg*: one of the
//! two connections. *Account*: one mailbox. *Profile*: how a kind of client is served. *Credential*: what the upstream
//! takes, an app password or a token. *Grant*: what a person granted once by a *sign-in*; accounts may share one. *Local
//! password*: what the client sends us, made by us. *Session*: one client connection from accept to close. *Relay*: the
//! same protocol on both legs; *bridge*: different ones.
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
//! [`address`], [`causes`], [`peer`], [`profile`], [`protocol`] and [`secret`] are leaves that every folder may use,
//! [`disk`] one for those that keep something on the disk. Imports run one way: `proto` and `config` know nobody but those
//! leaves; `net`, `auth` and `store` use them and each other only through their front doors; `relay` and `bridge` stand on
//! these; `web` and `cli` stand on top. `tests/boundaries.rs` holds this.
//!
//! # The life of a session
//!
//! 1. [`net`] accepts and `relay::gate` spawns on the thread that has the fewest sessions; the accept loop does nothing
//!    else. Where a listener asks whose program connects, or for whom, a task of its own asks before.
//! 2. A [`proto::dialogue::Login`] greets the client, by the listener's [`profile`], and speaks for itself until it has a
//!    login attempt. Everything before authentication is synthesised, never filtered from an upstream: the upstream is not
//!    known yet, which is what lets one port serve every account and every provider.
//! 3. [`auth`] checks the local password and finds account and credential; a token is fresh already, as a rule, since
//!    [`auth::oauth::Tokens`] renews it in the background.
//! 4. `relay::warm` may have a session of the same account, server and credential that another client has left. Else
//!    `relay::connect` dials, proves the host's name by TLS, and a [`proto::dialogue::Upstream`] authenticates, without
//!    asking what is known from an earlier login (`relay::abilities`). A token that is refused is renewed once, and tried
//!    once more, without a word to the client.
//! 5. The client is told, with the upstream's capabilities less what may not pass.
//! 6. A [`proto::dialogue::Watch`] stands between the legs while `relay::copy` moves bytes, until either ends.
//! 7. One `info` line says account, bytes, duration, phase and cause.
//! 8. An IMAP client that logged out, or an SMTP client that quit, and left nothing behind, leaves its upstream: a
//!    [`proto::dialogue::Reset`] makes it fit for the account's next login, and it waits for that a little while.
//!
//! # Invariants
//!
//! - A credential is sent only over TLS that has proved the configured host name. There are no redirects, referrals or
//!   fallbacks, and verification cannot be switched off.
//! - Success is said to the client only after the upstream said it, to this login or to the one whose session it takes over.
//! - No client sees anything of another: a session that waits serves the same account, server and credential, and only if
//!   all that was said in it is known to leave nothing behind.
//! - Only a wrong local password looks like a wrong password ([`proto::refusal`]); under pass-through it is the provider's,
//!   which is the client's own.
//! - A literal or a multi-line response is never cut, padded or interpreted. Of an SMTP message nothing changes but its
//!   line ends and its stuffing ([`proto::smtp::data`]), and where nobody logs in its header ([`proto::smtp::header`]).
//! - Where nobody logs in, the listener's account is the only one there is and its address the only sender, whatever a client
//!   says; who may connect is written in the configuration.
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
//! - **Local passwords are remembered until anybody commits anything** to the store: each login compares the header of
//!   SQLite's WAL index, one read of 48 octets, so that one revoked by any process is refused from the next login on. A
//!   `PRAGMA data_version` would tell the same for two hand-overs between threads, a counter of our own only what our own
//!   programs do.
//! - **An upstream session may wait for the next login**, by default: scripts and web mailers log in for each message.
//!   What may have been said in it is a list of what is allowed, so that an extension nobody has heard of is never shared;
//!   anything it says while it waits ends it; it serves for ten minutes at most, so that what a provider revokes ends. Two
//!   an account and 30 seconds stay far below any provider's limit. Under pass-through only the provider can tell whether
//!   the next password is right, so there it never does.
//! - **LOGOUT and QUIT are answered here where the session is kept**: the upstream must not hear of them. Where it is not,
//!   they go on as they came.
//! - **What an upstream can do is assumed, not believed**: it spares a round trip where it names nothing by itself. A
//!   refusal on that ground leads to the question, and to a second try only if the answer changes how the login is said,
//!   so that no wrong password is tried twice.
//! - **The upstream is not dialled before a login**: a client on the same machine logs in within a millisecond of being
//!   accepted, so that little would be gained, and every probe of a port would become a connection at a provider.
//! - **Before a login only that is promised which every upstream behind the listener named to everybody** so far, and
//!   only what is used after it (IDLE, UIDPLUS, DSN): some clients ask then and never again, so the list may say too little
//!   and never too much. It is computed when something changes, not for each session ([`proto::offer`]).
//! - **A profile is data** ([`profile`]), one table that configuration builds on, chosen by listener, account or local
//!   password and never guessed: what a program says about itself is no reason to serve it otherwise (RFC 2971).
//! - **PLAIN is not named on a plain IMAP or POP3 leg**, LOGIN is: c-client calls the one a security problem, which PHP
//!   programs die of, and is silent about the other. Who says PLAIN all the same is understood.
//! - **Passwords that can be recovered are asked for by name** (`password add --recoverable`). CRAM-MD5, SCRAM-SHA-256 and
//!   APOP are offered where everybody who may log in at a listener has one: a client prefers them where it sees them, and
//!   one without would be told that its password is wrong. SCRAM's salt follows from the name under a key of the store, so
//!   that names nobody has are asked alike, and nothing is looked up before a proof.
//! - **An IDLE lives as long as its client** (`proto/imap/watch/idle.rs`): renewed upstream after the provider's limit,
//!   under a tag of ours, and in the profile outlook with a word to the client every two minutes. Nobody is logged out for
//!   being silent there; TCP's keepalive finds who has gone.
//! - **One task and one poll function move both directions** (`relay::copy`), reading into a buffer that belongs to the
//!   thread. An idle session holds no buffer at all.
//! - **Sessions stay on a thread** ([`relay::Workers`]), one a core. A runtime that shares its tasks has one thread wait for
//!   the sockets of all, and wakes it for nothing while another is busy with them: that was a third of the CPU of a bulk
//!   transfer. What is shared (store, tokens, control socket) runs apart, so no session waits behind it.
//! - **TLS goes through rustls' unbuffered API** ([`net::TlsStream`]), into and out of buffers of the thread: tokio-rustls,
//!   which the demo's provider uses, reads 4 KiB at a time and keeps buffers for every idle session.
//! - **An upstream that cannot be written to is still read**: it may have said why before it closed, as one does that refuses
//!   a message while it is being sent. A client that is cut off meanwhile is waited for, five seconds at most, since a reset
//!   can destroy what it has not read yet.
//! - **A watch answers by omission where it can**: a forbidden IMAP or POP3 command goes upstream under a name no server
//!   knows, so that the refusal comes from there, in the right order, and nothing is injected into the stream.
//! - **The upstream says what is a literal.** After login a line that ends in `{n}` is held until the upstream says `+` or
//!   answers; `{n+}` is turned into `{n}` unless the upstream named LITERAL+ or LITERAL-. Guessing costs no round trip,
//!   and takes mail for commands when it is wrong.
//! - **Two dots behind a bare LF are a stuffed one, a single dot is content.** A client that stuffs there loses nothing; one
//!   that does not loses a dot only where two begin a line, as at any server. Only `CRLF . CRLF` ends a message.
//! - **A listener without logins refuses AUTH and takes MAIL** ([`proto::smtp::login`]). One that took any password would
//!   suit a few more devices, and would have every program that is pointed at it send its real one to nobody.
//! - **A signed message is rewritten like any other there.** A DKIM signature is written by whoever sends, so it must not buy
//!   another sender; one that is the account's own passes untouched, since then nothing is rewritten.
//! - **What is refused there after DATA ends the session**: the upstream has been told DATA, and only hanging up tells it
//!   that there is no message. Answering 354 by ourselves would save the session, and would have the client send what the
//!   upstream's refusal of DATA then throws away.
//! - **An upstream that repeats the credential is not quoted**, in no log and to no client.
//! - **Our own CA is bound to names** ([`net::certificates`]): whoever trusts it, and whoever steals its key, gets local
//!   names and no others. It is made once; what may be trusted already is never replaced unasked. Its certificates live
//!   for a year and are renewed by a look every five minutes, which finds the user's own files renewed as well.
//! - **Who comes by a port of this machine is asked of the system** ([`net::owner`]) and believed only while the connection
//!   is open: of one that is closed Linux says user 0. A user at a Unix socket is a peer as an address is.
//! - **A load balancer says whom it connects for, or is refused**: a listener that believed a header where there is one would
//!   believe anybody. The header is read by its own lengths, so that no octet of the client's is taken with it.
//! - **systemd's sockets are kept for as long as the process runs**: they cannot be had twice, and a listener that a reload
//!   takes away may come back.
//! - **The callback listener reads HTTP by hand** ([`proto::http`]), as does the demo's authorization server. It answers
//!   one GET a connection with one page; a framework would add a router, a service stack and timeouts to configure, and
//!   still leave the limits on head and `Host` to us.
//! - **A proxy before an upstream is part of the endpoint**: what was learned about a server through one, and a session that
//!   waits behind one, is not used past another. Its answer is peeked at and taken octet by octet, so nothing of the
//!   upstream's is ever in our hands.
//! - **One desk for sign-ins** ([`web::Desk`]): the control socket leads to it while the service runs, and the command is
//!   its own desk where none does. A waiting command holds its connection, so what it began ends with it.
//! - **A lease dies with its process.** Who asks an issuer keeps others from it by a row of the store, which ends by time;
//!   on this machine it ends with the process that holds it, since a file beside the store is locked for just as long.
//! - **The callback listener opens with the service** and its port being taken ends the start, as with any listener: whoever
//!   sits on it would be sent authorization codes. After a reload mail goes on without it.

pub mod address;
pub mod auth;
pub mod bridge;
pub mod causes;
pub mod cli;
pub mod config;
pub mod disk;
pub mod net;
pub mod peer;
pub mod profile;
pub mod proto;
pub mod protocol;
pub mod relay;
pub mod secret;
pub mod store;
pub mod web;

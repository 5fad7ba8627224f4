//! `demo --check`: lists, fetches, sends and sees the sent message arrive, telling each step.
//!
//! It does so for the account with an app password, then signs in to the one with tokens (`check/tokens.rs`) and does the
//! same there.
//!
//! What comes through the proxy is compared octet for octet with what the provider has.

mod tokens;

use std::io::Write;

use bytes::Bytes;

use super::client::{Client, ClientError};
use super::settings::Settings;
use crate::bridge::mailbox::{INBOX, Mailbox, MailboxError};
use crate::protocol::Protocol;

/// The step that failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Talking to the proxy.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: ClientError,
    },
    /// Something came, but not what was sent.
    #[error("{protocol}: message {number} is not what the provider has")]
    Differs {
        /// By which way it came.
        protocol: Protocol,
        /// Its place in the folder.
        number: usize,
    },
    /// Another number of messages.
    #[error("{protocol}: {seen} messages are listed, the provider has {kept}")]
    Count {
        /// By which way they were listed.
        protocol: Protocol,
        /// How many were listed.
        seen: usize,
        /// How many there are.
        kept: usize,
    },
    /// A folder is missing.
    #[error("IMAP does not list {0}")]
    Folder(String),
    /// Signing in.
    #[error("signing in")]
    SignIn(#[from] SignInError),
    /// The provider's mailbox.
    #[error("the provider's mailbox cannot be read")]
    Mailbox(#[from] MailboxError),
    /// Nothing can be printed.
    #[error("cannot write to standard output")]
    Print(#[from] std::io::Error),
}

pub(super) use self::tokens::{SignInError, run as run_signed_in};

/// Does it all for one account and tells each step on `out`.
pub(super) async fn run(
    settings: &Settings<'_>,
    mailbox: &dyn Mailbox,
    out: &mut impl Write,
) -> Result<(), CheckError> {
    let kept = messages(mailbox).await?;
    fetch_by_imap(settings, mailbox, &kept, out).await?;
    fetch_by_pop3(settings, &kept, out).await?;
    send_and_see(settings, mailbox, out).await
}

/// The octets of all messages of the `INBOX`, as the provider has them.
async fn messages(mailbox: &dyn Mailbox) -> Result<Vec<Bytes>, CheckError> {
    let mut all = Vec::new();
    for message in mailbox.view(INBOX).await?.messages.iter() {
        all.push(mailbox.read(INBOX, message.uid, 0..message.size).await?);
    }
    Ok(all)
}

async fn fetch_by_imap(
    settings: &Settings<'_>,
    mailbox: &dyn Mailbox,
    kept: &[Bytes],
    out: &mut impl Write,
) -> Result<(), CheckError> {
    let mut client = imap_login(settings).await?;
    let listed = client
        .imap("LIST \"\" *")
        .await
        .step("IMAP: list the folders")?;
    let folders = mailbox.folders().await?;
    for folder in &folders {
        let last_level = folder.name.rsplit('/').next().unwrap_or_default();
        // Names beyond ASCII are in modified UTF-7 here; their ASCII beginning is enough to know them.
        let ascii: String = last_level.chars().take_while(char::is_ascii).collect();
        if !listed.iter().any(|response| response.text.contains(&ascii)) {
            return Err(CheckError::Folder(folder.name.clone()));
        }
    }
    client
        .imap("SELECT INBOX")
        .await
        .step("IMAP: open the inbox")?;
    let fetched = client
        .imap("FETCH 1:* (UID BODY.PEEK[])")
        .await
        .step("IMAP: fetch the messages")?;
    let fetched: Vec<Vec<u8>> = fetched.into_iter().flat_map(|r| r.literals).collect();
    compare(Protocol::Imap, &fetched, kept)?;
    client.imap("LOGOUT").await.step("IMAP: log out")?;
    writeln!(
        out,
        "imap  {}  {} folders listed, {} messages fetched, every octet as the provider has it",
        settings.address(Protocol::Imap),
        folders.len(),
        kept.len()
    )?;
    Ok(())
}

async fn fetch_by_pop3(
    settings: &Settings<'_>,
    kept: &[Bytes],
    out: &mut impl Write,
) -> Result<(), CheckError> {
    let address = settings.address(Protocol::Pop3);
    let mut client = Client::connect(address).await.step("POP3: connect")?;
    client.pop3(None).await.step("POP3: greeting")?;
    let user = format!("USER {}", settings.user);
    client.pop3(Some(&user)).await.step("POP3: log in")?;
    let password = String::from_utf8_lossy(settings.password.expose());
    let pass = format!("PASS {password}");
    client.pop3(Some(&pass)).await.step("POP3: log in")?;
    client
        .pop3(Some("UIDL"))
        .await
        .step("POP3: list the messages")?;
    let listed = client.pop3_lines().await.step("POP3: list the messages")?;
    let count = memchr::memchr_iter(b'\n', &listed).count();
    let mut fetched = Vec::new();
    for number in 1..=count {
        let retr = format!("RETR {number}");
        client
            .pop3(Some(&retr))
            .await
            .step("POP3: fetch a message")?;
        fetched.push(client.pop3_lines().await.step("POP3: fetch a message")?);
    }
    compare(Protocol::Pop3, &fetched, kept)?;
    client.pop3(Some("QUIT")).await.step("POP3: quit")?;
    writeln!(
        out,
        "pop3  {address}  {count} messages listed and fetched, every octet as the provider has it"
    )?;
    Ok(())
}

/// Waits for new mail by IDLE while the message is sent.
async fn send_and_see(
    settings: &Settings<'_>,
    mailbox: &dyn Mailbox,
    out: &mut impl Write,
) -> Result<(), CheckError> {
    let mut inbox = imap_login(settings).await?;
    let opened = inbox.imap("SELECT INBOX").await;
    opened.step("IMAP: open the inbox")?;
    start_idle(&mut inbox).await.step("IMAP: wait for mail")?;
    send(settings).await?;
    let smtp = settings.address(Protocol::Smtp);
    writeln!(out, "smtp  {smtp}  one message sent")?;
    let fetched = see_arrival(&mut inbox).await;
    let arrived = fetched.step("IMAP: see the sent message arrive")?;
    let number = messages(mailbox).await?.len();
    if arrived.as_deref() != Some(MESSAGE.as_bytes()) {
        return Err(CheckError::Differs {
            protocol: Protocol::Smtp,
            number,
        });
    }
    inbox.imap("LOGOUT").await.step("IMAP: log out")?;
    let imap = settings.address(Protocol::Imap);
    writeln!(
        out,
        "imap  {imap}  the sent message arrived as message {number}, every octet as it was sent"
    )?;
    Ok(())
}

async fn start_idle(inbox: &mut Client) -> Result<(), ClientError> {
    inbox.send(b"w IDLE\r\n").await?;
    while !inbox.line().await?.starts_with(b"+") {}
    Ok(())
}

/// Waits for EXISTS, ends IDLE, and fetches the message that came.
async fn see_arrival(inbox: &mut Client) -> Result<Option<Vec<u8>>, ClientError> {
    let number = loop {
        let line = String::from_utf8_lossy(&inbox.line().await?).into_owned();
        let number = line
            .strip_prefix("* ")
            .and_then(|l| l.strip_suffix(" EXISTS"));
        if let Some(number) = number {
            break number.to_owned();
        }
    };
    inbox.send(b"DONE\r\n").await?;
    while !inbox.line().await?.starts_with(b"w ") {}
    let fetched = inbox.imap(&format!("FETCH {number} BODY.PEEK[]")).await?;
    Ok(fetched.into_iter().flat_map(|r| r.literals).next_back())
}

async fn send(settings: &Settings<'_>) -> Result<(), CheckError> {
    let address = settings.address(Protocol::Smtp);
    let user = settings.user;
    let mut client = Client::connect(address).await.step("SMTP: connect")?;
    client.smtp(None, "220").await.step("SMTP: greeting")?;
    let greeted = client.smtp(Some("EHLO demo.localhost"), "250").await;
    greeted.step("SMTP: greeting")?;
    let login = client.smtp_login(user, settings.password).await;
    login.step("SMTP: log in")?;
    for (command, code) in [
        (format!("MAIL FROM:<{user}>"), "250"),
        (format!("RCPT TO:<{user}>"), "250"),
        ("DATA".to_owned(), "354"),
    ] {
        let said = client.smtp(Some(&command), code).await;
        said.step("SMTP: address the message")?;
    }
    client
        .smtp_message(MESSAGE)
        .await
        .step("SMTP: send the message")?;
    client.smtp(Some("QUIT"), "221").await.step("SMTP: quit")
}

async fn imap_login(settings: &Settings<'_>) -> Result<Client, CheckError> {
    let address = settings.address(Protocol::Imap);
    let mut client = Client::connect(address).await.step("IMAP: connect")?;
    client.imap_response().await.step("IMAP: greeting")?;
    let password = String::from_utf8_lossy(settings.password.expose());
    // Generated passwords hold nothing that would have to be escaped.
    let login = format!("LOGIN \"{}\" \"{password}\"", settings.user);
    client.imap(&login).await.step("IMAP: log in")?;
    Ok(client)
}

fn compare(protocol: Protocol, fetched: &[Vec<u8>], kept: &[Bytes]) -> Result<(), CheckError> {
    if fetched.len() != kept.len() {
        return Err(CheckError::Count {
            protocol,
            seen: fetched.len(),
            kept: kept.len(),
        });
    }
    match (1..)
        .zip(fetched.iter().zip(kept))
        .find(|(_, (a, b))| a != b)
    {
        Some((number, _)) => Err(CheckError::Differs { protocol, number }),
        None => Ok(()),
    }
}

/// Names the step that an error belongs to.
trait InStep<T> {
    fn step(self, step: &'static str) -> Result<T, CheckError>;
}

impl<T> InStep<T> for Result<T, ClientError> {
    fn step(self, step: &'static str) -> Result<T, CheckError> {
        self.map_err(|source| CheckError::Step { step, source })
    }
}

/// Led by dots and beyond ASCII, as that is where relays go wrong.
const MESSAGE: &str = "From: Anna <anna@example.org>\r\nTo: Anna <anna@example.org>\r\nSubject: The demo sends its regards\r\n\
    Date: Sun, 11 Jan 2026 12:00:00 +0000\r\nMessage-ID: <check@example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Sch\u{f6}ne Gr\u{fc}\u{df}e.\r\n.\r\n..this line began with two dots\r\n";

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::bridge::mailbox::{Envelope, Flags, NewMessage};
    use crate::bridge::memory::MemoryMailbox;
    use crate::bridge::provider::{Door, serve};
    use crate::secret::Secret;

    /// Embedded servers without TLS, and how to reach them.
    async fn plain_servers(
        mailbox: &Arc<MemoryMailbox>,
        password: &Secret,
    ) -> Vec<(Protocol, SocketAddr)> {
        let mut addresses = Vec::new();
        for protocol in Protocol::ALL {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            addresses.push((protocol, listener.local_addr().unwrap()));
            let door = Arc::new(Door::new(password.clone(), mailbox.clone()));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let door = door.clone();
                    tokio::spawn(async move {
                        serve(protocol, stream, &*door, CancellationToken::new()).await
                    });
                }
            });
        }
        addresses
    }

    async fn with_messages() -> Arc<MemoryMailbox> {
        let mailbox = Arc::new(MemoryMailbox::new());
        for raw in ["A: b\r\n\r\n.\r\n..\r\nA1 OK {3}\r\n", "C: d\r\n\r\n"] {
            let envelope = Envelope {
                from: String::new(),
                to: vec!["x@y".into()],
            };
            mailbox.submit(envelope, raw.into()).await.unwrap();
        }
        mailbox
    }

    #[tokio::test]
    async fn the_check_passes_against_the_embedded_servers() {
        let mailbox = with_messages().await;
        let password = Secret::from("app-password");
        let settings = Settings {
            addresses: plain_servers(&mailbox, &password).await,
            user: "anna@example.org",
            password: &password,
        };
        let mut out = Vec::new();
        run(&settings, &*mailbox, &mut out).await.unwrap();
        let told = String::from_utf8(out).unwrap();
        assert!(
            told.contains("2 messages fetched") && told.contains("as message 3"),
            "{told}"
        );
        assert_eq!(mailbox.view(INBOX).await.unwrap().messages.len(), 3);
    }

    #[tokio::test]
    async fn a_message_that_differs_fails_the_check() {
        let (shown, kept) = (with_messages().await, with_messages().await);
        let extra = NewMessage {
            flags: Flags::default(),
            internal_date: time::OffsetDateTime::UNIX_EPOCH,
            raw: "E: f\r\n\r\n".into(),
        };
        let password = Secret::from("app-password");
        let settings = Settings {
            addresses: plain_servers(&shown, &password).await,
            user: "anna@example.org",
            password: &password,
        };
        kept.append(INBOX, extra.clone()).await.unwrap();
        let counted = run(&settings, &*kept, &mut Vec::new()).await;
        assert!(matches!(
            counted,
            Err(CheckError::Count {
                seen: 2,
                kept: 3,
                ..
            })
        ));
        shown
            .append(
                INBOX,
                NewMessage {
                    raw: "E: g\r\n\r\n".into(),
                    ..extra
                },
            )
            .await
            .unwrap();
        let compared = run(&settings, &*kept, &mut Vec::new()).await;
        assert!(matches!(
            compared,
            Err(CheckError::Differs { number: 3, .. })
        ));
    }

    #[tokio::test]
    async fn a_wrong_password_names_the_step() {
        let mailbox = with_messages().await;
        let settings = Settings {
            addresses: plain_servers(&mailbox, &Secret::from("right")).await,
            user: "anna@example.org",
            password: &Secret::from("wrong"),
        };
        let error = run(&settings, &*mailbox, &mut Vec::new())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "IMAP: log in");
    }
}

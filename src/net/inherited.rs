//! Sockets that systemd has opened for us (sd_listen_fds(3)), found by their names.

#[cfg(unix)]
use socket2::{Domain, Socket, Type};

use super::NetError;
use super::listen::Bound;

/// The sockets that this process was started with. Kept for as long as it runs, so that a listener that leaves the
/// configuration may come back.
#[derive(Debug, Default)]
pub struct Inherited {
    #[cfg(unix)]
    sockets: Vec<(String, Socket)>,
}

impl Inherited {
    /// Takes them over. Once, and before anything else is opened: the environment names descriptors by number. What is
    /// meant for another process is left alone.
    #[cfg(unix)]
    pub fn take() -> Result<Self, NetError> {
        let given = sd_listen_fds::get().map_err(|_| NetError::Activation)?;
        let mut sockets = Vec::new();
        for (name, descriptor) in given {
            let socket = Socket::from(descriptor.into_std());
            // Fails where there is no such descriptor at all.
            socket.set_cloexec(true).map_err(|_| NetError::Activation)?;
            sockets.push((name.unwrap_or_else(|| UNNAMED.to_owned()), socket));
        }
        Ok(Self { sockets })
    }

    /// Takes them over: there are none on this system.
    #[cfg(not(unix))]
    pub fn take() -> Result<Self, NetError> {
        Ok(Self::default())
    }

    /// The names of those that came, in their order.
    #[cfg(unix)]
    pub fn names(&self) -> Vec<&str> {
        self.sockets.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The names of those that came: none.
    #[cfg(not(unix))]
    pub fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The sockets called `name`, which may be several.
    #[cfg(unix)]
    pub(super) fn open(&self, name: &str) -> Result<Vec<Bound>, NetError> {
        let ours = self.sockets.iter().filter(|(given, _)| given == name);
        let opened: Result<Vec<_>, _> = ours
            .map(|(name, socket)| {
                fits(socket).map_err(|why| NetError::Unfit {
                    name: name.clone(),
                    why,
                })?;
                let ours = socket.try_clone();
                ours.and_then(|socket| Bound::new(socket, None))
                    .map_err(|source| NetError::Inherit {
                        name: name.clone(),
                        source,
                    })
            })
            .collect();
        let opened = opened?;
        if opened.is_empty() {
            return Err(self.not_given(name));
        }
        Ok(opened)
    }

    /// The sockets called `name`: none.
    #[cfg(not(unix))]
    pub(super) fn open(&self, name: &str) -> Result<Vec<Bound>, NetError> {
        Err(self.not_given(name))
    }

    fn not_given(&self, name: &str) -> NetError {
        NetError::NotGiven {
            name: name.to_owned(),
            given: self.names().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Why mail cannot be served on it, if so.
#[cfg(unix)]
fn fits(socket: &Socket) -> Result<(), &'static str> {
    let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let family = socket
        .local_addr()
        .is_ok_and(|a| a.is_ipv4() || a.is_ipv6() || a.domain() == Domain::UNIX);
    if !stream || !family {
        Err("it is no stream socket: write ListenStream= into the socket unit")
    } else if !socket.is_listener().unwrap_or(false) {
        Err("it does not listen: write Accept=no into the socket unit")
    } else {
        Ok(())
    }
}

/// What systemd calls a descriptor that nobody has named.
#[cfg(unix)]
const UNNAMED: &str = "unknown";

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::config::runtime::ListenAddress;

    fn inherited(sockets: Vec<(&str, Socket)>) -> Inherited {
        let named = sockets.into_iter().map(|(n, s)| (n.to_owned(), s));
        Inherited {
            sockets: named.collect(),
        }
    }

    #[tokio::test]
    async fn one_name_may_stand_for_sockets_of_every_kind_and_they_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap.sock");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let given = inherited(vec![
            ("imap", tcp.into()),
            (
                "pop3",
                std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
            ),
            ("imap", UnixListener::bind(&path).unwrap().into()),
        ]);
        let expected = [
            ListenAddress::Tcp(address),
            ListenAddress::Unix(path.clone()),
        ];
        for _ in 0..2 {
            let opened = given.open("imap").unwrap();
            let addresses: Vec<_> = opened.iter().map(|it| it.address().clone()).collect();
            assert_eq!(addresses, expected);
            let client = UnixStream::connect(&path).unwrap();
            let (_, peer) = opened[1].accept().await;
            assert_eq!(
                peer.to_string(),
                format!("uid {}", rustix::process::getuid().as_raw())
            );
            drop(client);
        }
        assert!(path.exists(), "systemd's files are not ours to remove");
    }

    #[tokio::test]
    async fn what_did_not_come_and_what_is_no_listener_is_said() {
        let (connected, _other) = UnixStream::pair().unwrap();
        let given = inherited(vec![
            ("datagrams", UnixDatagram::unbound().unwrap().into()),
            ("connected", connected.into()),
        ]);
        let told = |name| given.open(name).unwrap_err().to_string();
        assert_eq!(
            told("imap"),
            "systemd handed over no socket called \"imap\", but \"datagrams\" and \"connected\": write \
             FileDescriptorName=imap into the socket unit, and start mailsluice by it"
        );
        assert_eq!(
            told("datagrams"),
            "the socket \"datagrams\" that systemd handed over cannot be used: it is no stream socket: write \
             ListenStream= into the socket unit"
        );
        assert_eq!(
            told("connected"),
            "the socket \"connected\" that systemd handed over cannot be used: it does not listen: write Accept=no \
             into the socket unit"
        );
        let none = Inherited::default().open("imap").unwrap_err().to_string();
        assert_eq!(
            none,
            "systemd handed over no socket called \"imap\", and no other: write FileDescriptorName=imap into the \
             socket unit, and start mailsluice by it"
        );
    }
}

//! Whose program is at the other end of a connection within this machine, as Linux's sock_diag(7) knows it.
//!
//! Asked is for one socket, the peer's, so that it costs microseconds however many there are.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_ESTABLISHED};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::Socket;

/// The user whose program has the other end of `socket`, a TCP connection. `None` where there is no such socket on this
/// machine, or it is closed by now: of those the system knows the user no more, and says 0.
pub fn owner(socket: &Socket) -> io::Result<Option<u32>> {
    let Socket::Tcp(tcp) = socket else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    ask(tcp.peer_addr()?, tcp.local_addr()?)
}

/// The user of the connected socket at `local` whose peer is `remote`.
fn ask(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let mut netlink = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    netlink.bind_auto()?;
    netlink.connect(&netlink_sys::SocketAddr::new(KERNEL, 0))?;
    let request = request(local, remote);
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    netlink.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(ANSWER_MAX);
    netlink.recv(&mut answer, 0)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
            let open = found.header.state == TCP_ESTABLISHED;
            Ok(open.then_some(found.header.uid))
        }
        NetlinkPayload::Error(error) => match error.to_io() {
            error if error.kind() == io::ErrorKind::NotFound => Ok(None),
            error => Err(error),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn request(local: SocketAddr, remote: SocketAddr) -> NetlinkMessage<SockDiagMessage> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let asked = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local.ip(),
            destination_address: remote.ip(),
            interface_id: 0,
            cookie: ANY_COOKIE,
        },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(asked).into());
    message.finalize();
    message
}

/// The kernel's end of a netlink socket.
const KERNEL: u32 = 0;

/// INET_DIAG_NOCOOKIE, twice.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// One answer is a tenth of this.
const ANSWER_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn our_own_connection_is_ours_and_a_closed_one_is_nobodys() {
        let me = rustix::process::getuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let connect = TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(connect, listener.accept());
            let mut served = Socket::from(accepted.unwrap().0);
            assert_eq!(owner(&served).unwrap(), Some(me));
            drop(client);
            assert_eq!(served.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(owner(&served).unwrap(), None);
        }
    }

    /// As one of systemd's may be.
    #[tokio::test]
    async fn a_socket_of_both_families_tells_it_as_well() {
        use socket2::{Domain, Type};

        let both = socket2::Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        both.set_only_v6(false).unwrap();
        both.set_nonblocking(true).unwrap();
        let any: SocketAddr = "[::]:0".parse().unwrap();
        both.bind(&any.into()).unwrap();
        both.listen(1).unwrap();
        let listener = TcpListener::from_std(both.into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = TcpStream::connect(("127.0.0.1", port));
        let (_client, accepted) = tokio::join!(connect, listener.accept());
        let served = Socket::from(accepted.unwrap().0);
        let me = rustix::process::getuid().as_raw();
        assert_eq!(owner(&served).unwrap(), Some(me));
    }

    #[test]
    fn a_connection_that_is_not_there_has_no_owner() {
        let [local, remote] = ["192.0.2.1:9", "192.0.2.2:9"].map(|a| a.parse().unwrap());
        assert_eq!(ask(local, remote).unwrap(), None);
    }
}

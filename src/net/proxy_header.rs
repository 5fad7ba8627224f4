//! The PROXY protocol's header, versions 1 and 2: whom a load balancer connects for.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. What the header says more (TLVs) is skipped. It is read to
//! its last octet and not one further: what stands behind it is the client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Why a connection has no header that could be believed.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The balancer does not send one, or speaks something else.
    #[error("no PROXY header")]
    Missing,
    /// What is wrong with it.
    #[error("a broken PROXY header: {0}")]
    Broken(&'static str),
    /// The connection ended before or within it.
    #[error("lost within the PROXY header")]
    Lost(#[from] std::io::Error),
}

/// Reads the header in front of `stream`: the client's address, or `None` where the balancer speaks for itself (LOCAL) or
/// does not know (UNKNOWN). The caller sets the deadline.
pub async fn announced(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = Vec::new();
    loop {
        let more = match understand(&header)? {
            Next::Done(address) => return Ok(address),
            Next::Read(more) => more,
        };
        let from = header.len();
        header.resize(from + more, 0);
        let room = header.get_mut(from..).unwrap_or_default();
        stream.read_exact(room).await?;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// At least so many octets are still to come, and belong to the header.
    Read(usize),
    Done(Option<SocketAddr>),
}

/// What `header`, the beginning of a connection, says; or how much of it is missing for certain.
fn understand(header: &[u8]) -> Result<Next, HeaderError> {
    let Some((start, rest)) = header.split_at_checked(SIGNATURE.len()) else {
        return Ok(Next::Read(SIGNATURE.len() - header.len()));
    };
    if start == SIGNATURE {
        return version_2(rest);
    }
    if start.starts_with(b"PROXY ") {
        return version_1(header);
    }
    Err(HeaderError::Missing)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 CRLF`; section 2.1.
fn version_1(header: &[u8]) -> Result<Next, HeaderError> {
    let end = header.iter().position(|octet| b"\r\n".contains(octet));
    match end.map(|at| header.split_at(at)) {
        Some((line, b"\r\n")) => {
            let line = std::str::from_utf8(line);
            line_of_version_1(line.map_err(|_| HeaderError::Broken("it is no ASCII"))?)
        }
        Some((_, b"\r")) if header.len() < LINE_MAX => Ok(Next::Read(1)),
        Some(_) => Err(HeaderError::Broken("its line does not end with CRLF")),
        None if header.len() + 2 > LINE_MAX => Err(HeaderError::Broken("its line is too long")),
        None => Ok(Next::Read(2)),
    }
}

fn line_of_version_1(line: &str) -> Result<Next, HeaderError> {
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(Next::Done(None)),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let addresses = (from.parse::<Ipv4Addr>(), to.parse::<Ipv4Addr>());
            let (Ok(from), Ok(_)) = addresses else {
                return Err(HeaderError::Broken("no IPv4 address"));
            };
            source(from.into(), from_port, to_port)
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let addresses = (from.parse::<Ipv6Addr>(), to.parse::<Ipv6Addr>());
            let (Ok(from), Ok(_)) = addresses else {
                return Err(HeaderError::Broken("no IPv6 address"));
            };
            source(from.into(), from_port, to_port)
        }
        _ => Err(HeaderError::Broken("its line has other words")),
    }
}

fn source(ip: IpAddr, port: &str, to_port: &str) -> Result<Next, HeaderError> {
    let number = |text: &str| {
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        text.parse::<u16>().ok().filter(|_| canonical)
    };
    match (number(port), number(to_port)) {
        (Some(port), Some(_)) => Ok(Next::Done(Some(SocketAddr::new(ip, port)))),
        _ => Err(HeaderError::Broken("no port")),
    }
}

/// Behind the signature: version and command, family and transport, the length of what follows; section 2.2.
fn version_2(rest: &[u8]) -> Result<Next, HeaderError> {
    let Some(([command, family, high, low], body)) = rest.split_first_chunk::<4>() else {
        return Ok(Next::Read(4 - rest.len()));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > BODY_MAX {
        return Err(HeaderError::Broken("it is too long"));
    }
    if body.len() < length {
        return Ok(Next::Read(length - body.len()));
    }
    match (command, family) {
        (0x20, _) | (0x21, 0x00) => Ok(Next::Done(None)),
        (0x21, 0x11) => match body.first_chunk::<12>() {
            Some([a, b, c, d, _, _, _, _, high, low, ..]) => {
                let ip = Ipv4Addr::new(*a, *b, *c, *d);
                Ok(done(ip.into(), [*high, *low]))
            }
            None => Err(SHORT),
        },
        (0x21, 0x21) => match body.split_first_chunk::<16>() {
            Some((from, rest)) => match rest.first_chunk::<20>() {
                Some([.., high, low, _, _]) => {
                    Ok(done(Ipv6Addr::from(*from).into(), [*high, *low]))
                }
                None => Err(SHORT),
            },
            None => Err(SHORT),
        },
        // A Unix socket at the balancer: no address that would mean anything here.
        (0x21, 0x31) if body.len() >= UNIX_BODY => Ok(Next::Done(None)),
        (0x21, 0x31) => Err(SHORT),
        (0x21, _) => Err(HeaderError::Broken("no stream of a known family")),
        (0x22..=0x2f, _) => Err(HeaderError::Broken("an unknown command")),
        _ => Err(HeaderError::Broken("an unknown version")),
    }
}

fn done(ip: IpAddr, port: [u8; 2]) -> Next {
    Next::Done(Some(SocketAddr::new(ip, u16::from_be_bytes(port))))
}

const SHORT: HeaderError = HeaderError::Broken("it is too short for its addresses");

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included; section 2.1.
const LINE_MAX: usize = 107;

/// What version 2 may carry. Balancers add a few hundred octets of TLVs; section 2.2 asks for 536 to be taken at least.
const BODY_MAX: usize = 4096;

/// Two paths of 108 octets.
const UNIX_BODY: usize = 216;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    fn of(from: SocketAddr, to: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
        let (family, addresses) = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
            (IpAddr::V6(from), IpAddr::V6(to)) => (0x21, [from.octets(), to.octets()].concat()),
            _ => unreachable!("one family"),
        };
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        version_2(0x21, family, &[&addresses, &ports, tlvs].concat())
    }

    /// What a stream of `bytes` announces, and what is left of it.
    fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
        let mut stream = bytes;
        let announced = futures_util::FutureExt::now_or_never(announced(&mut stream));
        let announced = announced.expect("a slice is always ready");
        (announced.map_err(|e| e.to_string()), stream.to_owned())
    }

    fn announces(header: &[u8], expected: Option<SocketAddr>) {
        let stream = [header, b"A1 NOOP\r\n"].concat();
        assert_eq!(read(&stream), (Ok(expected), b"A1 NOOP\r\n".to_vec()));
    }

    fn is_broken(bytes: &[u8], why: &str) {
        let stream = [bytes, b"A1 NOOP\r\n".repeat(20).as_slice()].concat();
        assert_eq!(
            read(&stream).0,
            Err(format!("a broken PROXY header: {why}")),
            "{bytes:?}"
        );
    }

    #[test]
    fn version_1_in_every_form() {
        let four = "192.0.2.1:56324".parse().unwrap();
        announces(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 143\r\n", Some(four));
        let six = "[2001:db8::1]:65535".parse().unwrap();
        announces(b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", Some(six));
        announces(b"PROXY UNKNOWN\r\n", None);
        announces(b"PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
        assert_eq!(longest.len(), LINE_MAX);
        announces(longest.as_bytes(), None);
    }

    #[test]
    fn version_1_that_is_not_quite_right_is_broken() {
        for (line, why) in [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 143\n",
                "its line does not end with CRLF",
            ),
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 143\rX",
                "its line does not end with CRLF",
            ),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 70000 143\r\n", "no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 143\r\n", "no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 143\r\n", "no port"),
            (
                "PROXY TCP4 192.0.2.256 192.0.2.2 1 143\r\n",
                "no IPv4 address",
            ),
            ("PROXY TCP4 ::1 ::1 1 143\r\n", "no IPv4 address"),
            ("PROXY TCP6 192.0.2.1 ::1 1 143\r\n", "no IPv6 address"),
            (
                "PROXY TCP4  192.0.2.1 192.0.2.2 1 143\r\n",
                "its line has other words",
            ),
            (
                "PROXY UDP4 192.0.2.1 192.0.2.2 1 143\r\n",
                "its line has other words",
            ),
            ("PROXY TCP4 192.0.2.1\r\n", "its line has other words"),
        ] {
            is_broken(line.as_bytes(), why);
        }
        is_broken(b"PROXY TCP4 \xff\xff\xff\r\n", "it is no ASCII");
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 15));
        is_broken(long.as_bytes(), "its line is too long");
    }

    #[test]
    fn version_2_in_every_form() {
        let four: SocketAddr = "192.0.2.1:56324".parse().unwrap();
        announces(&of(four, four, b""), Some(four));
        let six: SocketAddr = "[2001:db8::1]:56324".parse().unwrap();
        announces(&of(six, six, &[0; 536]), Some(six));
        announces(&of(six, six, &[7; BODY_MAX - 36]), Some(six));
        // LOCAL, whatever it carries; an unknown family; a Unix socket.
        announces(&version_2(0x20, 0x00, b""), None);
        announces(&version_2(0x20, 0x11, &[9; 12]), None);
        announces(&version_2(0x21, 0x00, &[9; 40]), None);
        announces(&version_2(0x21, 0x31, &[0; UNIX_BODY]), None);
    }

    #[test]
    fn version_2_that_is_not_quite_right_is_broken() {
        let short = "it is too short for its addresses";
        is_broken(&version_2(0x21, 0x11, &[0; 11]), short);
        is_broken(&version_2(0x21, 0x21, &[0; 15]), short);
        is_broken(&version_2(0x21, 0x21, &[0; 35]), short);
        is_broken(&version_2(0x21, 0x31, &[0; UNIX_BODY - 1]), short);
        is_broken(
            &version_2(0x21, 0x12, &[0; 12]),
            "no stream of a known family",
        );
        is_broken(&version_2(0x22, 0x11, &[0; 12]), "an unknown command");
        is_broken(&version_2(0x11, 0x11, &[0; 12]), "an unknown version");
        is_broken(&version_2(0x21, 0x11, &[0; BODY_MAX + 1]), "it is too long");
    }

    #[test]
    fn what_is_no_header_is_told_from_one_that_is_cut() {
        for stranger in [
            "A1 LOGIN anna x\r\n",
            "EHLO client.example\r\n",
            "PROXYTCP4 x x\r\n",
        ] {
            assert_eq!(read(stranger.as_bytes()).0, Err("no PROXY header".into()));
        }
        let four: SocketAddr = "192.0.2.1:56324".parse().unwrap();
        let whole = of(four, four, b"tlv");
        for cut in 0..whole.len() {
            assert_eq!(
                read(&whole[..cut]).0,
                Err("lost within the PROXY header".into())
            );
        }
    }

    proptest! {
        /// However it is split, the header is read to its end and what is behind it is left alone.
        #[test]
        fn any_split_is_the_same(
            from: [u8; 16], port: u16, one: bool, mapped: bool,
            tlvs in prop::collection::vec(any::<u8>(), 0..600),
            behind in prop::collection::vec(any::<u8>(), 0..50),
            splits in prop::collection::vec(1_usize..40, 0..60),
        ) {
            let ip = Ipv6Addr::from(from);
            let ip = if mapped { Ipv4Addr::from_bits(ip.to_bits() as u32).to_ipv6_mapped() } else { ip };
            let from = SocketAddr::new(ip.into(), port);
            let header = if one {
                format!("PROXY TCP6 {ip} ::1 {port} 143\r\n").into_bytes()
            } else {
                of(from, "[::1]:143".parse().unwrap(), &tlvs)
            };
            let mut script = in_pieces(&[&header[..], &behind].concat(), &splits);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (announced, rest) = runtime.block_on(async {
                let announced = announced(&mut script).await.unwrap();
                let mut rest = Vec::new();
                script.read_to_end(&mut rest).await.unwrap();
                (announced, rest)
            });
            prop_assert_eq!(announced, Some(from));
            prop_assert_eq!(rest, behind);
        }

        /// Whatever comes, it ends: with an address or an error, and never far behind what a header may have.
        #[test]
        fn hostile_input_ends(
            prefix in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
            bytes in prop::collection::vec(any::<u8>(), 0..9_000),
        ) {
            let stream = [prefix, &bytes].concat();
            let (_, rest) = read(&stream);
            prop_assert!(stream.len() - rest.len() <= SIGNATURE.len() + 4 + BODY_MAX);
        }
    }

    /// A reader that gives `bytes` in pieces of these lengths.
    fn in_pieces(bytes: &[u8], splits: &[usize]) -> Pieces {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        for at in splits {
            let (piece, behind) = rest.split_at(rest.len().min(*at));
            pieces.push(piece.to_owned());
            rest = behind;
        }
        pieces.push(rest.to_owned());
        pieces.retain(|piece| !piece.is_empty());
        Pieces(pieces.into())
    }

    struct Pieces(std::collections::VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            std::task::Poll::Ready(Ok(()))
        }
    }
}

//! SOCKS5 (RFC 1928) with user name and password (RFC 1929), as far as a client that connects needs it.
//!
//! | state | we have said | waits for |
//! |---|---|---|
//! | `Method` | the methods we have | which one it takes |
//! | `Login` | user name and password | whether they are right |
//! | `Reply` | the host | whether it is connected, and the address it uses |

use std::net::IpAddr;

use super::{Opening, ProxyError, Turn};
use crate::secret::Secret;

/// One opening.
pub(super) struct Socks5 {
    state: State,
    /// The request, made before anything is said.
    request: Secret,
    login: Option<Secret>,
    /// The message that is not complete yet.
    heard: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Method,
    Login,
    Reply,
}

impl Socks5 {
    /// Fails where a name is too long to be said.
    pub(super) fn new(
        host: &str,
        port: u16,
        login: Option<(&str, &Secret)>,
    ) -> Result<Self, ProxyError> {
        Ok(Self {
            state: State::Method,
            request: request(host, port)?,
            login: match login {
                Some((user, password)) => Some(login_message(user.as_bytes(), password)?),
                None => None,
            },
            heard: Vec::new(),
        })
    }

    /// What the bytes so far come to.
    fn judge(&mut self) -> Result<Turn, ProxyError> {
        match self.state {
            State::Method => match self.heard.as_slice() {
                [VERSION] => Ok(Turn::More),
                [VERSION, method] => self.chosen(*method),
                _ => Err(GARBAGE),
            },
            // quirk: its version is 1, but some servers say 5 there (curl does not look at it, either).
            State::Login => match self.heard.as_slice() {
                [_] => Ok(Turn::More),
                [_, 0] => Ok(self.ask()),
                _ => Err(ProxyError::LoginRefused),
            },
            State::Reply => match self.heard.as_slice() {
                [VERSION] | [VERSION, 0] | [VERSION, 0, _] => Ok(Turn::More),
                // What stands behind a refusal is of no use, and some servers leave it out.
                [VERSION, code] => Err(ProxyError::Reply { code: *code }),
                [VERSION, 0, _, IPV4, bound @ ..] => Ok(open_after(bound, 4 + 2)),
                [VERSION, 0, _, IPV6, bound @ ..] => Ok(open_after(bound, 16 + 2)),
                [VERSION, 0, _, NAME] => Ok(Turn::More),
                [VERSION, 0, _, NAME, length, bound @ ..] => {
                    Ok(open_after(bound, usize::from(*length) + 2))
                }
                _ => Err(GARBAGE),
            },
        }
    }

    fn chosen(&mut self, method: u8) -> Result<Turn, ProxyError> {
        match (method, &self.login) {
            (WITHOUT_LOGIN, _) => Ok(self.ask()),
            (BY_PASSWORD, Some(login)) => {
                self.state = State::Login;
                Ok(Turn::Say(login.clone()))
            }
            (NONE_OF_THEM, None) => Err(ProxyError::LoginNeeded),
            (NONE_OF_THEM, Some(_)) => Err(ProxyError::LoginRefused),
            // One that we have not named.
            _ => Err(GARBAGE),
        }
    }

    fn ask(&mut self) -> Turn {
        self.state = State::Reply;
        Turn::Say(self.request.clone())
    }
}

impl Opening for Socks5 {
    fn begin(&mut self) -> Secret {
        let methods: &[u8] = match self.login {
            Some(_) => &[VERSION, 2, WITHOUT_LOGIN, BY_PASSWORD],
            None => &[VERSION, 1, WITHOUT_LOGIN],
        };
        Secret::new(methods.to_vec())
    }

    fn take(&mut self, bytes: &[u8]) -> (usize, Result<Turn, ProxyError>) {
        for (before, byte) in bytes.iter().enumerate() {
            self.heard.push(*byte);
            let turn = self.judge();
            if !matches!(turn, Ok(Turn::More)) {
                self.heard.clear();
                return (before + 1, turn);
            }
        }
        (bytes.len(), Ok(Turn::More))
    }
}

/// The address that the proxy uses is not looked at, only over.
fn open_after(bound: &[u8], length: usize) -> Turn {
    if bound.len() < length {
        Turn::More
    } else {
        Turn::Open
    }
}

/// RFC 1928 section 4. An address is said as one; a name as it is.
fn request(host: &str, port: u16) -> Result<Secret, ProxyError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(IPV4);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(IPV6);
            request.extend(ip.octets());
        }
        Err(_) => {
            request.extend([NAME, length(host.as_bytes())?]);
            request.extend(host.bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Ok(Secret::new(request))
}

/// RFC 1929 section 2.
fn login_message(user: &[u8], password: &Secret) -> Result<Secret, ProxyError> {
    let mut message = Secret::new(Vec::with_capacity(3 + 2 * usize::from(u8::MAX)));
    message.append(&[LOGIN_VERSION, length(user)?]);
    message.append(user);
    message.append(&[length(password.expose())?]);
    message.append(password.expose());
    Ok(message)
}

fn length(bytes: &[u8]) -> Result<u8, ProxyError> {
    u8::try_from(bytes.len()).map_err(|_| ProxyError::Unsayable)
}

/// RFC 1928 section 6.
pub(super) fn words(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "its rules do not allow this connection",
        3 => "the network is unreachable",
        4 => "the host is unreachable, or its name unknown",
        5 => "the host refuses the connection",
        6 => "the time to live has expired",
        7 => "it does not connect for clients",
        8 => "it does not know this kind of address",
        _ => "a reason that RFC 1928 does not know",
    }
}

const GARBAGE: ProxyError = ProxyError::Garbage("SOCKS5");

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;

const WITHOUT_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xFF;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

//! Who drives whom: the one engine that runs a session, whatever its protocol.
//!
//! | file | what it does |
//! |---|---|
//! | `service.rs` | binds the listeners, accepts, admits, reloads, drains |
//! | `session.rs` | one session from accept to its one log line |
//! | `login.rs` | drives the client-facing dialogue to a login |
//! | `connect.rs` | dials the upstream and drives its dialogue to "authenticated" |
//! | `copy.rs` | the two directions after login, with the watch between them |
//! | `half.rs` | one of the two legs: what is unread and what is unsent |
//! | `alerts.rs` | how often a person is told by an ALERT |
//! | `registry.rs` | the open sessions, for `status` and for the log |

mod alerts;
mod connect;
mod copy;
mod half;
mod login;
mod registry;
mod service;
mod session;

pub use self::connect::Probe;
pub use self::registry::{Registry, SessionRecord, SessionView};
pub use self::service::{Overview, Service, ServiceError};

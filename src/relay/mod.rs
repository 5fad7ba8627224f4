//! Who drives whom: the one engine that runs a session, whatever its protocol.
//!
//! | file | what it does |
//! |---|---|
//! | `service.rs` | binds the listeners, accepts, reloads, drains |
//! | `gate.rs` | who may come in, and where there is room for them |
//! | `workers.rs` | the threads that sessions run on |
//! | `session.rs` | one session from accept to its one log line |
//! | `offers.rs` | what a listener shows before login |
//! | `login.rs` | drives the client-facing dialogue to a login |
//! | `way.rs` | the way to an upstream, past a proxy if there is one |
//! | `authenticate.rs` | a login attempt: who may, and with what upstream |
//! | `connect.rs` | dials the upstream and drives its dialogue to "authenticated" |
//! | `abilities.rs` | what upstreams can do, as they last said |
//! | `copy.rs` | the two directions after login, with the watch between them; how that ends, and what keeps an idle one alive |
//! | `half.rs` | one of the two legs: what is unread and what is unsent |
//! | `warm.rs` | upstreams that outlive their client, until the account's next login |
//! | `submissions.rs` | messages of clients that do not log in: leave for each, and its audit line |
//! | `allowances.rs` | how many of them a peer has sent this hour |
//! | `alerts.rs` | how often a person is told by an ALERT |
//! | `registry.rs` | the open sessions, for `status` and for the log |

mod abilities;
mod alerts;
mod allowances;
mod authenticate;
mod connect;
mod copy;
mod gate;
mod half;
mod login;
mod offers;
mod registry;
mod service;
mod session;
mod submissions;
mod warm;
mod way;
mod workers;

pub use self::connect::Probe;
pub use self::registry::{Registry, SessionRecord, SessionView};
pub use self::service::{Overview, Service, ServiceError};
pub use self::workers::Workers;

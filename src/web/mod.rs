//! What a person looks at: the page a sign-in ends on, and what `status`, `sign-in` and `sign-out` ask a running service.
//!
//! | file | what it is |
//! |---|---|
//! | `callback.rs` | the listener that browsers come back to after a sign-in |
//! | `desk.rs` | where people sign in and out, with or without a running service |
//! | `request.rs` | what is asked for and answered |
//! | `control.rs` | the same over a Unix socket, for this user only |
//! | `needed.rs` | the user's command that is told when a sign-in is needed |
//! | `status.rs` | what the service tells about itself |

mod callback;
#[cfg(unix)]
mod control;
mod desk;
mod needed;
mod request;
mod status;
#[cfg(test)]
pub(crate) mod testing;

pub use self::callback::{Callback, CallbackError, Finish};
#[cfg(unix)]
pub use self::control::{ControlClient, ControlError, ControlSocket, StatusSource, socket_path};
pub use self::desk::{Desk, Visit, grants};
pub use self::needed::tell_when_needed;
pub use self::request::{Failure, GrantView, Reply, Request, Way};
pub use self::status::{ListenerView, Status};

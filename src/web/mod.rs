//! What a person looks at. For now one thing: the control socket that `mailsluice status` asks.

#[cfg(unix)]
mod control;
mod status;

#[cfg(unix)]
pub use self::control::{ControlError, ControlSocket, ask, socket_path};
pub use self::status::{ListenerView, Status};

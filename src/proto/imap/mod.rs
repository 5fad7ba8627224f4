//! IMAP: the dialogues before login, and the watch after it. The files are explained in [`super`].

pub mod codec;
pub mod frame;
pub mod login;
pub mod reset;
pub mod upstream;
pub mod watch;

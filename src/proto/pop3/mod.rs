//! POP3: the dialogues before login, and the watch after it. The five files are explained in [`super`].

pub mod codec;
pub mod frame;
pub mod login;
pub mod upstream;
pub mod watch;

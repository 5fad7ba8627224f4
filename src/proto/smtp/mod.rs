//! SMTP: the dialogues before login, and the watch after it. The files are explained in [`super`]; SMTP adds three:
//!
//! | file | role |
//! |---|---|
//! | `envelope.rs` | the arguments of MAIL and RCPT: a path and parameters |
//! | `extensions.rs` | which EHLO keywords and parameters pass (PROTOCOL table B.4) |
//! | `data.rs` | the message: decoded, normalised, stuffed again |

pub mod codec;
pub mod data;
pub mod envelope;
pub mod extensions;
pub mod frame;
pub mod login;
pub mod reset;
pub mod upstream;
pub mod watch;

//! SMTP: the dialogues before login, and the watch after it. The five files are explained in [`super`]; SMTP adds four:
//!
//! | file | role |
//! |---|---|
//! | `envelope.rs` | the arguments of MAIL and RCPT: a path and parameters |
//! | `extensions.rs` | which EHLO keywords and parameters pass (PROTOCOL table B.4) |
//! | `data.rs` | the message: decoded, normalised, stuffed again |
//! | `queue.rs` | whose reply is due next |

pub mod codec;
pub mod data;
pub mod envelope;
pub mod extensions;
pub mod frame;
pub mod login;
mod queue;
pub mod upstream;
mod verdict;
pub mod watch;

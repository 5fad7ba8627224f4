//! SMTP: the dialogues before login, and the watch after it. The files are explained in [`super`]; SMTP adds five:
//!
//! | file | role |
//! |---|---|
//! | `envelope.rs` | the arguments of MAIL and RCPT: a path and parameters |
//! | `extensions.rs` | which EHLO keywords and parameters pass (PROTOCOL table B.4) |
//! | `data.rs` | the message: decoded, normalised, stuffed again |
//! | `device.rs` | a client that cannot log in: what it may do, and what is told about it |
//! | `header.rs` | the header of its messages: one sender, and what RFC 6409 section 8 adds |

pub mod codec;
pub mod data;
pub mod device;
pub mod envelope;
pub mod extensions;
pub mod frame;
pub mod header;
pub mod login;
pub mod reset;
pub mod upstream;
pub mod watch;

//! IMAP parsers over complete frames, and the encoders. Nothing here sees partial input: [`super::frame`] comes first.
//!
//! | file | what it reads or writes |
//! |---|---|
//! | `command.rs` | the commands a client may send before login |
//! | `response.rs` | the responses of an upstream, and its response codes |
//! | `capability.rs` | capability lists: ours before login, the upstream's without what must stay hidden |
//! | `refusal.rs` | a failed login, as the client's reply |
//! | `cause.rs` | an upstream's NO, BAD or BYE, as the cause of a failed login |

pub mod capability;
pub mod cause;
pub mod command;
pub mod refusal;
pub mod response;

pub use self::refusal::refusal;

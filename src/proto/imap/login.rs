//! The IMAP dialogue with the client before authentication.
use crate::proto::dialogue::{Login, LoginAction, LoginInput, LoginSettings};
/// Skeleton.
#[derive(Debug)]
pub struct ImapLogin;
impl ImapLogin {
    /// Skeleton.
    pub fn new(_settings: LoginSettings) -> Self {
        Self
    }
}
impl Login for ImapLogin {
    fn step(&mut self, _input: LoginInput<'_>, _actions: &mut Vec<LoginAction>) {}
    fn reads(&self) -> bool {
        true
    }
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

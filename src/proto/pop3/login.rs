//! The POP3 dialogue with the client before authentication.
use crate::proto::dialogue::{Login, LoginAction, LoginInput, LoginSettings};
/// Skeleton.
#[derive(Debug)]
pub struct Pop3Login;
impl Pop3Login {
    /// Skeleton.
    pub fn new(_settings: LoginSettings) -> Self {
        Self
    }
}
impl Login for Pop3Login {
    fn step(&mut self, _input: LoginInput<'_>, _actions: &mut Vec<LoginAction>) {}
    fn reads(&self) -> bool {
        true
    }
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

//! The POP3 dialogue with the upstream up to "authenticated".
use crate::proto::dialogue::{Upstream, UpstreamAction, UpstreamInput, UpstreamSettings};
/// Skeleton.
#[derive(Debug)]
pub struct Pop3Upstream;
impl Pop3Upstream {
    /// Skeleton.
    pub fn new(_settings: UpstreamSettings) -> Self {
        Self
    }
}
impl Upstream for Pop3Upstream {
    fn step(&mut self, _input: UpstreamInput<'_>, _actions: &mut Vec<UpstreamAction>) {}
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

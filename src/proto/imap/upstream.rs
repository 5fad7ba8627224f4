//! The IMAP dialogue with the upstream up to "authenticated".
use crate::proto::dialogue::{Upstream, UpstreamAction, UpstreamInput, UpstreamSettings};
/// Skeleton.
#[derive(Debug)]
pub struct ImapUpstream;
impl ImapUpstream {
    /// Skeleton.
    pub fn new(_settings: UpstreamSettings) -> Self {
        Self
    }
}
impl Upstream for ImapUpstream {
    fn step(&mut self, _input: UpstreamInput<'_>, _actions: &mut Vec<UpstreamAction>) {}
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

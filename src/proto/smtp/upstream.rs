//! The SMTP dialogue with the upstream up to "authenticated".
use crate::proto::dialogue::{Upstream, UpstreamAction, UpstreamInput, UpstreamSettings};
/// Skeleton.
#[derive(Debug)]
pub struct SmtpUpstream;
impl SmtpUpstream {
    /// Skeleton.
    pub fn new(_settings: UpstreamSettings) -> Self {
        Self
    }
}
impl Upstream for SmtpUpstream {
    fn step(&mut self, _input: UpstreamInput<'_>, _actions: &mut Vec<UpstreamAction>) {}
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

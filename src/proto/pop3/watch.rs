//! POP3 after login.
use crate::proto::dialogue::{Breach, Ending, Established, Farewell, LoginSettings, Watch};
use crate::proto::flow::Flow;
use crate::protocol::Leg;
/// Skeleton.
#[derive(Debug)]
pub struct Pop3Watch;
impl Pop3Watch {
    /// Skeleton.
    pub fn new(_settings: &LoginSettings, _established: &Established) -> Self {
        Self
    }
}
impl Watch for Pop3Watch {
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        flow.pass(leg.other(), 0..input.len());
        Ok(input.len())
    }
    fn reads(&self, _leg: Leg) -> bool {
        true
    }
    fn eof(&mut self, leg: Leg, _rest: &[u8], _flow: &mut Flow) -> Ending {
        if leg == Leg::Client {
            Ending::HalfClose
        } else {
            Ending::Close
        }
    }
    fn farewell(&mut self, _why: Farewell, _flow: &mut Flow) {}
    fn phase(&self) -> &'static str {
        "skeleton"
    }
}

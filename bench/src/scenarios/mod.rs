//! What is measured, each kind in a file of its own.

mod bulk;
mod burst;
mod growth;
mod idle;
mod login;
mod noop;
mod pipelined;
mod stalled;
mod submit;

pub(crate) use bulk::number;
pub(crate) use noop::micros;

use crate::error::BenchError;
use crate::stage::{Protocol, Sample, Stage};

/// Something to do with a target.
pub(crate) trait Scenario {
    /// What it is called in tables and in `--scenarios`.
    fn name(&self) -> String;

    /// What it does, for people.
    fn about(&self) -> String;

    /// What it needs.
    fn needs(&self) -> Needs;

    /// Does it once.
    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError>;
}

/// What a scenario needs of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The upstream is a round trip away.
    pub(crate) far: bool,
    /// The target is started anew each time.
    pub(crate) fresh: bool,
    /// The target has processes to look at: the direct baseline has not.
    pub(crate) processes: bool,
    /// The target logs in upstream with a token.
    pub(crate) oauth: bool,
}

impl Needs {
    const fn of(protocol: Protocol) -> Self {
        Self {
            protocol,
            far: false,
            fresh: false,
            processes: false,
            oauth: false,
        }
    }

    const fn fresh(self) -> Self {
        Self {
            fresh: true,
            processes: true,
            ..self
        }
    }
}

/// All scenarios, or those of the quick mode.
pub(crate) fn all(quick: bool) -> Vec<Box<dyn Scenario>> {
    let mut all: Vec<Box<dyn Scenario>> = Vec::new();
    all.extend(boxed(bulk::all(quick)));
    all.extend(boxed(submit::all(quick)));
    all.extend(boxed(noop::all(quick)));
    all.push(Box::new(pipelined::Pipelined));
    all.extend(boxed(login::all(quick)));
    all.extend(boxed(idle::all(quick)));
    all.push(Box::new(stalled::Stalled));
    all.extend(boxed(burst::all(quick)));
    all.extend(boxed(growth::all(quick)));
    all
}

fn boxed<S: Scenario + 'static>(scenarios: Vec<S>) -> impl Iterator<Item = Box<dyn Scenario>> {
    scenarios
        .into_iter()
        .map(|scenario| Box::new(scenario) as Box<dyn Scenario>)
}

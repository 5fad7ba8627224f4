//! placeholder until merge
use super::args::DemoArguments;
use super::error::CliError;
use super::exit::Exit;
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct DemoError;
pub(crate) fn demo(_a: &DemoArguments) -> Result<Exit, CliError> {
    Err(DemoError.into())
}

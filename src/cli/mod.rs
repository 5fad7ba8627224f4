//! The command line.

mod exit;

/// x
pub fn main() -> std::process::ExitCode {
    exit::Exit::Ok.into()
}

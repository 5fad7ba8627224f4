//! The `mailsluice` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailsluice::cli::main()
}

//! How the program ends: sysexits codes, so that scripts and service managers can tell trouble apart.

use std::process::ExitCode;

/// `sysexits.h`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// The command was used wrongly.
    Usage = 64,
    /// What was given is not valid: an address that is none, a password that is blank.
    DataErr = 65,
    /// Something named does not exist: an account, a password, a provider.
    NoInput = 66,
    /// A service is not there: mailsluice itself, a port, the provider.
    Unavailable = 69,
    /// An internal error.
    Software = 70,
    /// A file cannot be made.
    CantCreat = 73,
    /// Reading or writing failed.
    IoErr = 74,
    /// The system does not let us.
    NoPerm = 77,
    /// Something in the configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

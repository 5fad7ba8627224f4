//! What the process gives up before it holds a secret.

use std::io;

/// No core dumps, and no other process of this user may read our memory: passwords are in it.
#[cfg(unix)]
pub(crate) fn close_memory() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// A session takes two descriptors; systems give 1 024 by default and allow far more.
#[cfg(unix)]
pub(crate) fn raise_files() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// Elsewhere there is nothing to give up.
#[cfg(not(unix))]
pub(crate) fn close_memory() -> io::Result<()> {
    Ok(())
}

/// Elsewhere there is no limit to raise.
#[cfg(not(unix))]
pub(crate) fn raise_files() -> io::Result<()> {
    Ok(())
}

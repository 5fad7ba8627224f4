//! What the process gives up before it holds a secret.

/// No core dumps, and no other process of this user may read our memory: passwords are in it.
#[cfg(unix)]
pub(crate) fn harden() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(cause = %error, "core dumps cannot be switched off");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(cause = %error, "the process stays readable for debuggers");
    }
    // A session takes two descriptors; systems give 1 024 by default and allow far more.
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(cause = %error, "the limit of open files cannot be raised");
    }
}

/// Elsewhere there is nothing to give up.
#[cfg(not(unix))]
pub(crate) fn harden() {}

//! The parts of a fault's sentence that are not always there.

use std::io;

use super::super::reach::ListenAddress;

pub(super) fn did_you_mean(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {known}"),
    }
}

pub(super) fn provider_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "see `mailsluice providers`".to_owned(),
    }
}

pub(super) fn profile_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "see `mailsluice profiles`.".to_owned(),
    }
}

pub(super) fn or_switch_off(off: Option<&str>) -> String {
    let rest = |off| format!(", or write {off} and use the rest");
    off.map_or_else(String::new, rest)
}

pub(super) fn as_told(guide: Option<&str>) -> String {
    guide.map_or_else(String::new, |guide| format!(" ({guide})"))
}

pub(super) fn or_oauth(oauth: bool) -> &'static str {
    if oauth { ", or auth = \"oauth\"" } else { "" }
}

pub(super) fn issuer_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "docs/oauth/README.md lists them.".to_owned(),
    }
}

/// What helps a machine without a browser instead.
pub(super) fn device_hint(flow: &str) -> &'static str {
    if flow == "device" {
        "; a machine without a browser signs in by `mailsluice sign-in --paste`"
    } else {
        ""
    }
}

/// What the system said, as a person would.
pub(super) fn in_words(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        kind => kind.to_string(),
    }
}

/// "this is", "this and that are".
pub(super) fn are(addresses: &[ListenAddress]) -> String {
    let names: Vec<_> = addresses.iter().map(ListenAddress::to_string).collect();
    match names.as_slice() {
        [.., last] if names.len() > 1 => {
            let others = names.len() - 1;
            format!(
                "{} and {last} are",
                names.get(..others).unwrap_or_default().join(", ")
            )
        }
        names => format!("{} is", names.join("")),
    }
}

/// What else may be chosen in place of `address`.
pub(super) fn kind(address: &ListenAddress) -> &'static str {
    match address {
        ListenAddress::Tcp(_) => "port",
        ListenAddress::Unix(_) => "path",
        ListenAddress::Systemd(_) => "name",
    }
}

/// What is told together is of one kind, or differs in nothing that matters here.
pub(super) fn cannot_listen(
    addresses: &[ListenAddress],
    trouble: io::ErrorKind,
    by_default: bool,
) -> String {
    let kind = addresses.first().map_or("port", kind);
    let elsewhere = if by_default {
        "write [[listener]] entries with other ports".to_owned()
    } else {
        format!("choose another {kind}")
    };
    match (trouble, kind) {
        (io::ErrorKind::AddrInUse, _) => {
            format!("in use by another program: stop it, or {elsewhere}")
        }
        (io::ErrorKind::PermissionDenied, "path") => {
            format!("not for this user to make: open the folder to it, or {elsewhere}")
        }
        (io::ErrorKind::PermissionDenied, _) => {
            "not for this user to open: choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        (io::ErrorKind::NotFound, "path") => {
            format!("in a folder that is not there: make it, or {elsewhere}")
        }
        (io::ErrorKind::AlreadyExists, "path") => {
            format!("a file already and no socket: remove it, or {elsewhere}")
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            "no address of this machine: write one that is, such as 127.0.0.1".to_owned()
        }
        (other, _) => format!("not to be opened ({other}): {elsewhere}"),
    }
}

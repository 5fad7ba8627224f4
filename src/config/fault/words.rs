//! The parts of a fault's sentence that are not always there.

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

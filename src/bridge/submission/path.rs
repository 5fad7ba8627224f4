//! The arguments of MAIL and RCPT, RFC 5321 section 4.1.1.

/// `MAIL FROM:<reverse-path> [parameters]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReversePath {
    /// Empty for a delivery report.
    pub(super) address: String,
    /// `SIZE=`, RFC 1870.
    pub(super) size: Option<u64>,
}

/// What is wrong with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// Not `FROM:<...>` or `TO:<...>`.
    #[error("not a path in angle brackets")]
    Syntax,
    /// An address nobody can have here.
    #[error("not an address")]
    Address,
    /// A parameter of an extension we do not offer.
    #[error("an unknown parameter")]
    Parameter,
}

impl PathError {
    pub(super) fn reply(self) -> &'static str {
        match self {
            Self::Syntax => "501 5.5.4 Write FROM:<address> or TO:<address>",
            Self::Address => "553 5.1.3 Not an address we can send from or to",
            Self::Parameter => "555 5.5.4 Unknown parameter",
        }
    }
}

pub(super) fn reverse_path(rest: &[u8]) -> Result<ReversePath, PathError> {
    let (address, parameters) = path(rest, "FROM:")?;
    if !address.is_empty() && !is_address(address) {
        return Err(PathError::Address);
    }
    let mut size = None;
    for parameter in parameters.split_ascii_whitespace() {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => size = Some(value.parse().map_err(|_| PathError::Syntax)?),
            "BODY" if value.eq_ignore_ascii_case("7BIT") => {}
            "BODY" if value.eq_ignore_ascii_case("8BITMIME") => {}
            // RFC 4954 section 5: to be taken, and of no meaning to us.
            "AUTH" => {}
            _ => return Err(PathError::Parameter),
        }
    }
    Ok(ReversePath {
        address: address.to_owned(),
        size,
    })
}

pub(super) fn forward_path(rest: &[u8]) -> Result<String, PathError> {
    let (address, parameters) = path(rest, "TO:")?;
    // RFC 5321 section 4.5.1: a bare `postmaster` is an address.
    if !is_address(address) && !address.eq_ignore_ascii_case("postmaster") {
        return Err(PathError::Address);
    }
    if parameters.trim().is_empty() {
        Ok(address.to_owned())
    } else {
        Err(PathError::Parameter)
    }
}

/// What is between the brackets, without a source route, and what is behind them.
///
/// quirk: Outlook writes a space behind the colon.
fn path<'a>(rest: &'a [u8], prefix: &str) -> Result<(&'a str, &'a str), PathError> {
    let text = std::str::from_utf8(rest).map_err(|_| PathError::Address)?;
    let (head, tail) = text
        .split_at_checked(prefix.len())
        .ok_or(PathError::Syntax)?;
    if !head.eq_ignore_ascii_case(prefix) {
        return Err(PathError::Syntax);
    }
    let inner = tail
        .trim_start()
        .strip_prefix('<')
        .ok_or(PathError::Syntax)?;
    let (path, parameters) = inner.split_once('>').ok_or(PathError::Syntax)?;
    let address = match path.strip_prefix('@').and_then(|r| r.split_once(':')) {
        Some((_, address)) => address,
        None => path,
    };
    Ok((address, parameters))
}

/// `Local-part "@" Domain`, 7-bit as SMTPUTF8 is not offered, within the bounds of RFC 5321 section 4.5.3.1.
fn is_address(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    (1..=64).contains(&local.len())
        && (1..=255).contains(&domain.len())
        && address.bytes().all(|b| matches!(b, b'!'..=b'~' | b' '))
        && !domain.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_field() {
        assert_eq!(
            reverse_path(b"from: <a@x.org> size=5 BODY=8BITMIME AUTH=<>"),
            Ok(ReversePath {
                address: "a@x.org".into(),
                size: Some(5)
            })
        );
        assert_eq!(reverse_path(b"FROM:<>").unwrap().address, "");
        assert_eq!(forward_path(b"TO:<@r:b@y.org>").unwrap(), "b@y.org");
        assert_eq!(forward_path(b"TO:<Postmaster>").unwrap(), "Postmaster");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(reverse_path(b"a@x.org"), Err(PathError::Syntax));
        assert_eq!(reverse_path(b"FROM:a@x.org"), Err(PathError::Syntax));
        assert_eq!(
            reverse_path(b"FROM:<a@x.org> RET=HDRS"),
            Err(PathError::Parameter)
        );
        for bad in [
            "TO:<>",
            "TO:<a>",
            "TO:<a@>",
            "TO:<\u{e4}@x.org>",
            "TO:<a\t@x.org>",
        ] {
            assert_eq!(
                forward_path(bad.as_bytes()),
                Err(PathError::Address),
                "{bad}"
            );
        }
    }
}

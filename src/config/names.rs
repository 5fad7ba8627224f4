//! `{address}`, `{localpart}` and `{domain}` in settings that accounts share.

/// One address and its halves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    address: &'a str,
    local_part: &'a str,
    domain: &'a str,
}

impl<'a> Names<'a> {
    /// Splits at the last `@`, since a quoted local part may hold one (RFC 5321 section 4.1.2). `None` without two
    /// halves.
    pub(super) fn of(address: &'a str) -> Option<Self> {
        let (local_part, domain) = address.rsplit_once('@')?;
        (!local_part.is_empty() && !domain.is_empty()).then_some(Self {
            address,
            local_part,
            domain,
        })
    }

    /// What stands before the `@`.
    pub(super) fn local_part(&self) -> &'a str {
        self.local_part
    }

    /// What stands behind it.
    pub(super) fn domain(&self) -> &'a str {
        self.domain
    }

    /// Fills the placeholders of `template`.
    pub(super) fn fill(&self, template: &str) -> String {
        template
            .replace("{address}", self.address)
            .replace("{localpart}", self.local_part)
            .replace("{domain}", self.domain)
    }

    /// Whether the address may become part of a command or a path: it begins with a letter or digit and holds nothing a
    /// shell or a file system would act on. A client chooses the name behind a catch-all entry.
    pub(super) fn is_inert(&self) -> bool {
        let inert = |c: char| c.is_ascii_alphanumeric() || "@._+-=".contains(c);
        self.address
            .starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.address.chars().all(inert)
            && !self.address.contains("..")
    }
}

/// Whether `text` holds a placeholder.
pub(super) fn has_placeholder(text: &str) -> bool {
    ["{address}", "{localpart}", "{domain}"]
        .iter()
        .any(|p| text.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        let names = Names::of("anna@gmx.de").unwrap();
        assert_eq!(
            names.fill("{localpart} at {domain}: {address}"),
            "anna at gmx.de: anna@gmx.de"
        );
    }

    #[test]
    fn what_a_shell_would_act_on_is_not_inert() {
        for bad in [
            "$(id)@x.de",
            "a;b@x.de",
            "-rf@x.de",
            "../x@x.de",
            "a b@x.de",
            "a'@x.de",
            "a/b@x.de",
        ] {
            assert!(!Names::of(bad).unwrap().is_inert(), "{bad}");
        }
        assert!(Names::of("anna.b+c@x-y.de").unwrap().is_inert());
    }
}

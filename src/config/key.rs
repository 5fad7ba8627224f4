//! The way to a setting: `account`, `3`, `imap`, `port`.

use std::fmt;

/// Keys and list indices from the root of the configuration down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    /// The configuration itself.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// One step further down.
    pub(super) fn child(&self, step: impl fmt::Display) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_string());
        Self(steps)
    }

    /// Several steps further down.
    pub(super) fn join(&self, steps: &[String]) -> Self {
        Self([self.0.as_slice(), steps].concat())
    }

    /// Another key of the same table.
    pub(super) fn sibling(&self, name: &str) -> Self {
        let mut steps = self.0.clone();
        steps.pop();
        steps.push(name.to_owned());
        Self(steps)
    }

    /// From a dotted key, as a flag or a variable names it.
    pub(super) fn dotted(key: &str) -> Self {
        Self(key.split('.').map(str::to_owned).collect())
    }

    /// The steps from the root.
    pub(super) fn steps(&self) -> &[String] {
        &self.0
    }

    /// Whether this lies at or below `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

/// Dotted, without list indices: the line tells the entries apart.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter(|s| s.parse::<usize>().is_err());
        for (index, name) in names.enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

//! What is wrong with the configuration: where, at which key, and what to write instead.
//!
//! Never holds a value that could be a secret: the line says where to look.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::fault::Fault;
use super::key::KeyPath;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    key: String,
    fault: Box<Fault>,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file, and the line in it where that is known.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
    /// Written nowhere: a default.
    Default,
}

/// Everything to mend, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problem {
    pub(super) fn new(place: Place, key: &KeyPath, fault: Fault) -> Self {
        Self {
            place,
            key: key.to_string(),
            fault: Box::new(fault),
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The key, dotted: `account.imap.port`. Empty where the file as a whole is meant.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong and what to write instead, without the place.
    pub fn advice(&self) -> String {
        self.fault.to_string()
    }

    /// Why the machine does not let us listen, where that is the problem.
    pub fn port_trouble(&self) -> Option<io::ErrorKind> {
        self.fault.is_about_a_port()
    }
}

impl Problems {
    /// Sorts `problems`, at least one, by place.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Self(problems)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for Problems {}

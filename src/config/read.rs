//! Layers → file types, reporting every error and not only the first: what serde refuses is reported, taken out, and
//! the rest is read again.

use std::collections::HashSet;

use figment::error::{Actual, Kind};
use figment::value::Value;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use super::key::KeyPath;
use super::nearest::nearest;
use super::problem::Problem;
use super::source::Sources;

/// The problems found so far in one set of sources.
pub(super) struct Report<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
    seen: HashSet<KeyPath>,
}

impl<'a> Report<'a> {
    /// Nothing found yet.
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            problems: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// Adds a problem at `key`. The first one at a key is kept: a value of the wrong type is not also missing.
    pub(super) fn add(&mut self, key: &KeyPath, fault: Fault) {
        if self.seen.insert(key.clone()) {
            let place = self.sources.place(key);
            self.problems.push(Problem::new(place, key, fault));
        }
    }

    /// Nothing more is to be said about `key`: it is there under a mistyped name.
    fn expect(&mut self, key: KeyPath) {
        self.seen.insert(key);
    }

    /// Whether something below `key` was refused, so that what is missing there may only be mistyped.
    pub(super) fn refused_below(&self, key: &KeyPath) -> bool {
        self.seen
            .iter()
            .any(|seen| seen != key && seen.is_within(key))
    }

    /// Adds problems of another file.
    pub(super) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }

    /// Where the settings come from.
    pub(super) fn sources(&self) -> &'a Sources {
        self.sources
    }

    /// Everything found.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Reads `value`, which stands at `at`, as a `T`. What cannot be read is reported and left out.
pub(super) fn read<T: DeserializeOwned>(
    mut value: Value,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<T> {
    loop {
        let error = match value.deserialize::<T>() {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let removed = remove(&mut value, &error.path);
        let key = at.join(&error.path);
        let fault = fault(error.kind);
        if let Fault::UnknownKey {
            nearest: Some(meant),
            ..
        } = &fault
        {
            report.expect(key.sibling(meant));
        }
        report.add(&key, fault);
        if !removed {
            return None;
        }
    }
}

/// Takes out what lies at `steps`. An element takes its whole list along, since the rest would be renumbered.
fn remove(value: &mut Value, steps: &[String]) -> bool {
    let Some((last, parents)) = steps.split_last() else {
        return false;
    };
    match find(value, parents) {
        Some(Value::Dict(_, dict)) => dict.remove(last).is_some(),
        _ => remove(value, parents),
    }
}

fn find<'v>(value: &'v mut Value, steps: &[String]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Dict(_, dict) => dict.get_mut(step),
        Value::Array(_, list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// What serde refused, without the value: it may be a secret in the wrong place.
fn fault(kind: Kind) -> Fault {
    match kind {
        Kind::UnknownField(name, known) => Fault::UnknownKey {
            nearest: nearest(&name, known.iter().copied()).map(str::to_owned),
            known: known.join(", "),
        },
        Kind::UnknownVariant(_, known) => Fault::UnknownWord(alternatives(known)),
        Kind::InvalidType(found, expected) => Fault::WrongType {
            found: type_word(&found),
            expected: expected_words(expected),
        },
        Kind::InvalidValue(_, expected) => Fault::OutOfRange(expected_words(expected)),
        Kind::MissingField(name) => Fault::Missing(name.into_owned()),
        Kind::Message(message) => Fault::Said(message),
        Kind::InvalidLength(..)
        | Kind::DuplicateField(_)
        | Kind::ISizeOutOfRange(_)
        | Kind::USizeOutOfRange(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..) => Fault::Unreadable,
    }
}

/// `"a", "b" or "c"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn type_word(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        Actual::Str(_) | Actual::Char(_) => "text",
        _ => "something else",
    }
}

/// serde's words for a type, in words for people.
fn expected_words(expected: String) -> String {
    match expected.as_str() {
        "a string" | "path string" => "text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list in [ ]".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        words if words.starts_with("struct ") => "a table".to_owned(),
        words if words.contains("enum ") => "text in quotes".to_owned(),
        _ => expected,
    }
}

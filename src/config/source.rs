//! Where settings come from: defaults, then the file, then the environment, then flags. figment merges them; this
//! remembers which one a setting came from, and on which line.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml_edit::{Array, ArrayOfTables, Document, Item, TableLike};

use super::fault::Fault;
use super::key::KeyPath;
use super::problem::{Place, Problem};

/// A setting from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed: `--log-filter`.
    pub name: String,
    /// The setting it overrides, dotted: `log.filter`.
    pub key: String,
    /// Its value, in the same notation as in the environment.
    pub value: String,
}

/// The layers, from the weakest to the strongest.
pub(super) struct Sources {
    file: Option<TomlFile>,
    environment: Vec<Setting>,
    flags: Vec<Setting>,
}

/// A parsed TOML file that knows its lines.
pub(super) struct TomlFile {
    path: PathBuf,
    document: Document<String>,
    /// The offset at which each line starts.
    line_starts: Vec<usize>,
}

struct Setting {
    place: Place,
    key: KeyPath,
    value: Value,
}

impl Sources {
    /// The file, the `MAILSLUICE_` variables of `environment`, and `flags`.
    pub(super) fn new(
        file: Option<TomlFile>,
        environment: &HashMap<String, String>,
        flags: &[Flag],
    ) -> Self {
        let mut environment: Vec<Setting> = environment
            .iter()
            .filter(|(name, _)| *name != CONFIG_VARIABLE)
            .filter_map(|(name, value)| {
                let key = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
                Some(Setting::new(Place::Environment(name.clone()), &key, value))
            })
            .collect();
        environment.sort_by(|a, b| a.place.cmp(&b.place));
        let flags = flags
            .iter()
            .map(|flag| Setting::new(Place::Flag(flag.name.clone()), &flag.key, &flag.value))
            .collect();
        Self {
            file,
            environment,
            flags,
        }
    }

    /// A file of its own, beside the layers: a user's provider file.
    pub(super) fn file_alone(file: TomlFile) -> Self {
        Self {
            file: Some(file),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// All layers over `defaults`, merged. `None` if figment fails to read a layer, which ours give it no cause for.
    pub(super) fn merged(&self, defaults: Dict) -> Option<Dict> {
        let mut figment = Figment::from(Layer(defaults));
        if let Some(file) = &self.file {
            figment = figment.merge(Layer(file.dict()));
        }
        for setting in self.environment.iter().chain(&self.flags) {
            figment = figment.merge(setting);
        }
        let mut profiles = Provider::data(&figment).ok()?;
        Some(profiles.remove(&Profile::Default).unwrap_or_default())
    }

    /// Which source the setting at `key` comes from: the strongest one that says it, or else says something below it.
    pub(super) fn place(&self, key: &KeyPath) -> Place {
        let said = |setting: &&Setting| key.is_within(&setting.key);
        let below = |setting: &&Setting| setting.key.is_within(key);
        let settings = || self.flags.iter().rev().chain(self.environment.iter().rev());
        let place = |setting: &Setting| setting.place.clone();
        let in_file = |file: &TomlFile| {
            let (line, whole) = file.line(key);
            (Place::File(file.path.clone(), line), whole)
        };
        let in_file = self.file.as_ref().map(in_file);
        let whole_in_file = || in_file.clone().filter(|(_, whole)| *whole);
        settings()
            .find(said)
            .map(place)
            .or_else(|| whole_in_file().map(|(place, _)| place))
            .or_else(|| settings().find(below).map(place))
            .or_else(|| in_file.clone().map(|(place, _)| place))
            .unwrap_or(Place::Default)
    }
}

impl TomlFile {
    /// Parses `text`. Of a syntax error only its message and line are kept: its rendering would quote the line, and the
    /// line may hold a secret.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, Problem> {
        let line_starts = std::iter::once(0)
            .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1))
            .collect();
        match Document::parse(text) {
            Ok(document) => Ok(Self {
                path: path.to_owned(),
                document,
                line_starts,
            }),
            Err(error) => {
                let line = error.span().map(|span| line_of(&line_starts, span.start));
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                let place = Place::File(path.to_owned(), line);
                let fault = Fault::Syntax(message);
                Err(Problem::new(place, &KeyPath::root(), fault))
            }
        }
    }

    /// As figment sees it.
    pub(super) fn dict(&self) -> Dict {
        let item = self.document.as_item();
        value_of(item).into_dict().unwrap_or_default()
    }

    /// The line of the deepest part of `key` that is written down, and whether that is the whole key.
    fn line(&self, key: &KeyPath) -> (Option<usize>, bool) {
        let mut node = Node::Table(self.document.as_table());
        let mut found = None;
        for step in key.steps() {
            let Some((next, span)) = node.child(step) else {
                return (found, false);
            };
            let line = span.map(|span| line_of(&self.line_starts, span.start));
            found = line.or(found);
            node = next;
        }
        (found, true)
    }
}

/// A place in the document that has something below it, or nothing.
enum Node<'a> {
    Table(&'a dyn TableLike),
    Tables(&'a ArrayOfTables),
    Array(&'a Array),
    Leaf,
}

impl<'a> Node<'a> {
    fn of(item: &'a Item) -> Self {
        match item {
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
            Item::Value(value) => Self::of_value(value),
            Item::None => Self::Leaf,
        }
    }

    fn of_value(value: &'a toml_edit::Value) -> Self {
        match value {
            toml_edit::Value::InlineTable(table) => Self::Table(table),
            toml_edit::Value::Array(array) => Self::Array(array),
            _ => Self::Leaf,
        }
    }

    fn child(&self, step: &str) -> Option<(Self, Option<Range<usize>>)> {
        match self {
            Self::Table(table) => {
                let (key, item) = table.get_key_value(step)?;
                Some((Self::of(item), key.span()))
            }
            Self::Tables(tables) => {
                let table = tables.get(step.parse().ok()?)?;
                Some((Self::Table(table), table.span()))
            }
            Self::Array(array) => {
                let value = array.get(step.parse().ok()?)?;
                Some((Self::of_value(value), value.span()))
            }
            Self::Leaf => None,
        }
    }
}

impl Setting {
    fn new(place: Place, key: &str, value: &str) -> Self {
        let Ok(parsed) = value.parse::<Value>();
        Self {
            place,
            key: KeyPath::dotted(key),
            value: parsed,
        }
    }
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let key = self.key.steps().join(".");
        let nested = figment::util::nest(&key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// A whole layer.
struct Layer(Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("file")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// TOML as figment sees it. Dates stay text: no setting is one.
fn value_of(item: &Item) -> Value {
    match item {
        Item::None => Value::from(Dict::new()),
        Item::Value(value) => value_of_value(value),
        Item::Table(table) => value_of_table(table),
        Item::ArrayOfTables(tables) => Value::from(
            tables
                .iter()
                .map(|table| value_of_table(table))
                .collect::<Vec<_>>(),
        ),
    }
}

fn value_of_table(table: &dyn TableLike) -> Value {
    let pairs = table.iter();
    Value::from(
        pairs
            .map(|(key, item)| (key.to_owned(), value_of(item)))
            .collect::<Dict>(),
    )
}

fn value_of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(truth) => Value::from(*truth.value()),
        toml_edit::Value::Datetime(date) => Value::from(date.value().to_string()),
        toml_edit::Value::Array(array) => {
            Value::from(array.iter().map(value_of_value).collect::<Vec<_>>())
        }
        toml_edit::Value::InlineTable(table) => value_of_table(table),
    }
}

/// Lines count from 1.
fn line_of(line_starts: &[usize], offset: usize) -> usize {
    line_starts.partition_point(|start| *start <= offset)
}

/// What our variables begin with.
const PREFIX: &str = "MAILSLUICE_";

/// Names the file itself, so it is no setting.
pub(super) const CONFIG_VARIABLE: &str = "MAILSLUICE_CONFIG";

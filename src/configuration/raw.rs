//! What was written, before anybody judges it: values by path, each with the place where it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Problem, reference};

/// A value as written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text; every value from the environment.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A truth value.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
    /// A table of texts.
    Pairs(BTreeMap<String, String>),
    /// Something that no key takes: what it is.
    Other(&'static str),
}

/// A value with its place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The value.
    pub(crate) value: Value,
    /// `tidemark.toml:3`, `TIDEMARK__HTTP__LISTEN`.
    pub(crate) place: String,
    /// What relative paths are relative to.
    pub(crate) base: PathBuf,
}

/// All that was written, by path. No `Debug`: it may hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Values by path.
    pub(crate) entries: BTreeMap<String, Entry>,
}

impl Raw {
    /// Takes in the text of a configuration file.
    pub(crate) fn add_file(&mut self, file: &Path, text: &str) -> Result<(), Vec<Problem>> {
        let name = file.display().to_string();
        let base = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let problem = |error: &toml::de::Error| Problem {
                place: error.span().map_or_else(|| name.clone(), |span| format!("{name}:{}", line_of(text, span.start))),
                path: String::new(),
                text: error.message().to_owned(),
            };
            return Err(errors.iter().map(problem).collect());
        }
        let mut writer = FileWriter { raw: self, text, name: &name, base: &base };
        writer.add_table("", table.get_ref());
        Ok(())
    }

    /// Takes in the environment: every variable that starts with `TIDEMARK__`.
    pub(crate) fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>, base: &Path) {
        for (name, text) in variables {
            if let Some(rest) = name.strip_prefix("TIDEMARK__") {
                let path = rest.to_lowercase().replace("__", ".");
                // One form of a secret replaces the other, whatever was in the file.
                self.entries.remove(&other_form(&path));
                self.entries.insert(path, Entry { value: Value::Text(text), place: name, base: base.to_owned() });
            }
        }
    }
}

/// `a.key_file` of `a.key`, and the other way round.
fn other_form(path: &str) -> String {
    path.strip_suffix("_file").map_or_else(|| format!("{path}_file"), str::to_owned)
}

struct FileWriter<'w> {
    raw: &'w mut Raw,
    text: &'w str,
    name: &'w str,
    base: &'w Path,
}

impl FileWriter<'_> {
    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let written = match value.get_ref() {
                DeValue::Table(nested) if reference::find(&path).is_none() => {
                    self.add_table(&path, nested);
                    continue;
                }
                other => read_value(other),
            };
            let place = format!("{}:{}", self.name, line_of(self.text, key.span().start));
            self.raw.entries.insert(path, Entry { value: written, place, base: self.base.to_owned() });
        }
    }
}

fn read_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other("a number beyond 64 bits"), Value::Whole)
        }
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map_or(Value::Other("a list with something else than texts"), Value::Texts)
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(table) => {
            let pairs =
                table.iter().map(|(name, value)| Some((name.get_ref().to_string(), value.get_ref().as_str()?.to_owned())));
            pairs.collect::<Option<_>>().map_or(Value::Other("a table with something else than texts"), Value::Pairs)
        }
    }
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

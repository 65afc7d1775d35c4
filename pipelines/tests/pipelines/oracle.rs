//! What the fold must come to, said once more in another way: over JSON objects, field by field, without the fold's code.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidemark_schemas::change::Operation;

/// One key by the oracle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) deleted: bool,
    /// Nulls included.
    pub(crate) row: Map<String, Value>,
    pub(crate) version: u64,
    /// The whole last snapshot row of each source.
    pub(crate) listed: BTreeMap<String, Map<String, Value>>,
}

/// A change as the oracle sees it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) operation: Operation,
    pub(crate) snapshot: bool,
    pub(crate) source: String,
    /// Nulls included.
    pub(crate) row: Map<String, Value>,
    pub(crate) names: Vec<String>,
    pub(crate) version: u64,
}

/// The words of the receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Inserted,
    Updated,
    Deleted,
    Unchanged,
    LeftDeleted,
    UnknownKey,
    RequiredNull,
}

const REQUIRED: [&str; 2] = ["name", "person.x"];

/// Tells the oracle of a change.
pub(crate) fn tell(known: &mut Option<Known>, told: &Told) -> Word {
    match told.operation {
        Operation::Insert if told.snapshot => list(known, told),
        Operation::Insert => match known {
            None => {
                *known = Some(fresh(told));
                Word::Inserted
            }
            Some(known) if known.deleted => {
                known.deleted = false;
                known.row = told.row.clone();
                known.version = told.version;
                Word::Inserted
            }
            Some(known) => replace(known, told.row.clone(), told.version),
        },
        Operation::Update | Operation::Delete => match known {
            None => Word::UnknownKey,
            Some(known) if known.deleted => Word::UnknownKey,
            Some(known) if told.operation == Operation::Delete => {
                known.deleted = true;
                known.version = told.version;
                Word::Deleted
            }
            Some(known) => match set(&known.row, &told.row, &told.names) {
                None => Word::RequiredNull,
                Some(row) => replace(known, row, told.version),
            },
        },
    }
}

fn fresh(told: &Told) -> Known {
    Known { deleted: false, row: told.row.clone(), version: told.version, listed: BTreeMap::new() }
}

fn replace(known: &mut Known, row: Map<String, Value>, version: u64) -> Word {
    if known.row == row {
        return Word::Unchanged;
    }
    known.row = row;
    known.version = version;
    Word::Updated
}

fn list(known: &mut Option<Known>, told: &Told) -> Word {
    let Some(known) = known else {
        let mut new = fresh(told);
        new.listed.insert(told.source.clone(), told.row.clone());
        *known = Some(new);
        return Word::Inserted;
    };
    let last = known.listed.get(&told.source).cloned();
    if last.as_ref() == Some(&told.row) {
        return if known.deleted { Word::LeftDeleted } else { Word::Unchanged };
    }
    if known.deleted {
        known.listed.insert(told.source.clone(), told.row.clone());
        return Word::LeftDeleted;
    }
    let row = match last {
        None => told.row.clone(),
        Some(last) => match set(&known.row, &told.row, &names_that_differ(&last, &told.row)) {
            None => return Word::RequiredNull,
            Some(row) => row,
        },
    };
    known.listed.insert(told.source.clone(), told.row.clone());
    replace(known, row, told.version)
}

fn names_that_differ(one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, value) in other {
        match (&one[name], value) {
            (Value::Object(one), Value::Object(other)) => {
                let differ = other.iter().filter(|(child, value)| one[*child] != **value);
                names.extend(differ.map(|(child, _)| format!("{name}.{child}")));
            }
            (one, other) if one != other => names.push(name.clone()),
            _ => {}
        }
    }
    names
}

/// The row with the named fields set; `None` when one of them must not be null and would be.
fn set(row: &Map<String, Value>, from: &Map<String, Value>, names: &[String]) -> Option<Map<String, Value>> {
    let mut row = row.clone();
    let mut made = Vec::new();
    for name in names {
        match name.split_once('.') {
            None => {
                if REQUIRED.contains(&name.as_str()) && from[name].is_null() {
                    return None;
                }
                if from[name].is_object() && from[name]["x"].is_null() {
                    return None;
                }
                row[name] = from[name].clone();
            }
            Some((parent, child)) => {
                let value = if from[parent].is_object() { from[parent][child].clone() } else { Value::Null };
                if REQUIRED.contains(&name.as_str()) && value.is_null() {
                    return None;
                }
                if row[parent].is_null() {
                    row[parent] = serde_json::json!({"x": null, "y": null});
                    made.push(parent);
                }
                row[parent][child] = value;
            }
        }
    }
    if made.iter().any(|parent| row[*parent]["x"].is_null()) {
        return None;
    }
    Some(row)
}

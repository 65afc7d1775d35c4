//! The oracle: what must be so after a number of files, computed by a fold of its own over plain JSON maps.
//!
//! It shares no code with what it judges: the generator says what a record *means* (it made the record from that meaning), and
//! this fold follows the rules of the documentation as literally as it can, slowly. Rows are canonical, nested, without
//! nulls; decimals are texts of two places.

pub mod compare;
pub mod graph;
pub mod values;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::results::Counts;
use values::{difference, patched};

/// What a record means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The whole row.
    Row(Value),
    /// Dotted path → new value (null clears).
    Patch(BTreeMap<String, Value>),
    /// It is gone.
    Gone,
    /// It must be refused; the reason where the documentation names one.
    Refused(Option<&'static str>),
}

/// One record of one source.
#[derive(Debug, Clone)]
pub struct Event {
    /// Entity.
    pub entity: &'static str,
    /// Key text.
    pub key: String,
    /// What it means.
    pub meaning: Meaning,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The key came to be.
    Inserted,
    /// It changed.
    Updated,
    /// It went.
    Deleted,
    /// Nothing changed.
    Unchanged,
    /// Refused.
    Rejected(Option<&'static str>),
}

/// One record's current state.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// The row (of a deleted record: its last one).
    pub row: Value,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Snapshot source → what it last sent.
    told: BTreeMap<String, Value>,
}

/// The current state of everything.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    current: BTreeMap<(&'static str, String), Current>,
}

impl Oracle {
    /// Takes one record in.
    pub fn take(&mut self, source: &str, snapshot: bool, event: &Event) -> Fate {
        if let Meaning::Refused(reason) = event.meaning {
            return Fate::Rejected(reason);
        }
        let place = (event.entity, event.key.clone());
        let known = self.current.get(&place).cloned();
        let (fate, next) = decide(known, source, snapshot, &event.meaning);
        if let Some(next) = next {
            self.current.insert(place, next);
        }
        fate
    }

    /// Whether a key is there and live.
    pub fn is_live(&self, entity: &'static str, key: &str) -> bool {
        self.current.get(&(entity, key.to_owned())).is_some_and(|current| !current.deleted)
    }

    /// The live row of a key.
    pub fn row(&self, entity: &'static str, key: &str) -> Option<&Value> {
        self.current.get(&(entity, key.to_owned())).filter(|current| !current.deleted).map(|current| &current.row)
    }

    /// All keys ever seen of an entity, with their state.
    pub fn all(&self, entity: &'static str) -> impl Iterator<Item = (&str, &Current)> {
        self.current.iter().filter(move |((of, _), _)| *of == entity).map(|((_, key), current)| (key.as_str(), current))
    }

    /// Live rows of an entity, by key.
    pub fn live(&self, entity: &'static str) -> BTreeMap<&str, &Value> {
        self.all(entity).filter(|(_, current)| !current.deleted).map(|(key, current)| (key, &current.row)).collect()
    }
}

fn decide(known: Option<Current>, source: &str, snapshot: bool, meaning: &Meaning) -> (Fate, Option<Current>) {
    match meaning {
        Meaning::Row(row) if snapshot => take_snapshot(known, source, row),
        Meaning::Row(row) => match known {
            Some(current) if current.deleted => {
                (Fate::Inserted, Some(Current { row: row.clone(), deleted: false, told: current.told }))
            }
            Some(current) => changed(current, row.clone()),
            None => (Fate::Inserted, Some(Current { row: row.clone(), ..Current::default() })),
        },
        Meaning::Patch(patch) => match known {
            Some(current) if !current.deleted => {
                let row = patched(&current.row, patch);
                changed(current, row)
            }
            _ => (Fate::Rejected(Some("unknown_key")), None),
        },
        Meaning::Gone => match known {
            Some(current) if !current.deleted => (Fate::Deleted, Some(Current { deleted: true, ..current })),
            _ => (Fate::Rejected(Some("unknown_key")), None),
        },
        Meaning::Refused(reason) => (Fate::Rejected(*reason), None),
    }
}

fn changed(current: Current, row: Value) -> (Fate, Option<Current>) {
    let fate = if current.row == row { Fate::Unchanged } else { Fate::Updated };
    (fate, Some(Current { row, ..current }))
}

/// A source re-lists its row: only what differs from what it said last is news, and a deleted key stays deleted.
fn take_snapshot(known: Option<Current>, source: &str, row: &Value) -> (Fate, Option<Current>) {
    let Some(mut current) = known else {
        let told = BTreeMap::from([(source.to_owned(), row.clone())]);
        return (Fate::Inserted, Some(Current { row: row.clone(), deleted: false, told }));
    };
    let before = current.told.insert(source.to_owned(), row.clone());
    if current.deleted {
        return (Fate::Unchanged, Some(current));
    }
    let next = match before {
        None => row.clone(),
        Some(before) => patched(&current.row, &difference(&before, row)),
    };
    changed(current, next)
}

impl Fate {
    /// Counts it.
    pub fn count(self, counts: &mut Counts) {
        counts.read += 1;
        match self {
            Self::Inserted => counts.inserted += 1,
            Self::Updated => counts.updated += 1,
            Self::Deleted => counts.deleted += 1,
            Self::Unchanged => counts.unchanged += 1,
            Self::Rejected(_) => counts.rejected += 1,
        }
    }
}

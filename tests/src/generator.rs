//! Random inputs in the forms that files have, each record with its meaning.
//!
//! The way round matters: a canonical meaning is drawn first and then dressed as one of the shapes and vocabularies in which it
//! may arrive, so the oracle never parses anything.

pub mod bad;
pub mod catalog;
pub mod consumption;
pub mod customer;
pub mod rounds;
pub mod words;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::oracle::{Event, Meaning};
use crate::random::Random;

/// Institutions of the generated world.
pub const INSTITUTIONS: [&str; 3] = ["BJ-HA-001", "SH-ML-002", "GZ-YM-003"];

/// What an envelope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Whole rows.
    Insert,
    /// Partial ones.
    Update,
    /// Keys.
    Delete,
}

impl Operation {
    /// As it stands in an envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One record as it arrives, with what it means.
#[derive(Debug, Clone)]
pub struct Sample {
    /// As it stands in the file.
    pub arrival: Value,
    /// What it means.
    pub event: Event,
    /// Keys in it that no form knows.
    pub unknown_keys: BTreeSet<String>,
}

impl Sample {
    /// A record without strange keys.
    pub fn new(entity: &'static str, key: impl Into<String>, arrival: Value, meaning: Meaning) -> Self {
        Self { arrival, event: Event { entity, key: key.into(), meaning }, unknown_keys: BTreeSet::new() }
    }

    /// A record that must be refused.
    pub fn refused(entity: &'static str, arrival: Value, reason: Option<&'static str>) -> Self {
        Self::new(entity, "", arrival, Meaning::Refused(reason))
    }
}

/// A record that deletes a key.
pub fn deletion(entity: &'static str, key_field: &str, key: &str) -> Sample {
    Sample::new(entity, key, json!({ key_field: key }), Meaning::Gone)
}

/// An amount of money in fen as a JSON number in yuan.
pub fn yuan(fen: u64) -> Value {
    // A double holds every amount below 90 billion yuan to the fen, and serde_json prints the shortest text that means it.
    json!(fen as f64 / 100.0)
}

/// The same as canonical text.
pub fn yuan_text(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// A date of the years 2024 to 2026.
pub fn date(random: &mut Random) -> String {
    format!("{}-{:02}-{:02}", random.between(2024, 2026), random.between(1, 12), random.between(1, 28))
}

/// Sometimes adds a note (ignored) and a key that no form knows (counted).
pub fn decorate(random: &mut Random, sample: &mut Sample) {
    let Some(record) = sample.arrival.as_object_mut() else { return };
    if random.chance(5) {
        record.insert("_note".into(), json!("只给人看"));
    }
    if random.chance(3) {
        record.insert("favourite_colour".into(), json!("红"));
        sample.unknown_keys.insert("favourite_colour".into());
    }
}

//! Topic names under one prefix, and how each is kept.

use std::sync::Arc;

use crate::port::{Retention, TopicSpec};

/// The names of all topics.
#[derive(Debug, Clone)]
pub struct Topics {
    prefix: String,
    /// `<prefix>.progress`: checkpoints, epochs, ledger, high-water marks, writer schemas; compacted, one partition.
    pub progress: Arc<str>,
    /// `<prefix>.receipts`: what became of each claim; compacted, one partition.
    pub receipts: Arc<str>,
    /// `<prefix>.dead-letters`; compacted by event id, one partition. A closed one is superseded by a record that says so.
    pub dead_letters: Arc<str>,
}

impl Topics {
    /// Names under `prefix` (default `tidemark`).
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            progress: format!("{prefix}.progress").into(),
            receipts: format!("{prefix}.receipts").into(),
            dead_letters: format!("{prefix}.dead-letters").into(),
        }
    }

    /// `<prefix>.changes.<entity>`.
    pub fn changes(&self, entity: &str) -> Arc<str> {
        format!("{}.changes.{entity}", self.prefix).into()
    }

    /// `<prefix>.state.<entity>`.
    pub fn state(&self, entity: &str) -> Arc<str> {
        format!("{}.state.{entity}", self.prefix).into()
    }

    /// All topics for these entities, with `partitions` for the entity topics.
    pub fn specs<'n>(&self, entities: impl IntoIterator<Item = &'n str>, partitions: u32) -> Vec<TopicSpec> {
        let one = |name: &Arc<str>| TopicSpec { name: name.to_string(), partitions: 1, retention: Retention::Compact };
        let mut specs = vec![one(&self.progress), one(&self.receipts), one(&self.dead_letters)];
        for entity in entities {
            specs.push(TopicSpec { name: self.changes(entity).to_string(), partitions, retention: Retention::Keep });
            specs.push(TopicSpec { name: self.state(entity).to_string(), partitions, retention: Retention::Compact });
        }
        specs
    }
}

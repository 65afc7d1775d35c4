//! The sink port: what every store adapter does.
//!
//! A sink holds positions in its own store and returns them at `open`; the engine reads the log from there. `apply` writes a
//! batch behind a version gate and moves the positions with it (same transaction where the store has one), so a repeat does
//! nothing and a cut batch leaves nothing half-counted.

use async_trait::async_trait;
use tidemark_log::{LogError, LogIdentity, Share};
use tokio::sync::watch;

use crate::batch::SinkBatch;

/// What a store is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Tables: Postgres, SQLite.
    Relational,
    /// Vertices and edges: NebulaGraph, SQLite.
    Graph,
    /// Points: Qdrant, SQLite.
    Vector,
    /// Facts, dimensions, views: ClickHouse, SQLite.
    Analytics,
}

impl Role {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Relational, Self::Graph, Self::Vector, Self::Analytics];

    /// `relational` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Relational => "relational",
            Self::Graph => "graph",
            Self::Vector => "vector",
            Self::Analytics => "analytics",
        }
    }

    /// What to do about a store that cannot be gone on with: the end of every such refusal.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Relational => "`tidemark replay relational` empties it and fills it again from the log",
            Self::Graph => "`tidemark replay graph` empties it and fills it again from the log",
            Self::Vector => "`tidemark replay vector` empties it and fills it again from the log",
            Self::Analytics => "`tidemark replay analytics` empties it and fills it again from the log",
        }
    }
}

/// Where a store stands on one partition of one entity's state topic. In order of entity and partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorePosition {
    /// Entity name.
    pub entity: String,
    /// Partition.
    pub partition: u32,
    /// Offset of the next state record that the store wants.
    pub next: u64,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows written (inserted, updated, marked deleted).
    pub written: u64,
    /// Rows that the gate refused or that a later one of the same batch superseded.
    pub skipped: u64,
}

/// A row that the store refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Entity.
    pub entity: String,
    /// Partition and offset on its state topic.
    pub position: (u32, u64),
    /// Key.
    pub key: String,
    /// Short code: `undecodable`, `too_large` …
    pub reason: String,
    /// For a person.
    pub detail: String,
}

/// Why a store did not take a batch. Nothing of the batch counts as applied.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It may work later: retried with back-off, for ever.
    #[error("{step}: the store is unavailable")]
    Unavailable {
        /// What was tried.
        step: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// These rows are refused and the batch was not written: the engine puts them on the dead-letter topic, excludes them and
    /// applies the batch again.
    #[error("{} rows refused", .0.len())]
    Rejected(Vec<RejectedRow>),
    /// Another worker moved the positions: this one stops.
    #[error("another process writes to this store: {0}")]
    Stale(String),
    /// The store was filled from another log, or stands beyond this log's end; the text names the remedy.
    #[error("{0}")]
    ForeignLog(String),
    /// Anything else: the stage stops and is restarted with back-off.
    #[error("{step}")]
    Fatal {
        /// What was tried.
        step: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log, met on the way.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A store's answer to `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    /// `SQLite 3.50.2, data/relational.db, 1,234 rows`: for a person, one line.
    pub summary: String,
    /// What is wrong, with the remedy; empty = fine.
    pub problems: Vec<String>,
}

/// A store adapter. One owner for each partition; all calls of a worker in sequence.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// What the store is for.
    fn role(&self) -> Role;

    /// Creates or migrates (additively) what the store needs, binds it to the log's identity on first use and refuses a foreign
    /// one, resets the positions of entities whose derivation changed, takes a new writer epoch for the partitions of `share`, and
    /// returns where it stands on them. Batches then hold only these partitions. Idempotent; called again after every failure and
    /// whenever the share changes. A store that has one writer at a time may take an epoch for the whole.
    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError>;

    /// Writes the batch and moves the positions.
    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError>;

    /// How many ordinary batches one call of `apply` should hold while there is more to do: above 1 where a write has a cost of its own,
    /// whatever is in it, or where rows that are written together share what they touch.
    fn batches_per_write(&self) -> usize {
        1
    }

    /// Whether the last batch left the store being filled for the first time, with more to come, so that nobody reads its last record
    /// yet: the engine then waits a moment for a fuller batch.
    fn is_filling(&self) -> bool {
        false
    }

    /// Called every few seconds on an open store while there is nothing to write: an error where it is no longer the one that was
    /// opened. Only for what no server would tell by itself.
    async fn look_after(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether it stands further back than it did, so that it must be opened anew though nothing failed. Looked at between two batches.
    fn went_back(&self) -> bool {
        false
    }

    /// Gives the partitions back that it was opened with: nothing of what it sent is under way any more. Only for a store whose next
    /// writer asks. Called before others may take them, and at the end; [`Sink::open`] takes them again. Does nothing where it is not
    /// open.
    async fn release(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Where it stands, read beside a running owner; nothing is created. Empty for a store that is not there.
    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError>;

    /// The log that it was filled from, read beside a running owner; nothing is created. `None` for a store that is not there or
    /// belongs to no log yet.
    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError>;

    /// Looks whether the store works (imitates a real write, leaves no trace) and what stands in the way.
    async fn check(&self, log: LogIdentity) -> StoreReport;

    /// Empties the store and its positions, whatever log it was filled from, so that the next `open` fills it anew. A writer that
    /// still runs is stale from then on.
    async fn reset(&mut self) -> Result<(), SinkError>;

    /// Changes when the store must be opened anew though nothing failed: somebody wants it emptied, or another worker has emptied
    /// it. Asked for after each `open`, looked at between two batches. `None` = that never happens beside an owner.
    fn reopen(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

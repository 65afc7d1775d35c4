//! A store in memory, with and without a transaction around rows and positions, that refuses poisonous rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tidemark_log::memory::Fault;
use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::json::row_to_json;
use tidemark_sink_core::port::StoreReport;
use tidemark_sink_core::{Applied, RejectedRow, Role, Sink, SinkBatch, SinkError, StorePosition};
use tokio::sync::watch;

use crate::chaos::Chaos;

/// Value of field `a` that this store refuses.
pub(crate) const POISON: &str = "poison";

/// What the store holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) rows: BTreeMap<(String, String), (u64, bool, Value)>,
    positions: BTreeMap<(String, u32), u64>,
}

impl Content {
    /// Where it stands on a partition of an entity's states.
    pub(crate) fn stands(&self, entity: &str, partition: u32) -> u64 {
        self.positions.get(&(entity.to_owned(), partition)).copied().unwrap_or(0)
    }
}

/// What a test puts in the way of a store.
#[async_trait]
pub(crate) trait Hindrance: Send + Sync {
    /// Before the store is opened; what it says is the store's answer.
    fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Before a batch is applied, as long as it likes.
    async fn apply(&mut self) {}

    /// Rows that the store refuses.
    fn refuse(&mut self, _batch: &SinkBatch) -> Vec<RejectedRow> {
        Vec::new()
    }

    /// Whether the store says that it is being filled.
    fn is_filling(&self) -> bool {
        false
    }

    /// Changes when the store is to be opened anew.
    fn reopen(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Whether the store says that it went back.
    fn went_back(&self) -> bool {
        false
    }

    /// When the store's partitions are given back.
    fn release(&mut self) {}
}

/// Nothing in the way.
struct Free;

impl Hindrance for Free {}

/// One of several sinks over the same content.
pub(crate) struct MemorySink {
    role: Role,
    content: Arc<Mutex<Content>>,
    chaos: Arc<Chaos>,
    hindrance: Box<dyn Hindrance>,
}

impl MemorySink {
    pub(crate) fn new(role: Role, content: &Arc<Mutex<Content>>, chaos: &Arc<Chaos>) -> Self {
        Self { role, content: Arc::clone(content), chaos: Arc::clone(chaos), hindrance: Box::new(Free) }
    }

    pub(crate) fn hindered(self, by: impl Hindrance + 'static) -> Self {
        Self { hindrance: Box::new(by), ..self }
    }

    /// The graph refuses poison; the vector store has no transaction.
    fn refused(&self, batch: &SinkBatch) -> Vec<RejectedRow> {
        let Ok((rows, _)) = batch.collapse() else { return Vec::new() };
        let poisonous = rows
            .into_iter()
            .filter(|row| self.role == Role::Graph && row.state.row.iter().any(|cell| cell.as_text() == Some(POISON)));
        let refuse = |row: tidemark_sink_core::SinkRow<'_>| RejectedRow {
            entity: batch.parts[row.part].entity.name.clone(),
            position: (batch.parts[row.part].partition, row.offset),
            key: row.state.key.to_string(),
            reason: "poison".to_owned(),
            detail: "not to this store's taste".to_owned(),
        };
        poisonous.map(refuse).collect()
    }

    fn write(&self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let mut content = self.content.lock().unwrap();
        for part in &batch.parts {
            let stands = content.positions.get(&(part.entity.name.clone(), part.partition)).copied().unwrap_or(0);
            if stands != part.from {
                return Err(SinkError::Stale(format!("{}/{}: {stands} is not {}", part.entity.name, part.partition, part.from)));
            }
        }
        let (rows, skipped) = batch.collapse().map_err(SinkError::Rejected)?;
        let mut applied = Applied { written: 0, skipped };
        for row in rows {
            let entity = &batch.parts[row.part].entity;
            let key = (entity.name.clone(), row.state.key.to_string());
            if content.rows.get(&key).is_some_and(|(version, ..)| *version >= row.state.version) {
                applied.skipped += 1;
                continue;
            }
            let value = row_to_json(&entity.record, &row.state.row);
            content.rows.insert(key, (row.state.version, row.state.deleted, value));
            applied.written += 1;
        }
        Ok(applied)
    }

    fn keep_positions(&self, batch: &SinkBatch) {
        let mut content = self.content.lock().unwrap();
        for part in &batch.parts {
            content.positions.insert((part.entity.name.clone(), part.partition), part.next);
        }
    }

    fn unavailable(&self) -> SinkError {
        SinkError::Unavailable { step: format!("writing to {}", self.role.name()), cause: "injected fault".into() }
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn role(&self) -> Role {
        self.role
    }

    async fn open(&mut self, _log: LogIdentity, _share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.hindrance.open()?;
        if self.chaos.fault(&format!("open {}", self.role.name())) != Fault::None {
            return Err(self.unavailable());
        }
        self.positions().await
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        self.hindrance.apply().await;
        self.chaos.delay().await;
        let fault = self.chaos.fault(&format!("apply {} {}", self.role.name(), batch.len()));
        if fault == Fault::Before {
            return Err(self.unavailable());
        }
        let mut refused = self.refused(batch);
        refused.extend(self.hindrance.refuse(batch));
        if !refused.is_empty() {
            return Err(SinkError::Rejected(refused));
        }
        let applied = self.write(batch)?;
        if self.role == Role::Vector {
            // No transaction: rows and positions come apart when it is cut short here.
            self.chaos.delay().await;
        }
        if self.role == Role::Vector && fault == Fault::After && self.chaos.with(|random| random.percent(50)) {
            return Err(self.unavailable());
        }
        self.keep_positions(batch);
        self.chaos.delay().await;
        if fault == Fault::After { Err(self.unavailable()) } else { Ok(applied) }
    }

    fn is_filling(&self) -> bool {
        self.hindrance.is_filling()
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let content = self.content.lock().unwrap();
        let position = |((entity, partition), next): (&(String, u32), &u64)| StorePosition {
            entity: entity.clone(),
            partition: *partition,
            next: *next,
        };
        Ok(content.positions.iter().map(position).collect())
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        Ok(None)
    }

    async fn check(&self, _log: LogIdentity) -> StoreReport {
        StoreReport { summary: String::new(), problems: Vec::new() }
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        *self.content.lock().unwrap() = Content::default();
        Ok(())
    }

    fn reopen(&self) -> Option<watch::Receiver<u64>> {
        self.hindrance.reopen()
    }

    fn went_back(&self) -> bool {
        self.hindrance.went_back()
    }

    async fn release(&mut self) -> Result<(), SinkError> {
        self.hindrance.release();
        Ok(())
    }
}

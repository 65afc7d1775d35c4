//! The sink over one schema: opening, applying, and the looks beside a running owner.
//!
//! The connections are taken out for the time of a call and put back when it went well. So a call that failed, or was cut off,
//! leaves none behind that is in the middle of something; the server rolls back when its end is gone, and the next open waits
//! for that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, StorePosition, StoreReport};

use crate::apply::{self, Standing};
use crate::connection::{Connection, Server};
use crate::failure::Failure;
use crate::filling::{Filling, make_index};
use crate::migrate::Inventory;
use crate::options::PostgresOptions;
use crate::table::Table;
use crate::{bisect, check, ddl, meta, migrate, partitions, poison, reset};

/// The sink.
pub(crate) struct PostgresSink {
    server: Server,
    catalog: Arc<Catalog>,
    tables: BTreeMap<String, Table>,
    open: Option<Open>,
}

/// What is held between two batches.
struct Open {
    first: Connection,
    second: Option<Connection>,
    standing: Standing,
    /// Names of the list partitions that are there.
    partitions: BTreeSet<String>,
    filling: Filling,
}

impl PostgresSink {
    pub(crate) fn new(options: PostgresOptions, catalog: Arc<Catalog>) -> Self {
        let tables = catalog.entities().iter().map(|entity| (entity.name.clone(), Table::new(entity))).collect();
        Self { server: Server { options }, catalog, tables, open: None }
    }

    fn fingerprints(&self) -> Vec<(String, u64)> {
        self.tables.values().map(Table::entity).map(|entity| (entity.name.clone(), meta::fingerprint(entity))).collect()
    }

    async fn try_open(&self, log: LogIdentity, share: &Share) -> Result<(Open, Vec<StorePosition>), Failure> {
        let (place, schema) = (self.server.place(), &self.server.options.schema);
        let mut first = self.server.connect().await?;
        check::fitness(&mut first, &place).await?;
        first.run("BEGIN ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
        migrate::lock(&mut first, schema).await?;
        migrate::make_schema(&mut first, schema).await?;
        meta::bind(&mut first, &place, log).await?;
        // Before the tables are touched: from here on nobody else writes to this share.
        let epoch = meta::raise_epoch(&mut first, share).await?;
        let grown = migrate::migrate(&mut first, &place, &self.catalog, self.tables.values()).await?;
        meta::own(&mut first, self.tables.keys().map(String::as_str)).await?;
        meta::derive(&mut first, &self.fingerprints(), &grown, share).await?;
        let standings = meta::positions(&mut first).await?;
        let partitions = partitions::known(&mut first).await?;
        let inventory = Inventory::read(&mut first).await?;
        first.run("COMMIT".to_owned()).await?;
        let filling = Filling::new(self.make_indexes(&mut first, &inventory).await?);
        let second = if self.server.options.lanes > 1 { Some(self.server.connect().await?) } else { None };
        let held = standings.into_iter().filter(|standing| share.holds(standing.position.partition));
        let (mut refresh_until, mut positions) = (BTreeMap::new(), Vec::new());
        for meta::Standing { position, refresh_until: until } in held {
            refresh_until.insert((position.entity.clone(), position.partition), until);
            positions.push(position);
        }
        let standing = Standing { place, share: share.clone(), epoch, refresh_until };
        Ok((Open { first, second, standing, partitions, filling }, positions))
    }

    /// Makes the indexes that are missing. Those of an empty table are returned instead: its first fill does better without.
    async fn make_indexes(&self, connection: &mut Connection, inventory: &Inventory) -> Result<VecDeque<String>, Failure> {
        let mut postponed = VecDeque::new();
        for table in self.tables.values() {
            let missing = ddl::indexes(table.entity()).into_iter().filter(|(name, _)| !inventory.has_index(name));
            let statements: Vec<String> = missing.map(|(_, statement)| statement).collect();
            if statements.is_empty() {
                continue;
            }
            if table.is_empty(connection).await? {
                postponed.extend(statements);
                continue;
            }
            for statement in &statements {
                make_index(connection, statement).await?;
            }
        }
        Ok(postponed)
    }

    /// Writes the batch, or finds which of its rows the server refuses.
    async fn try_apply(&self, open: &mut Open, batch: &SinkBatch) -> Result<Applied, Failure> {
        if batch.parts.is_empty() {
            return Ok(Applied::default());
        }
        let (mut rows, skipped) = batch.collapse_where(|entity| self.keeps(entity)).map_err(SinkError::Rejected)?;
        let poisoned = poison::look(batch, &rows);
        if !poisoned.is_empty() {
            return Err(SinkError::Rejected(poisoned).into());
        }
        let chunks = open.standing.chunks(&self.tables, batch, &mut rows);
        let schema = &self.server.options.schema;
        for chunk in &chunks {
            partitions::make_missing(&mut open.first, schema, &mut open.partitions, chunk.table, chunk.rows).await?;
        }
        let written = apply::write(&mut open.first, open.second.as_mut(), &open.standing, &chunks, &batch.parts).await;
        let written = match written {
            Ok(written) => written,
            Err(failure) => {
                let Some(problem) = failure.of_data() else { return Err(failure) };
                if let Some(second) = &mut open.second {
                    second.rollback().await?;
                }
                let refused = bisect::refused(&mut open.first, batch, &chunks).await?;
                if refused.is_empty() {
                    let step = format!("writing {}", open.standing.place);
                    let cause = format!("{problem}; tried again, every row was taken").into();
                    return Err(SinkError::Unavailable { step, cause }.into());
                }
                return Err(SinkError::Rejected(refused).into());
            }
        };
        for part in &batch.parts {
            open.standing.refresh_until.entry((part.entity.name.clone(), part.partition)).or_insert(0);
        }
        Ok(Applied { written, skipped: skipped + rows.len() as u64 - written })
    }

    fn keeps(&self, entity: &Entity) -> bool {
        self.tables.contains_key(&entity.name)
    }

    fn classified(&self, failure: Failure, step: &str) -> SinkError {
        failure.classify(&self.server.place(), step)
    }

    async fn try_reset(&self) -> Result<(), Failure> {
        let mut connection = self.server.connect().await?;
        let tables: Vec<&Table> = self.tables.values().collect();
        reset::reset(&mut connection, &self.server.options.schema, &tables).await
    }
}

#[async_trait]
impl Sink for PostgresSink {
    fn role(&self) -> Role {
        Role::Relational
    }

    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        // Closed first: a transaction that was cut off must not be waited for longer than the server needs to notice.
        self.open = None;
        let opened = self.try_open(log, share).await;
        let (open, positions) = opened.map_err(|failure| self.classified(failure, "opening"))?;
        self.open = Some(open);
        Ok(positions)
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let Some(mut open) = self.open.take() else {
            return Err(SinkError::Unavailable {
                step: format!("writing {}", self.server.place()),
                cause: "the store is not open".into(),
            });
        };
        open.filling.interrupt().await;
        let outcome = self.try_apply(&mut open, batch).await.map_err(|failure| self.classified(failure, "writing"));
        if matches!(outcome, Ok(_) | Err(SinkError::Rejected(_))) {
            open.filling.filled(batch.len(), &self.server);
            self.open = Some(open);
        }
        outcome
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        check::positions(&self.server).await.map_err(|failure| self.classified(failure, "reading"))
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        check::filled_from(&self.server).await.map_err(|failure| self.classified(failure, "reading"))
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        check::report(&self.server, &self.tables, log).await
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        self.try_reset().await.map_err(|failure| self.classified(failure, "emptying"))
    }
}

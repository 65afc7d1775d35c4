//! One batch into the tables.
//!
//! A small batch is one transaction on one connection: the epoch is locked and checked, the rows are written behind their gate,
//! the positions move, commit. A large one is written by two connections side by side, each half of every entity's keys. The
//! second commits its rows first, the first one then moves the positions with its own. In between, rows are ahead of the
//! position, which harms nothing: they are whole and gated, and are only written again if the first fails. Both hold the
//! epoch's lock, so nothing of a superseded worker comes after its successor's open.
//!
//! The second connection takes all its locks before the first begins, and never waits for it: a change of a table that comes in
//! between waits for the batch, not the batch for itself.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_log::{Share, crash};
use tidemark_sink_core::{SinkBatch, SinkRow, TopicBatch};

use crate::connection::Connection;
use crate::ddl::quoted_list;
use crate::failure::Failure;
use crate::meta;
use crate::table::{Gate, Table};

/// Fewer rows are not worth a second connection: its own round trips cost as much as they save.
const TWO_LANES_ROWS_MIN: usize = 1_000;
/// Rows of one statement: more gain nothing and cost the server memory.
const CHUNK_ROWS_MAX: usize = 5_000;

/// What a writer knows since it opened the store.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) place: String,
    pub(crate) share: Share,
    pub(crate) epoch: i64,
    /// (entity, partition) → up to where it is being refreshed; those that stand nowhere yet are missing.
    pub(crate) refresh_until: BTreeMap<(String, u32), u64>,
}

/// Rows of one entity for one statement.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'r, 'b> {
    pub(crate) table: &'r Table,
    pub(crate) gate: Gate,
    pub(crate) rows: &'r [SinkRow<'b>],
}

impl Standing {
    /// Which rows of a part pass.
    fn gate(&self, part: &TopicBatch) -> Gate {
        let until = self.refresh_until.get(&(part.entity.name.clone(), part.partition));
        if until.is_some_and(|until| part.from < *until) { Gate::NotOlder } else { Gate::Newer }
    }

    /// The rows of a batch, by entity and gate.
    pub(crate) fn chunks<'r, 'b>(
        &self,
        tables: &'r BTreeMap<String, Table>,
        batch: &SinkBatch,
        rows: &'r mut [SinkRow<'b>],
    ) -> Vec<Chunk<'r, 'b>> {
        let first_of = |entity: &str| batch.parts.iter().position(|part| part.entity.name == entity);
        let groups: Vec<_> = batch.parts.iter().map(|part| (first_of(&part.entity.name), self.gate(part))).collect();
        // Stable: the keys of each group stay in order.
        rows.sort_by_key(|row| groups[row.part]);
        let alike = rows.chunk_by(|one, other| groups[one.part] == groups[other.part]);
        let chunk = |rows: &'r [SinkRow<'b>]| {
            let part = rows[0].part;
            Some(Chunk { table: tables.get(&batch.parts[part].entity.name)?, gate: groups[part].1, rows })
        };
        alike.filter_map(chunk).collect()
    }
}

/// Writes the chunks and moves the positions of all parts; returns how many rows were written.
pub(crate) async fn write(
    first: &mut Connection,
    second: Option<&mut Connection>,
    standing: &Standing,
    chunks: &[Chunk<'_, '_>],
    parts: &[TopicBatch],
) -> Result<u64, Failure> {
    let guard = Guard::new(standing, parts);
    let rows: usize = chunks.iter().map(|chunk| chunk.rows.len()).sum();
    let written = match second {
        Some(second) if rows >= TWO_LANES_ROWS_MIN => {
            let halves: Vec<_> = chunks.iter().map(|chunk| chunk.rows.split_at(chunk.rows.len() / 2)).collect();
            let lower: Vec<_> = chunks.iter().zip(&halves).map(|(chunk, half)| Chunk { rows: half.0, ..*chunk }).collect();
            let upper: Vec<_> = chunks.iter().zip(&halves).map(|(chunk, half)| Chunk { rows: half.1, ..*chunk }).collect();
            guard.begin_beside(second, &upper).await?;
            let beside = async {
                let written = write_chunks(second, &upper).await?;
                second.run("COMMIT".to_owned()).await?;
                Ok::<u64, Failure>(written)
            };
            let own = async {
                guard.begin(first).await?;
                write_chunks(first, &lower).await
            };
            let (own, beside) = futures::join!(own, beside);
            own? + beside?
        }
        _ => {
            guard.begin(first).await?;
            write_chunks(first, chunks).await?
        }
    };
    let is_known = |part: &TopicBatch| standing.refresh_until.contains_key(&(part.entity.name.clone(), part.partition));
    meta::move_positions(first, &standing.place, parts, is_known).await?;
    crash::point("postgres.before-commit");
    first.run("COMMIT".to_owned()).await?;
    crash::point("postgres.after-commit");
    Ok(written)
}

async fn write_chunks(connection: &mut Connection, chunks: &[Chunk<'_, '_>]) -> Result<u64, Failure> {
    let mut written = 0;
    for chunk in chunks {
        for rows in chunk.rows.chunks(CHUNK_ROWS_MAX) {
            written += chunk.table.upsert(connection, rows, chunk.gate).await?;
        }
    }
    Ok(written)
}

/// How a transaction of a batch begins.
struct Guard<'s> {
    standing: &'s Standing,
    sql: String,
    expected: usize,
}

impl<'s> Guard<'s> {
    fn new(standing: &'s Standing, parts: &[TopicBatch]) -> Self {
        let partitions: BTreeSet<u32> = parts.iter().map(|part| part.partition).collect();
        let (sql, expected) = meta::guard(&standing.share, &partitions);
        Self { standing, sql, expected }
    }

    async fn begin(&self, connection: &mut Connection) -> Result<(), Failure> {
        self.begin_with(connection, "").await
    }

    /// The same for the transaction beside, with all its locks. It waits for no disk: the commit of the positions, which comes
    /// after, makes it durable too.
    async fn begin_beside(&self, connection: &mut Connection, chunks: &[Chunk<'_, '_>]) -> Result<(), Failure> {
        let tables: BTreeSet<&str> = chunks.iter().map(|chunk| chunk.table.entity().name.as_str()).collect();
        let locks = format!("; SET LOCAL synchronous_commit = off; LOCK TABLE {} IN ROW EXCLUSIVE MODE", quoted_list(tables));
        self.begin_with(connection, &locks).await
    }

    async fn begin_with(&self, connection: &mut Connection, more: &str) -> Result<(), Failure> {
        let rows = connection.rows(format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}{more}", self.sql)).await?;
        meta::expect_epoch(&rows, self.expected, self.standing.epoch, &self.standing.place)
    }
}

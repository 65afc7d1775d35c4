//! The analytics store: a table for each entity, a table of lines for each list of records, and views over them.
//!
//! Facts and dimensions are the entities' own tables. A list of records (the lines of an order) is a table of its own beside
//! that, named by its item's record (`consumption_line`), one row for each item, replaced whole with its owner and gone when
//! that is deleted. Money is text with its exact digits; the views add it up in whole fen.

mod lines;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::sql::quoted;
use tidemark_sink_core::{Role, SinkBatch, SinkRow};

use crate::failure::Failure;
use crate::owned::{self, Owned};
use crate::store::Adapter;
use crate::table::{self, Table};
use lines::Lines;

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// The statements that make an entity's tables: what a bare writer needs to compare itself with this store.
pub fn ddl(catalog: &Catalog, entity: &Entity) -> Vec<String> {
    let lines = lines::of(catalog, entity);
    std::iter::once(table::ddl(entity)).chain(lines.iter().map(Lines::ddl)).collect()
}

/// The adapter.
#[derive(Debug)]
pub(crate) struct Analytics {
    catalog: Arc<Catalog>,
    facts: BTreeMap<String, Fact>,
    vip_levels: Vec<String>,
    utc_offset: i32,
}

/// An entity's table with those of its lists.
#[derive(Debug)]
struct Fact {
    table: Table,
    lines: Vec<Lines>,
    stored_version: String,
}

impl Analytics {
    pub(crate) fn new(catalog: Arc<Catalog>, vip_levels: Vec<String>, utc_offset: i32) -> Self {
        let fact = |entity: &Arc<Entity>| Fact {
            table: Table::new(entity),
            lines: lines::of(&catalog, entity),
            stored_version: format!("SELECT version FROM {} WHERE \"key\" = ?", quoted(&entity.name)),
        };
        let facts = catalog.entities().iter().map(|entity| (entity.name.clone(), fact(entity))).collect();
        Self { catalog, facts, vip_levels, utc_offset }
    }
}

impl Adapter for Analytics {
    fn role(&self) -> Role {
        Role::Analytics
    }

    fn keeps(&self, entity: &str) -> bool {
        self.facts.contains_key(entity)
    }

    fn fingerprints(&self) -> Vec<(String, u64)> {
        self.facts.values().map(|fact| (fact.table.entity().name.clone(), fact.table.entity().derivation ^ FORMAT)).collect()
    }

    fn create(&self, connection: &Connection) -> Result<(), Failure> {
        for fact in self.facts.values() {
            fact.table.create(connection)?;
            for lines in &fact.lines {
                lines.create(connection)?;
            }
        }
        views::create(connection, &self.catalog, &self.vip_levels, self.utc_offset)?;
        Ok(())
    }

    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure> {
        let Some(fact) = rows.first().and_then(|row| self.facts.get(&batch.parts[row.part].entity.name)) else { return Ok(0) };
        if fact.lines.is_empty() {
            return Ok(fact.table.upsert(connection, rows, refreshing)? as u64);
        }
        Ok(owned::write(fact, connection, rows, refreshing)?)
    }

    fn tables(&self) -> Vec<String> {
        let lines = self.facts.values().flat_map(|fact| fact.lines.iter().map(|lines| lines.table().to_owned()));
        self.facts.keys().cloned().chain(lines).collect()
    }
}

impl Owned for Fact {
    fn insert(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<usize, rusqlite::Error> {
        self.table.insert().run(connection, rows, |binder, row| self.table.bind(binder, row))
    }

    fn stored_version(&self, connection: &Connection, row: &SinkRow<'_>) -> Result<Option<i64>, rusqlite::Error> {
        connection.prepare_cached(&self.stored_version)?.query_row([row.state.key.as_ref()], |row| row.get(0)).optional()
    }

    fn replace(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        self.table.replace(connection, rows).map(|_| ())
    }

    fn replace_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        for lines in &self.lines {
            rows.iter().try_for_each(|row| lines.remove(connection, row))?;
            lines.insert(connection, rows)?;
        }
        Ok(())
    }

    fn insert_owned(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        self.lines.iter().try_for_each(|lines| lines.insert(connection, rows))
    }
}

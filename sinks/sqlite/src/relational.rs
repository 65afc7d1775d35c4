//! The relational store: a table for each entity, an index for each reference, and a view of the references that lead nowhere.
//!
//! References are not enforced: an order may arrive before its customer. `dangling_reference` shows those whose target is
//! missing or deleted, also from inside lists.
//!
//! An empty store is filled without its indexes, which are built when it has caught up (`filling.rs` says why).

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::references::{DANGLING_REFERENCE, Dialect, dangling_select, index_name, indexed_columns};
use tidemark_sink_core::sql::{literal, quoted};
use tidemark_sink_core::{Role, SinkBatch, SinkRow};

use crate::failure::Failure;
use crate::store::Adapter;
use crate::table::{self, Table};

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// The statements that make an entity's table and its indexes: what a bare writer needs to compare itself with this store.
pub fn ddl(entity: &Entity) -> Vec<String> {
    std::iter::once(table::ddl(entity)).chain(index_ddl(entity)).collect()
}

fn index_ddl(entity: &Entity) -> impl Iterator<Item = String> {
    indexed_columns(entity).into_iter().map(|column| {
        let (index, table) = (quoted(&index_name(entity, column)), quoted(&entity.name));
        format!("CREATE INDEX IF NOT EXISTS {index} ON {table}({})", quoted(column))
    })
}

/// Names of the columns of an entity's table, in order.
pub fn columns(entity: &Entity) -> Vec<String> {
    table::names(entity).map(str::to_owned).collect()
}

/// The statement that makes the view of dangling references.
pub fn dangling_reference_ddl(catalog: &Catalog) -> String {
    let dialect = Dialect {
        text: str::to_owned,
        rows_of_list: "json_each",
        field_of_line: |name| format!("line.value ->> {}", literal(&format!("$.{}", quoted(name)))),
    };
    format!("CREATE VIEW {DANGLING_REFERENCE} AS\n{}", dangling_select(catalog, dialect))
}

/// The adapter.
#[derive(Debug)]
pub(crate) struct Relational {
    catalog: Arc<Catalog>,
    tables: BTreeMap<String, Table>,
}

impl Relational {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        let tables = catalog.entities().iter().map(|entity| (entity.name.clone(), Table::new(entity))).collect();
        Self { catalog, tables }
    }
}

impl Adapter for Relational {
    fn role(&self) -> Role {
        Role::Relational
    }

    fn keeps(&self, entity: &str) -> bool {
        self.tables.contains_key(entity)
    }

    fn fingerprints(&self) -> Vec<(String, u64)> {
        self.tables.values().map(|table| (table.entity().name.clone(), table.entity().derivation ^ FORMAT)).collect()
    }

    fn create(&self, connection: &Connection) -> Result<(), Failure> {
        for table in self.tables.values() {
            table.create(connection)?;
        }
        if self.catalog.entity(DANGLING_REFERENCE).is_none() {
            connection.execute_batch(&format!("DROP VIEW IF EXISTS {DANGLING_REFERENCE}"))?;
            connection.execute_batch(&dangling_reference_ddl(&self.catalog))?;
        }
        Ok(())
    }

    fn write(&self, connection: &Connection, batch: &SinkBatch, rows: &[SinkRow<'_>], refreshing: bool) -> Result<u64, Failure> {
        let Some(table) = rows.first().and_then(|row| self.tables.get(&batch.parts[row.part].entity.name)) else { return Ok(0) };
        Ok(table.upsert(connection, rows, refreshing)? as u64)
    }

    fn postponed(&self) -> Vec<String> {
        self.tables.values().flat_map(|table| index_ddl(table.entity())).collect()
    }

    fn tables(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }
}

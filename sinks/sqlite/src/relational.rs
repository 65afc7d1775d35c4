//! The relational store: a table for each entity, an index for each reference, and a view of the references that lead nowhere.
//!
//! References are not enforced: an order may arrive before its customer. `dangling_reference` shows those whose target is
//! missing or deleted, also from inside lists.
//!
//! An empty store is filled without its indexes, which are built when it has caught up: in one sorted pass each, a third of
//! what keeping them along would cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::references::{Pointer, indexed_columns, pointers};
use tidemark_sink_core::{Role, SinkBatch, SinkRow};

use crate::failure::Failure;
use crate::statement::{literal, quoted};
use crate::store::Adapter;
use crate::table::{self, Table};

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// Name of the view of references without a target.
pub const DANGLING_REFERENCE: &str = "dangling_reference";

/// The statements that make an entity's table and its indexes: what a bare writer needs to compare itself with this store.
pub fn ddl(entity: &Entity) -> Vec<String> {
    std::iter::once(table::ddl(entity)).chain(index_ddl(entity)).collect()
}

fn index_ddl(entity: &Entity) -> impl Iterator<Item = String> {
    indexed_columns(entity).into_iter().map(|column| {
        let (index, table) = (quoted(&format!("{}_{column}", entity.name)), quoted(&entity.name));
        format!("CREATE INDEX IF NOT EXISTS {index} ON {table}({})", quoted(column))
    })
}

/// Names of the columns of an entity's table, in order.
pub fn columns(entity: &Entity) -> Vec<String> {
    table::names(entity).map(str::to_owned).collect()
}

/// The statement that makes the view of dangling references.
pub fn dangling_reference_ddl(catalog: &Catalog) -> String {
    let mut selects: Vec<String> = pointers(catalog).iter().map(dangling_select).collect();
    if selects.is_empty() {
        selects.push(
            "SELECT NULL AS entity, NULL AS key, NULL AS field, NULL AS target_entity, NULL AS target_key WHERE 0".to_owned(),
        );
    }
    format!("CREATE VIEW {DANGLING_REFERENCE} AS\n{}", selects.join("\nUNION ALL\n"))
}

fn dangling_select(pointer: &Pointer<'_>) -> String {
    let table = quoted(&pointer.entity.name);
    let column = |name: &str| format!("t.{}", quoted(name));
    let of_item = |name: &str| format!("line.value ->> {}", literal(&format!("$.{}", quoted(name))));
    let condition = pointer.condition.as_ref();
    let (value, source, by) = match pointer.item {
        None => (column(pointer.column), format!("{table} AS t"), condition.map(|(name, value)| (column(name), value))),
        Some(item) => {
            let source = format!("{table} AS t, json_each({}) AS line", column(pointer.column));
            (of_item(item), source, condition.map(|(name, value)| (of_item(name), value)))
        }
    };
    // A target's key is the value with `\` before what would part a composite key.
    let key = format!("replace(replace({value}, '\\', '\\\\'), '|', '\\|')");
    let condition = by.map_or_else(String::new, |(by, value)| format!(" AND {by} = {}", literal(value)));
    format!(
        "SELECT {} AS entity, t.\"key\" AS key, {} AS field, {} AS target_entity, {key} AS target_key\n  FROM {source}\n  \
         WHERE t.\"deleted_at\" IS NULL AND {value} IS NOT NULL{condition}\n    \
         AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE r.\"key\" = {key} AND r.\"deleted_at\" IS NULL)",
        literal(&pointer.entity.name),
        literal(&pointer.field()),
        literal(pointer.target),
        quoted(pointer.target)
    )
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

    fn is_empty(&self, connection: &Connection) -> Result<bool, Failure> {
        for table in self.tables.values() {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.entity().name));
            if connection.query_row(&sql, [], |row| row.get(0))? {
                return Ok(false);
            }
        }
        Ok(true)
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

//! The table of a list of records: one row for each item.
//!
//! `key` (the owner's), `position` (from 1, in the list's order), `version` and `tenant` (the owner's), then the item's fields;
//! a field with one of these names becomes `item_<name>`.

use rusqlite::Connection;
use tidemark_schemas::entity::{FieldPath, FieldType};
use tidemark_schemas::{Catalog, Cell, Entity};
use tidemark_sink_core::SinkRow;
use tidemark_sink_core::sql::quoted;

use crate::statement::{Binder, INSERT, Ladder, insert_or_replace, quoted_list, sql_type};
use crate::table::add_missing;

const COMMON: [&str; 4] = ["key", "position", "version", "tenant"];

/// One such table.
#[derive(Debug)]
pub(super) struct Lines {
    table: String,
    /// Where the list stands in its owner's row.
    path: FieldPath,
    /// Column names and types, in the order of the insert.
    columns: Vec<(String, &'static str)>,
    insert: Ladder,
    replace: Ladder,
    remove: String,
}

/// The tables of an entity's lists of records.
pub(super) fn of(catalog: &Catalog, entity: &Entity) -> Vec<Lines> {
    let mut lines = Vec::new();
    for (column, item) in entity.lists() {
        let table = catalog.list_name(entity, column, item);
        let columns = item.fields.iter().map(|field| {
            let name = if COMMON.contains(&field.name.as_str()) { format!("item_{}", field.name) } else { field.name.clone() };
            (name, sql_type(&field.kind))
        });
        lines.push(Lines::new(table, column.path.clone(), columns.collect()));
    }
    lines
}

impl Lines {
    fn new(table: String, path: FieldPath, columns: Vec<(String, &'static str)>) -> Self {
        let names: Vec<&str> = COMMON.into_iter().chain(columns.iter().map(|(name, _)| name.as_str())).collect();
        let into = format!("INTO {}({})", quoted(&table), quoted_list(names.iter().copied()));
        let tail = "ON CONFLICT(\"key\", \"position\") DO NOTHING";
        let insert = Ladder::insert(&format!("{INSERT} {into}"), names.len(), tail);
        let replace = Ladder::insert(&format!("INSERT OR REPLACE {into}"), names.len(), "");
        let remove = format!("DELETE FROM {} WHERE \"key\" = ?", quoted(&table));
        Self { table, path, columns, insert, replace, remove }
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    pub(super) fn ddl(&self) -> String {
        let fields: Vec<String> = self.columns.iter().map(|(name, kind)| format!("  {} {kind},\n", quoted(name))).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {}(\n  \"key\" TEXT NOT NULL,\n  \"position\" INTEGER NOT NULL,\n  \
             \"version\" INTEGER NOT NULL,\n  \"tenant\" TEXT,\n{}  PRIMARY KEY(\"key\", \"position\")\n) WITHOUT ROWID",
            quoted(&self.table),
            fields.concat()
        )
    }

    pub(super) fn create(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch(&self.ddl())?;
        add_missing(connection, &self.table, self.columns.iter().map(|(name, kind)| (name.as_str(), *kind)))
    }

    pub(super) fn remove(&self, connection: &Connection, row: &SinkRow<'_>) -> Result<(), rusqlite::Error> {
        connection.prepare_cached(&self.remove)?.execute([row.state.key.as_ref()]).map(|_| ())
    }

    /// Inserts the lines of live rows.
    pub(super) fn insert(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<(), rusqlite::Error> {
        let mut lines: Vec<(&SinkRow<'_>, i64, &[Cell<'_>])> = Vec::with_capacity(rows.len());
        for &row in rows.iter().filter(|row| !row.state.deleted) {
            let Cell::Array(items) = self.path.get(&row.state.row) else { continue };
            for (position, item) in (1..).zip(items) {
                if let Cell::Record(cells) = item {
                    lines.push((row, position, cells));
                }
            }
        }
        let bind = |binder: &mut Binder<'_, '_>, (owner, position, cells): &(&SinkRow<'_>, i64, &[Cell<'_>])| {
            binder.value(owner.state.key.as_ref())?;
            binder.value(position)?;
            binder.value(owner.state.version.cast_signed())?;
            binder.value(owner.state.tenant.as_deref())?;
            cells.iter().try_for_each(|cell| binder.cell(&FieldType::Bool, cell))
        };
        insert_or_replace(&self.insert, &self.replace, connection, &lines, bind)
    }
}

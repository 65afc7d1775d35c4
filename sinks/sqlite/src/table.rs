//! The table of an entity: a column for each flattened field, behind those that every table has.
//!
//! `key`, `version`, `tenant`, `deleted_at`, `changed_at`, then the fields. A deleted record keeps its row, marked; what a
//! schema no longer names keeps its column, empty in new rows. A field that is added adds a column; one whose type changed
//! keeps the old column, since SQLite's columns take any type.

use std::sync::Arc;

use rusqlite::Connection;
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_schemas::{Cell, Entity};
use tidemark_sink_core::SinkRow;

use crate::statement::{Binder, Ladder, excluded_list, quoted, quoted_list, sql_type};

/// What every table has, with its definition.
const COMMON: [(&str, &str); 5] = [
    ("key", "TEXT PRIMARY KEY NOT NULL"),
    ("version", "INTEGER NOT NULL"),
    ("tenant", "TEXT"),
    ("deleted_at", "TEXT"),
    ("changed_at", "TEXT NOT NULL"),
];

/// A table bound to its entity.
#[derive(Debug)]
pub(crate) struct Table {
    entity: Arc<Entity>,
    insert: Ladder,
    newer: Ladder,
    not_older: Ladder,
}

impl Table {
    pub(crate) fn new(entity: &Arc<Entity>) -> Self {
        let names: Vec<&str> = names(entity).collect();
        let table = quoted(&entity.name);
        let head = format!("INSERT INTO {table}({})", quoted_list(names.iter().copied()));
        let sets = excluded_list(names[1..].iter().copied());
        let upsert = |gate: &str| {
            let tail = format!("ON CONFLICT(\"key\") DO UPDATE SET {sets} WHERE excluded.\"version\" {gate} {table}.\"version\"");
            Ladder::insert(&head, names.len(), &tail)
        };
        Self {
            entity: Arc::clone(entity),
            insert: Ladder::insert(&head, names.len(), "ON CONFLICT(\"key\") DO NOTHING"),
            newer: upsert(">"),
            not_older: upsert(">="),
        }
    }

    pub(crate) fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// The upsert behind the version gate.
    pub(crate) fn upsert(&self, refreshing: bool) -> &Ladder {
        if refreshing { &self.not_older } else { &self.newer }
    }

    /// Inserts rows whose keys are not there.
    pub(crate) fn insert(&self) -> &Ladder {
        &self.insert
    }

    /// Binds a row's values in the order of the statements' columns.
    pub(crate) fn bind(&self, binder: &mut Binder<'_, '_>, row: &SinkRow<'_>) -> Result<(), rusqlite::Error> {
        let state = &row.state;
        binder.value(state.key.as_ref())?;
        binder.value(state.version.cast_signed())?;
        binder.value(state.tenant.as_deref())?;
        binder.moment(state.deleted.then_some(state.changed_at))?;
        binder.moment(Some(state.changed_at))?;
        for column in &self.entity.columns {
            match column.path.get(&state.row) {
                // Only a list's text depends on its type; a decimal bears its field's scale.
                list @ Cell::Array(_) => binder.cell(&self.entity.field(column.number).kind, list)?,
                cell => binder.cell(&FieldType::Bool, cell)?,
            }
        }
        Ok(())
    }

    /// Makes the table, or adds the columns that it lacks.
    pub(crate) fn create(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch(&ddl(&self.entity))?;
        add_missing(connection, &self.entity.name, self.entity.columns.iter().map(|column| definition(&self.entity, column)))
    }
}

/// Adds the columns (name, type) that the table lacks.
pub(crate) fn add_missing<'c>(
    connection: &Connection,
    table: &str,
    columns: impl IntoIterator<Item = (&'c str, &'c str)>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
    let known = statement.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    for (name, kind) in columns {
        // SQLite's names are equal whatever their case.
        if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            connection.execute(&format!("ALTER TABLE {} ADD COLUMN {} {kind}", quoted(table), quoted(name)), [])?;
        }
    }
    Ok(())
}

/// Names of a table's columns, in order.
pub(crate) fn names(entity: &Entity) -> impl Iterator<Item = &str> {
    COMMON.iter().map(|(name, _)| *name).chain(entity.columns.iter().map(|column| column.name.as_str()))
}

/// The statement that makes an entity's table.
pub(crate) fn ddl(entity: &Entity) -> String {
    let fields = entity.columns.iter().map(|column| definition(entity, column));
    let lines: Vec<String> =
        COMMON.iter().copied().chain(fields).map(|(name, kind)| format!("  {} {kind}", quoted(name))).collect();
    format!("CREATE TABLE IF NOT EXISTS {}(\n{}\n)", quoted(&entity.name), lines.join(",\n"))
}

fn definition<'e>(entity: &Entity, column: &'e Column) -> (&'e str, &'static str) {
    (&column.name, sql_type(&entity.field(column.number).kind))
}

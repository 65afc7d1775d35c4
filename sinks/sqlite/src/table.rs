//! The table of an entity: a column for each flattened field, behind those that every table has.
//!
//! `key`, `version`, `tenant`, `deleted_at`, `changed_at`, then the fields. A deleted record keeps its row, marked; what a
//! schema no longer names keeps its column, empty in new rows. A field that is added adds a column; one whose type changed
//! keeps the old column, since SQLite's columns take any type.

use std::sync::Arc;

use rusqlite::Connection;
use tidemark_schemas::Entity;
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_sink_core::SinkRow;

use crate::statement::{Binder, Ladder, excluded_list, quoted, quoted_list, sql_type};

/// What every table has, with its definition.
pub(crate) const COMMON: [(&str, &str); 5] = [
    ("key", "TEXT PRIMARY KEY NOT NULL"),
    ("version", "INTEGER NOT NULL"),
    ("tenant", "TEXT"),
    ("deleted_at", "TEXT"),
    ("changed_at", "TEXT NOT NULL"),
];

/// Which arrays of records have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// All, as JSON.
    Kept,
    /// None: they are rows of a table of their own.
    Apart,
}

/// A table bound to its entity.
#[derive(Debug)]
pub(crate) struct Table {
    entity: Arc<Entity>,
    /// Indexes of the entity's columns that are this table's.
    columns: Vec<usize>,
    insert: Ladder,
    newer: Ladder,
    not_older: Ladder,
}

impl Table {
    pub(crate) fn new(entity: &Arc<Entity>, lists: Lists) -> Self {
        let columns = kept(entity, lists);
        let names: Vec<&str> = names(entity, &columns).collect();
        let head = format!("INSERT INTO {}({})", quoted(&entity.name), quoted_list(names.iter().copied()));
        let sets = excluded_list(names[1..].iter().copied());
        let table = quoted(&entity.name);
        let upsert = |gate: &str| {
            let tail = format!("ON CONFLICT(\"key\") DO UPDATE SET {sets} WHERE excluded.\"version\" {gate} {table}.\"version\"");
            Ladder::insert(&head, names.len(), &tail)
        };
        Self {
            entity: Arc::clone(entity),
            insert: Ladder::insert(&head, names.len(), "ON CONFLICT(\"key\") DO NOTHING"),
            newer: upsert(">"),
            not_older: upsert(">="),
            columns,
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
        for &index in &self.columns {
            let column = &self.entity.columns[index];
            let cell = column.path.get(&state.row);
            match cell {
                // Only these ask for the field's type.
                tidemark_schemas::Cell::Decimal(_) | tidemark_schemas::Cell::Array(_) => {
                    binder.cell(&self.entity.field(column.number).kind, cell)?;
                }
                _ => binder.cell(&FieldType::Bool, cell)?,
            }
        }
        Ok(())
    }

    /// Makes the table, or adds the columns that it lacks.
    pub(crate) fn create(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch(&ddl(&self.entity, &self.columns))?;
        let columns = self.columns.iter().map(|&index| definition(&self.entity, &self.entity.columns[index]));
        add_missing(connection, &self.entity.name, columns)
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

/// The statement that makes an entity's table.
pub(crate) fn create_statement(entity: &Entity, lists: Lists) -> String {
    ddl(entity, &kept(entity, lists))
}

/// Names of a table's columns, in order.
pub(crate) fn column_names(entity: &Entity, lists: Lists) -> Vec<String> {
    names(entity, &kept(entity, lists)).map(str::to_owned).collect()
}

fn kept(entity: &Entity, lists: Lists) -> Vec<usize> {
    let is_list = |column: &Column| matches!(&entity.field(column.number).kind, FieldType::Array(items) if matches!(**items, FieldType::Record(_)));
    let indexes = (0..entity.columns.len()).filter(|&index| lists == Lists::Kept || !is_list(&entity.columns[index]));
    indexes.collect()
}

fn names<'e>(entity: &'e Entity, columns: &'e [usize]) -> impl Iterator<Item = &'e str> {
    let fields = columns.iter().map(|&index| entity.columns[index].name.as_str());
    COMMON.iter().map(|(name, _)| *name).chain(fields)
}

fn ddl(entity: &Entity, columns: &[usize]) -> String {
    let fields = columns.iter().map(|&index| definition(entity, &entity.columns[index]));
    let lines: Vec<String> =
        COMMON.iter().copied().chain(fields).map(|(name, kind)| format!("  {} {kind}", quoted(name))).collect();
    format!("CREATE TABLE IF NOT EXISTS {}(\n{}\n)", quoted(&entity.name), lines.join(",\n"))
}

fn definition<'e>(entity: &'e Entity, column: &'e Column) -> (&'e str, &'static str) {
    (&column.name, sql_type(&entity.field(column.number).kind))
}

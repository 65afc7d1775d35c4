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
use tidemark_sink_core::references::indexed_columns;
use tidemark_sink_core::sql::quoted;

use crate::statement::{Binder, INSERT, Ladder, NEW_ROWS, ROWS_MAX, excluded_list, quoted_list, sql_type};

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
    /// Leaves the columns of references, and so their indexes, alone: for rows whose references are the stored ones.
    same_references: Ladder,
    newer: Ladder,
    not_older: Ladder,
}

impl Table {
    pub(crate) fn new(entity: &Arc<Entity>) -> Self {
        let names: Vec<&str> = names(entity).collect();
        let table = quoted(&entity.name);
        let into = format!("INTO {table}({})", quoted_list(names.iter().copied()));
        let head = format!("INSERT {into}");
        let upsert = |changed: &dyn Fn(&&str) -> bool, gate: &str, condition: &str| {
            let sets = excluded_list(names[1..].iter().copied().filter(changed));
            let gate = format!("WHERE excluded.\"version\" {gate} {table}.\"version\"{condition}");
            Ladder::insert(&head, names.len(), &format!("ON CONFLICT(\"key\") DO UPDATE SET {sets} {gate}"))
        };
        let indexed = indexed_columns(entity);
        let same: Vec<String> = indexed.iter().map(|name| format!(" AND excluded.{0} IS {table}.{0}", quoted(name))).collect();
        Self {
            entity: Arc::clone(entity),
            insert: Ladder::insert(&format!("{INSERT} {into}"), names.len(), "ON CONFLICT(\"key\") DO NOTHING"),
            same_references: upsert(&|name| !indexed.contains(name), ">", &same.concat()),
            newer: upsert(&|_| true, ">", ""),
            not_older: upsert(&|_| true, ">=", ""),
        }
    }

    pub(crate) fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }

    /// Writes the rows that pass the version gate; returns how many.
    ///
    /// As long as all keys are new, they are inserted and nothing else is done; from the first chunk with a known key on, rows go
    /// through the gate, which those that were inserted just now do not pass, their versions being equal.
    ///
    /// SQLite touches each index whose column is set, whether its value changes or not, and in an update the indexes cost more
    /// than the row: so where there are indexes, first all rows with unchanged references are written without them, then the
    /// rest of the chunk with them.
    pub(crate) fn upsert(
        &self,
        connection: &Connection,
        rows: &[SinkRow<'_>],
        refreshing: bool,
    ) -> Result<usize, rusqlite::Error> {
        if refreshing {
            return self.not_older.run(connection, rows, |binder, row| self.bind(binder, row));
        }
        let mut written = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(NEW_ROWS.min(rest.len()));
            let inserted = self.insert.run(connection, chunk, |binder, row| self.bind(binder, row))?;
            written += inserted;
            if inserted < chunk.len() {
                break;
            }
            rest = others;
        }
        for chunk in rest.chunks(ROWS_MAX) {
            let mut changed = self.same_references.run(connection, chunk, |binder, row| self.bind(binder, row))?;
            if changed < chunk.len() {
                changed += self.newer.run(connection, chunk, |binder, row| self.bind(binder, row))?;
            }
            written += changed;
        }
        Ok(written)
    }

    /// Writes rows that are known to pass the gate.
    pub(crate) fn replace(&self, connection: &Connection, rows: &[&SinkRow<'_>]) -> Result<usize, rusqlite::Error> {
        self.not_older.run(connection, rows, |binder, row| self.bind(binder, row))
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

//! Multi-row statements: one statement for many rows costs SQLite a third less than one for each (measured).
//!
//! A [`Ladder`] holds the same statement for 64, 8 and 1 rows, so that any number of rows is covered by whole statements that
//! are prepared once and stay in the connection's cache. Values are bound borrowed; what must be formatted goes through one
//! reused buffer.

use std::fmt::Write;

use rusqlite::{CachedStatement, Connection, ToSql};
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, json, text};
use tidemark_sink_core::sql::quoted;

/// Rows of the longest statement. Longer ones gain nothing and cost memory: each keeps a program of its length.
pub(crate) const ROWS_MAX: usize = 64;
const ROWS_MIDDLE: usize = 8;
/// Rows that are inserted at once in the hope that all are new: a few times the longest statement, which is looked up in the cache
/// once for them, and not more, because one known row among them costs a second look at each.
pub(crate) const NEW_ROWS: usize = 4 * ROWS_MAX;
/// How a statement begins that only inserts. A batch is one transaction, given up whole when a statement fails, so SQLite need not
/// keep what would undo the statement alone: copies of the pages that it changes, a twentieth of the CPU of a first import.
pub(crate) const INSERT: &str = "INSERT OR ROLLBACK";
/// SQLite's bound on the parameters of one statement.
const PARAMETERS_MAX: usize = 32_766;

/// One statement in several lengths, longest first.
#[derive(Debug)]
pub(crate) struct Ladder {
    steps: Vec<(usize, String)>,
}

impl Ladder {
    /// `<head> VALUES (…),(…) <tail>` with so many columns.
    pub(crate) fn insert(head: &str, columns: usize, tail: &str) -> Self {
        let tuple = format!("({})", vec!["?"; columns].join(","));
        let bound = (PARAMETERS_MAX / columns.max(1)).max(1);
        let steps = [ROWS_MAX, ROWS_MIDDLE, 1].into_iter().filter(|rows| *rows <= bound);
        Self {
            steps: steps.map(|rows| (rows, format!("{head} VALUES {} {tail}", vec![tuple.as_str(); rows].join(",")))).collect(),
        }
    }

    /// Runs over all rows and returns how many were changed.
    pub(crate) fn run<R>(
        &self,
        connection: &Connection,
        rows: &[R],
        mut bind: impl FnMut(&mut Binder<'_, '_>, &R) -> Result<(), rusqlite::Error>,
    ) -> Result<usize, rusqlite::Error> {
        let mut rest = rows;
        let mut changed = 0;
        let mut buffer = String::new();
        for (length, sql) in &self.steps {
            if rest.len() < *length {
                continue;
            }
            let mut statement = connection.prepare_cached(sql)?;
            while rest.len() >= *length {
                let (some, others) = rest.split_at(*length);
                let mut binder = Binder { statement: &mut statement, next: 1, buffer: &mut buffer };
                for row in some {
                    bind(&mut binder, row)?;
                }
                changed += statement.raw_execute()?;
                rest = others;
            }
        }
        Ok(changed)
    }
}

/// Inserts rows, and replaces in each chunk that holds known ones: most often none is.
pub(crate) fn insert_or_replace<R>(
    insert: &Ladder,
    replace: &Ladder,
    connection: &Connection,
    rows: &[R],
    mut bind: impl FnMut(&mut Binder<'_, '_>, &R) -> Result<(), rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    for chunk in rows.chunks(NEW_ROWS) {
        if insert.run(connection, chunk, &mut bind)? < chunk.len() {
            replace.run(connection, chunk, &mut bind)?;
        }
    }
    Ok(())
}

/// Binds the values of a statement one after the other.
pub(crate) struct Binder<'s, 'c> {
    statement: &'s mut CachedStatement<'c>,
    next: usize,
    buffer: &'s mut String,
}

impl Binder<'_, '_> {
    /// Binds one value.
    pub(crate) fn value(&mut self, value: impl ToSql) -> Result<(), rusqlite::Error> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }

    /// Binds what `write` puts into an empty buffer.
    pub(crate) fn written(&mut self, write: impl FnOnce(&mut String)) -> Result<(), rusqlite::Error> {
        self.buffer.clear();
        write(self.buffer);
        self.statement.raw_bind_parameter(self.next, self.buffer.as_str())?;
        self.next += 1;
        Ok(())
    }

    /// Binds a moment as RFC 3339 in UTC, or nothing.
    pub(crate) fn moment(&mut self, micros: Option<i64>) -> Result<(), rusqlite::Error> {
        match micros {
            Some(micros) => self.written(|out| text::write_timestamp(micros, out)),
            None => self.value(rusqlite::types::Null),
        }
    }

    /// Binds a cell in its column's form.
    pub(crate) fn cell(&mut self, kind: &FieldType, cell: &Cell<'_>) -> Result<(), rusqlite::Error> {
        match cell {
            Cell::Null => self.value(rusqlite::types::Null),
            Cell::Bool(value) => self.value(*value),
            Cell::Int(value) => self.value(*value),
            Cell::Text(value) => self.value(value.as_ref()),
            Cell::Decimal(value) => {
                let scale = if let FieldType::Decimal { scale, .. } = kind { *scale } else { value.scale() };
                self.written(|out| text::write_decimal(*value, scale, out))
            }
            Cell::Date(days) => self.written(|out| text::write_date(*days, out)),
            Cell::Timestamp(micros) => self.moment(Some(*micros)),
            Cell::Record(_) | Cell::Array(_) => self.written(|out| json::write_cell(kind, cell, out)),
        }
    }
}

/// The SQL type of a column of this kind: decimals, dates, moments and lists are text, so that nothing is rounded and text
/// compares as what it stands for.
pub(crate) fn sql_type(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::Bool | FieldType::Int { .. } => "INTEGER",
        _ => "TEXT",
    }
}

/// Joins with commas.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>, mut each: impl FnMut(&str, &mut String)) -> String {
    let mut list = String::new();
    for name in names {
        if !list.is_empty() {
            list.push_str(", ");
        }
        each(name, &mut list);
    }
    list
}

/// `"a", "b"`.
pub(crate) fn quoted_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    listed(names, |name, list| list.push_str(&quoted(name)))
}

/// `"a" = excluded."a", …`: what an upsert sets.
pub(crate) fn excluded_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    listed(names, |name, list| {
        let name = quoted(name);
        write!(list, "{name} = excluded.{name}").expect("writing to a string cannot fail");
    })
}

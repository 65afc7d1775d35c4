//! The relational store in a schema of Postgres.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column, Connection, PgConnection, Row, TypeInfo, ValueRef};

use super::{Tables, by_key};
use crate::runtime::finish;
use crate::stores::Cells;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    /// As libpq reads it.
    pub(crate) url: String,
    /// The store's own.
    pub(crate) schema: String,
}

impl Postgres {
    /// Rows of statements; every value comes as text, whatever its type.
    fn query(&self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let sql = format!("SET client_min_messages = warning; SET search_path = \"{}\"; {sql}", self.schema);
        finish(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            connection.close().await.map(|()| rows)
        })
    }

    /// Runs a statement.
    pub(crate) fn run(&self, sql: &str) {
        self.must_query(sql);
    }

    fn must_query(&self, sql: &str) -> Vec<PgRow> {
        self.query(sql).unwrap_or_else(|error| panic!("Postgres, {sql}: {error}"))
    }

    /// Whether the server answers.
    pub(crate) fn answers(&self) -> bool {
        self.query("SELECT 1").is_ok()
    }

    /// Takes the schema away.
    pub(crate) fn remove(&self) {
        self.must_query(&format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.schema));
    }
}

impl Tables for Postgres {
    fn rows(&self, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, Cells> {
        let rows = self.must_query(&format!("SELECT * FROM \"{table}\" WHERE deleted_at IS NULL"));
        by_key(table, key, rows.iter().map(cells_of))
    }
}

fn cells_of(row: &PgRow) -> Cells {
    let mut cells = Cells::new();
    for (index, column) in row.columns().iter().enumerate() {
        let value = row.try_get_raw(index).expect("a column of this row");
        if value.is_null() {
            continue;
        }
        let text = value.as_str().expect("the simple protocol gives texts");
        let text = match column.type_info().name() {
            "BOOL" => if text == "t" { "1" } else { "0" }.to_owned(),
            _ => text.to_owned(),
        };
        cells.insert(column.name().to_owned(), text);
    }
    cells
}

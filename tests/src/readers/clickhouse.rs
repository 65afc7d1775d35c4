//! The analytics store in a database of ClickHouse, read through its views of live rows.

use std::collections::BTreeMap;

use clickhouse::Client;
use serde_json::Value;

use super::{Tables, by_key};
use crate::runtime::finish;
use crate::stores::Cells;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct ClickHouse {
    /// Its HTTP interface.
    pub(crate) url: String,
    /// The store's own.
    pub(crate) database: String,
}

impl ClickHouse {
    fn client(&self) -> Client {
        Client::default().with_url(&self.url)
    }

    /// Whether the server answers.
    pub(crate) fn answers(&self) -> bool {
        finish(self.client().query_raw("SELECT 1").execute()).is_ok()
    }

    /// Runs a statement in the database.
    pub(crate) fn run(&self, sql: &str) {
        execute(&self.client().with_database(&self.database), sql);
    }

    /// Takes the database away.
    pub(crate) fn remove(&self) {
        execute(&self.client(), &format!("DROP DATABASE IF EXISTS `{}` SYNC", self.database));
    }
}

impl Tables for ClickHouse {
    fn rows(&self, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, Cells> {
        let sql = format!("SELECT * FROM `{}`.`{table}`", self.database);
        let mut query = self.client().query_raw(&sql);
        for setting in ["output_format_decimal_trailing_zeros", "output_format_json_quote_decimals"] {
            query = query.with_setting(setting, "1");
        }
        let reading = async { query.fetch_bytes("JSONEachRow")?.collect().await };
        let bytes = finish(reading).unwrap_or_else(|error| panic!("ClickHouse, {sql}: {error}"));
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        by_key(table, key, lines.map(cells_of))
    }
}

fn execute(client: &Client, sql: &str) {
    finish(client.query_raw(sql).execute()).unwrap_or_else(|error| panic!("ClickHouse, {sql}: {error}"));
}

fn cells_of(line: &[u8]) -> Cells {
    let row: BTreeMap<String, Value> = serde_json::from_slice(line).expect("a row in JSON");
    let text = |value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Bool(flag) => Some(u8::from(flag).to_string()),
        other => Some(other.to_string()),
    };
    row.into_iter().filter_map(|(column, value)| Some((column, text(value)?))).collect()
}

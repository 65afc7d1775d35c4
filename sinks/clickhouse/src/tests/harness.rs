//! A database of a test's own on a real server, and looks into it by plain SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use clickhouse::Client;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::{StoreHarness, StoredRow};
use uuid::Uuid;

use crate::ClickHouseOptions;
use crate::store::ClickHouseSink;

/// How the engine writes a null in JSON strings.
const NULL: &str = "ᴺᵁᴸᴸ";

pub(crate) struct Database {
    url: String,
    pub(crate) name: String,
    pub(crate) catalog: Arc<Catalog>,
}

impl Database {
    /// Of a new name; nothing is made yet.
    pub(crate) fn fresh(url: &str, catalog: &Arc<Catalog>) -> Self {
        let name = format!("tidemark_test_{}", Uuid::new_v4().simple());
        Self { url: url.to_owned(), name, catalog: Arc::clone(catalog) }
    }

    pub(crate) fn options(&self) -> ClickHouseOptions {
        ClickHouseOptions::new(&self.url, &self.name)
    }

    fn client(&self) -> Client {
        Client::default().with_url(&self.url).with_database(&self.name)
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) {
        self.client().query_raw(sql).execute().await.unwrap();
    }

    /// All rows of a query, each as its values joined by `|`.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        self.cells(sql).await.iter().map(|cells| cells.join("|")).collect()
    }

    /// All rows of a query, as text.
    pub(crate) async fn cells(&self, sql: &str) -> Vec<Vec<String>> {
        let query = self.client().query_raw(sql).with_setting("output_format_decimal_trailing_zeros", "1");
        let bytes = query.fetch_bytes("JSONCompactStringsEachRow").unwrap().collect().await.unwrap();
        let shown = |cell: String| if cell == NULL { "null".to_owned() } else { cell };
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice::<Vec<String>>(line).unwrap().into_iter().map(shown).collect()).collect()
    }

    pub(crate) async fn has_table(&self, name: &str) -> bool {
        let sql = format!("SELECT count() FROM system.tables WHERE database = '{}' AND name = '{name}'", self.name);
        let count: u64 = Client::default().with_url(&self.url).query_raw(&sql).fetch_one().await.unwrap();
        count == 1
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (client, name) = (Client::default().with_url(&self.url), self.name.clone());
        // On a thread of its own: a runtime cannot be waited for within another.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let sql = format!("DROP DATABASE IF EXISTS `{name}` SYNC");
            runtime.block_on(client.query_raw(&sql).execute()).map_err(std::io::Error::other)
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("the database {} stays", self.name);
        }
    }
}

#[async_trait]
impl StoreHarness for Database {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(ClickHouseSink::new(self.options(), &self.catalog, vip_levels(), 8 * 3600).wary())
    }

    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow> {
        let mut rows = BTreeMap::new();
        if !self.has_table(&format!("{entity}_versions")).await {
            return rows;
        }
        let newest = format!("SELECT * FROM {entity}_versions ORDER BY key, version DESC LIMIT 1 BY key");
        for cells in self.cells(&newest).await {
            let [key, version, deleted, content @ ..] = cells.as_slice() else { unreachable!("a table has common columns") };
            let row = StoredRow { version: version.parse().unwrap(), deleted: deleted == "1", content: content.join("|") };
            rows.insert(key.clone(), row);
        }
        let live: Vec<&String> = rows.iter().filter(|(_, row)| !row.deleted).map(|(key, _)| key).collect();
        let shown = self.query(&format!("SELECT key FROM {entity} ORDER BY key")).await;
        assert_eq!(shown.iter().collect::<Vec<_>>(), live, "the view of {entity} shows the live rows, each once");
        if entity == "consumption" {
            for line in self.query("SELECT * FROM consumption_line ORDER BY key, position").await {
                let (key, content) = line.split_once('|').unwrap();
                let row = rows.get_mut(key).unwrap();
                assert!(!row.deleted, "a deleted order has no lines");
                row.content.push_str(content);
            }
        }
        rows
    }
}

pub(crate) fn vip_levels() -> Vec<String> {
    ["GOLD", "PLATINUM", "DIAMOND"].map(str::to_owned).to_vec()
}

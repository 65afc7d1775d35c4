//! A store in a schema of its own, and looks into it by plain SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::{StoreHarness, StoredRow};
use uuid::Uuid;

use crate::PostgresOptions;

pub(crate) struct Store {
    url: String,
    pub(crate) schema: String,
    pub(crate) catalog: Arc<Catalog>,
}

impl Store {
    pub(crate) fn fresh(url: &str, catalog: &Arc<Catalog>) -> Self {
        let schema = format!("tidemark test \"{}", Uuid::new_v4().simple());
        Self { url: url.to_owned(), schema, catalog: Arc::clone(catalog) }
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::new(&self.url, &self.schema)
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let sql = format!("SET search_path = {}", tidemark_sink_core::sql::quoted(&self.schema));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection
    }

    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }

    /// All rows of a query, each as the text of its values joined by `|`.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let rows = self.texts(sql).await;
        rows.into_iter()
            .map(|row| row.iter().map(|text| text.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("|"))
            .collect()
    }

    /// All rows of a query, each as the text of its values, as the server writes it.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut connection = self.connection().await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        // The simple protocol gives every value as text, whatever its type.
        let text = |row: &sqlx::postgres::PgRow, index: usize| {
            let value = row.try_get_raw(index).unwrap();
            (!sqlx::ValueRef::is_null(&value)).then(|| value.as_str().unwrap().to_owned())
        };
        rows.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect()).collect()
    }
}

impl Drop for Store {
    /// Takes the schema away. On a thread of its own, since a test's runtime may not wait here.
    fn drop(&mut self) {
        let (url, schema) = (self.url.clone(), tidemark_sink_core::sql::quoted(&self.schema));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                let sql = format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await
            })
        });
        match dropping.join() {
            Ok(Ok(_)) => {}
            outcome => eprintln!("schema {} stays: {outcome:?}", self.schema),
        }
    }
}

#[async_trait]
impl StoreHarness for Store {
    fn sink(&self) -> Box<dyn Sink> {
        crate::relational(self.options(), Arc::clone(&self.catalog))
    }

    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow> {
        if self.query(&format!("SELECT to_regclass('{entity}')")).await == ["null"] {
            return BTreeMap::new();
        }
        let mut rows = BTreeMap::new();
        for row in self.texts(&format!("SELECT key, version, deleted_at IS NOT NULL, t::text FROM {entity} AS t")).await {
            let text = |index: usize| row[index].clone().unwrap();
            let stored = StoredRow { version: text(1).parse().unwrap(), deleted: text(2) == "t", content: text(3) };
            rows.insert(text(0), stored);
        }
        rows
    }
}

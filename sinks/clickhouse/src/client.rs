//! One database of one server: statements, queries and inserts, each within a time, each error with its class.
//!
//! Every setting that changes what an insert means is sent with it: the server's defaults changed in 26.2. Of those, only the ones
//! that the server knows, asked once per connection, since an unknown one is an error. Inserts are never deduplicated by their
//! blocks: versions do that, and a row that is written again after a refresh must not be dropped for having been seen before.

use std::future::Future;
use std::time::Duration;

use clickhouse::{Client, RowOwned, RowRead};

use crate::ClickHouseOptions;
use crate::failure::StoreError;
use crate::https;
use crate::statement::literal;

/// How long a statement may take. Longer: a dead connection is noticed later; shorter: a migration of a large table never ends.
const STATEMENT_TIME: Duration = Duration::from_secs(300);
/// How long the server may take over a piece of an insert, and over its end.
const INSERT_TIME: Duration = Duration::from_secs(120);
/// Bytes that are compressed and sent at once. Larger: more memory; smaller: worse compression.
const PIECE_BYTES: usize = 1 << 20;

/// What an insert means, whatever the server's defaults are. The last only where a table is parted.
const INSERT_SETTINGS: [(&str, &str); 8] = [
    ("async_insert", "0"),
    ("wait_end_of_query", "1"),
    ("deduplicate_insert", "disable"),
    ("insert_deduplicate", "0"),
    ("async_insert_deduplicate", "0"),
    ("deduplicate_blocks_in_dependent_materialized_views", "0"),
    ("insert_null_as_default", "0"),
    ("max_partitions_per_insert_block", "0"),
];
/// Sent with the HTTP request and never among the server's settings.
const OF_HTTP: &str = "wait_end_of_query";
/// What a look needs so that it sees what another replica has just taken.
const LOOK_SETTINGS: [(&str, &str); 2] = [("select_sequential_consistency", "1"), ("final", "0")];
/// A server keeps large tables from being dropped by mistake; a reset is none. Known to servers from 23.12 on.
const DROP_SETTING: (&str, &str) = ("max_table_size_to_drop", "0");

/// A connection to the store's database.
#[derive(Clone)]
pub(crate) struct Store {
    /// Speaks within the database.
    client: Client,
    /// Speaks outside it: it may not be there yet.
    root: Client,
    inserts: Vec<(&'static str, &'static str)>,
    can_drop_large: bool,
    pub(crate) version: String,
    pub(crate) database: String,
    /// For people: the database and where it is.
    pub(crate) place: String,
}

impl Store {
    /// For people: the database and where it is.
    pub(crate) fn place_of(options: &ClickHouseOptions) -> String {
        format!("database {} at {}", options.database, without_credentials(&options.url))
    }

    /// Reaches the server and learns its version and settings.
    pub(crate) async fn connect(options: &ClickHouseOptions) -> Result<Self, StoreError> {
        let mut root = https::client(options)?.with_url(&options.url);
        if let Some(user) = &options.user {
            root = root.with_user(user);
        }
        if let Some(password) = &options.password {
            root = root.with_password(password);
        }
        let wanted = INSERT_SETTINGS
            .iter()
            .chain(&LOOK_SETTINGS)
            .chain([&DROP_SETTING])
            .map(|(name, _)| literal(name))
            .collect::<Vec<_>>()
            .join(", ");
        let sql = format!(
            "SELECT 'version' AS kind, version() AS name UNION ALL SELECT 'setting', name FROM system.settings WHERE name IN ({wanted})"
        );
        let mut version = String::new();
        let mut known = Vec::new();
        for (kind, name) in within(root.query_raw(&sql).fetch_all::<(String, String)>()).await? {
            if kind == "version" {
                version = name;
            } else {
                known.push(name);
            }
        }
        let is_known = |name: &str| name == OF_HTTP || known.iter().any(|known| known == name);
        let mut client = root.clone().with_database(&options.database);
        for (name, value) in LOOK_SETTINGS.into_iter().filter(|(name, _)| is_known(name)) {
            client = client.with_setting(name, value);
        }
        let inserts = INSERT_SETTINGS.into_iter().filter(|(name, _)| is_known(name)).collect();
        let can_drop_large = is_known(DROP_SETTING.0);
        Ok(Self {
            client,
            root,
            inserts,
            can_drop_large,
            version,
            database: options.database.clone(),
            place: Self::place_of(options),
        })
    }

    /// Runs a statement within the database.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        within(self.client.query_raw(sql).execute()).await
    }

    /// Runs a statement that drops something, however large.
    pub(crate) async fn drop_object(&self, sql: &str) -> Result<(), StoreError> {
        let query = self.client.query_raw(sql);
        let query = if self.can_drop_large { query.with_setting(DROP_SETTING.0, DROP_SETTING.1) } else { query };
        within(query.execute()).await
    }

    /// Runs a statement outside the database.
    pub(crate) async fn execute_outside(&self, sql: &str) -> Result<(), StoreError> {
        within(self.root.query_raw(sql).execute()).await
    }

    /// All rows of a query within the database.
    pub(crate) async fn rows<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        within(self.client.query_raw(sql).fetch_all()).await
    }

    /// All rows of a query outside the database.
    pub(crate) async fn rows_outside<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        within(self.root.query_raw(sql).fetch_all()).await
    }

    /// Sends rows; done when the server has stored them.
    pub(crate) async fn insert(&self, sql: &str, rows: &[u8]) -> Result<(), StoreError> {
        let mut insert = self.client.insert_formatted_with(sql).with_timeouts(Some(INSERT_TIME), Some(INSERT_TIME));
        for (name, value) in &self.inserts {
            insert = insert.with_setting(*name, *value);
        }
        for piece in rows.chunks(PIECE_BYTES) {
            insert.send(piece.to_vec().into()).await?;
        }
        Ok(insert.end().await?)
    }
}

async fn within<T>(answer: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(STATEMENT_TIME, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::too_slow(STATEMENT_TIME)),
    }
}

/// The URL without what may stand before `@`.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((credentials, _)) => format!("{scheme}://{}", &rest[credentials.len() + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        assert_eq!(without_credentials("http://me:se@cret@db:8123/x"), "http://db:8123/x");
        assert_eq!(without_credentials("http://db:8123/a@b"), "http://db:8123/a@b");
    }
}

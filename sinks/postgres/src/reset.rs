//! Emptying the store: rows, positions and what it knows of its log go in one transaction, and the writer is superseded.
//!
//! Tables that fit their entity are truncated and not dropped, so that views which people built on them stay. One that no longer
//! fits, or whose entity is gone, is dropped; a view that depends on it is then in the way, and named. Indexes on references go
//! as well: the refill builds them when it is over.

use tidemark_log::Share;
use tidemark_sink_core::references::DANGLING_REFERENCE;
use tidemark_sink_core::sql::quoted;

use crate::connection::Connection;
use crate::ddl::{self, quoted_list};
use crate::failure::Failure;
use crate::meta;
use crate::migrate::{self, Inventory};
use crate::table::Table;

/// Empties the store, if there is one.
pub(crate) async fn reset(connection: &mut Connection, schema: &str, tables: &[&Table]) -> Result<(), Failure> {
    connection.run("BEGIN ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
    migrate::lock(connection, schema).await?;
    if !meta::exists(connection).await? {
        return connection.rollback().await;
    }
    meta::raise_epoch(connection, &Share::All).await?;
    let inventory = Inventory::read(connection).await?;
    let mut truncated = Vec::new();
    let mut dropped = Vec::new();
    for entity in meta::owned(connection).await? {
        if !inventory.has(&entity) {
            continue;
        }
        match tables.iter().find(|table| table.entity().name == entity) {
            Some(table) if inventory.misfit(table).is_none() => {
                truncated.push(entity);
                for (index, _) in ddl::indexes(table.entity()) {
                    connection.run(format!("DROP INDEX IF EXISTS {}", quoted(&index))).await?;
                }
            }
            _ => dropped.push(entity),
        }
    }
    if !truncated.is_empty() {
        connection.run(format!("TRUNCATE {}", quoted_list(truncated.iter().map(String::as_str)))).await?;
    }
    if !dropped.is_empty() {
        // Our own view names every table; the next open makes it anew.
        connection.run(format!("DROP VIEW IF EXISTS {DANGLING_REFERENCE}")).await?;
        connection.run(format!("DROP TABLE {}", quoted_list(dropped.iter().map(String::as_str)))).await?;
    }
    meta::forget(connection).await?;
    connection.run("COMMIT".to_owned()).await
}

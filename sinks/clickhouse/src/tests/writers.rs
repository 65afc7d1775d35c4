//! Who may write, and into whose store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::{SinkBatch, SinkError};
use tidemark_test_support::Kind;
use tokio::time::Instant;

use super::harness::Database;
use crate::client::Store;
use crate::epoch::Writer;
use crate::position::{self, Position};

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn share(numbers: &[u32]) -> Share {
    Share::Partitions(numbers.iter().copied().collect::<BTreeSet<_>>())
}

/// One customer on this partition.
fn batch(fixture: &Fixture, partition: u32, from: u64, code: &str) -> SinkBatch {
    let mut batch = fixture.batch("customer", from, &[fixture.customer(code, "张三", from + 1)]);
    batch.parts[0].partition = partition;
    batch
}

#[tokio::test]
async fn workers_beside_each_other_write_their_own_partitions() {
    let Some(url) = Kind::ClickHouse.address("workers_beside_each_other_write_their_own_partitions") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let (mut one, mut two) = (database.sink(), database.sink());
    one.open(LOG, &share(&[0, 1])).await.unwrap();
    two.open(LOG, &share(&[2])).await.unwrap();
    one.apply(&batch(&fixture, 0, 0, "C0")).await.unwrap();
    one.apply(&batch(&fixture, 1, 0, "C1")).await.unwrap();
    two.apply(&batch(&fixture, 2, 0, "C2")).await.unwrap();
    // Partition 1 goes over.
    let positions = two.open(LOG, &share(&[1, 2])).await.unwrap();
    assert_eq!(positions.iter().map(|position| (position.partition, position.next)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    one.apply(&batch(&fixture, 0, 1, "C3")).await.unwrap();
    let stale = one.apply(&batch(&fixture, 1, 1, "C4")).await.unwrap_err();
    assert!(matches!(stale, SinkError::Stale(_)), "{stale:?}");
    two.apply(&batch(&fixture, 1, 1, "C5")).await.unwrap();
    assert_eq!(database.query("SELECT key FROM customer ORDER BY key").await, ["C0", "C1", "C2", "C3", "C5"]);
    // One for all of them fences both.
    let mut all = database.sink();
    assert_eq!(all.open(LOG, &Share::All).await.unwrap().len(), 3);
    let stale = two.apply(&batch(&fixture, 2, 1, "C6")).await.unwrap_err();
    assert!(matches!(stale, SinkError::Stale(_)), "{stale:?}");
}

#[tokio::test]
async fn a_position_of_an_overtaken_writer_is_never_read() {
    let Some(url) = Kind::ClickHouse.address("a_position_of_an_overtaken_writer_is_never_read") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut older = database.sink();
    older.open(LOG, &Share::All).await.unwrap();
    older.apply(&batch(&fixture, 0, 0, "C1")).await.unwrap();
    let mut newer = database.sink();
    newer.open(LOG, &Share::All).await.unwrap();
    // The older one had looked, wrote its rows, and its positions come late.
    let store = Store::connect(&database.options()).await.unwrap();
    let writer = Writer { id: "older".to_owned(), epoch: 1, share: Share::All };
    let late = Position { next: 700, ..Position::default() };
    position::write(&store, &writer, 900, [(&("customer".to_owned(), 0), &late)]).await.unwrap();
    assert_eq!(newer.positions().await.unwrap()[0].next, 1);
    newer.apply(&batch(&fixture, 0, 1, "C2")).await.unwrap();
    assert_eq!(database.sink().open(LOG, &Share::All).await.unwrap()[0].next, 2);
}

#[tokio::test]
async fn an_overtaken_writer_is_told_when_its_last_look_no_longer_counts() {
    let Some(url) = Kind::ClickHouse.address("an_overtaken_writer_is_told_when_its_last_look_no_longer_counts") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let sink = || crate::analytics(database.options(), Arc::clone(&database.catalog), Vec::new(), 0);
    let (mut older, mut newer) = (sink(), sink());
    older.open(LOG, &Share::All).await.unwrap();
    older.apply(&batch(&fixture, 0, 0, "C0")).await.unwrap();
    newer.open(LOG, &Share::All).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut from = 1;
    while let Ok(applied) = older.apply(&batch(&fixture, 0, from, &format!("C{from}"))).await {
        assert!(Instant::now() < deadline, "it goes on and on");
        from += applied.written;
    }
    assert_eq!(newer.positions().await.unwrap()[0].next, 1, "its positions are not read");
    // The owner goes the same way, and meets rows that are there.
    for again in 1..=from {
        newer.apply(&batch(&fixture, 0, again, &format!("C{again}"))).await.unwrap();
    }
    assert_eq!(database.query("SELECT count() FROM customer").await, [(from + 1).to_string()]);
}

#[tokio::test]
async fn a_reset_fences_a_running_writer() {
    let Some(url) = Kind::ClickHouse.address("a_reset_fences_a_running_writer") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut running = database.sink();
    running.open(LOG, &Share::All).await.unwrap();
    running.apply(&batch(&fixture, 0, 0, "C1")).await.unwrap();
    database.execute("CREATE TABLE somebodys(id UInt8) ENGINE = MergeTree ORDER BY id").await;
    database.sink().reset().await.unwrap();
    assert_eq!(database.sink().positions().await.unwrap(), []);
    assert_eq!(database.sink().filled_from().await.unwrap(), None);
    assert_eq!(database.query("SHOW TABLES").await, ["somebodys", "tidemark_epoch"], "nothing but what is not ours stays");
    let error = running.apply(&batch(&fixture, 0, 1, "C2")).await.unwrap_err();
    assert!(matches!(error, SinkError::Stale(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_of_another_log_and_names_of_others_are_refused_with_the_remedy() {
    let Some(url) = Kind::ClickHouse.address("a_store_of_another_log_and_names_of_others_are_refused_with_the_remedy") else {
        return;
    };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    database.sink().open(LOG, &Share::All).await.unwrap();
    assert_eq!(database.sink().filled_from().await.unwrap(), Some(LOG));
    let restored = database.sink().open(LogIdentity { generation: 3, ..LOG }, &Share::All).await.unwrap_err();
    assert!(matches!(restored, SinkError::ForeignLog(_)), "{restored:?}");
    database.execute("TRUNCATE TABLE tidemark_meta").await;
    database.execute("INSERT INTO tidemark_meta VALUES ('role', 'analytics'), ('format', '9')").await;
    let newer = database.sink().open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(newer, SinkError::Fatal { .. }), "{newer:?}");

    let other = Database::fresh(&url, fixture.catalog());
    let outside = Store::connect(&other.options()).await.unwrap();
    outside.execute_outside(&format!("CREATE DATABASE {}", other.name)).await.unwrap();
    other.execute("CREATE TABLE customer(id UInt8) ENGINE = MergeTree ORDER BY id AS SELECT 7 AS id").await;
    let taken = other.sink().open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(taken, SinkError::Fatal { .. }), "{taken:?}");
    assert_eq!(other.query("SELECT id FROM customer").await, ["7"], "what is not ours is left alone");
    assert_eq!(other.query("SHOW TABLES").await, ["customer"]);

    let shown =
        |error: &SinkError, database: &Database| error.to_string().replace(&database.name, "db").replace(&url, "http://server");
    let texts = [shown(&restored, &database), shown(&newer, &database), shown(&taken, &other)];
    insta::assert_snapshot!(texts.join("\n"));
}

//! Several workers over one store: who may write, and what a takeover leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::Connection;
use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Sink, SinkBatch, SinkError};
use tidemark_test_support::Kind;

use super::harness::Store;

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn only(partitions: &[u32]) -> Share {
    Share::Partitions(partitions.iter().copied().collect::<BTreeSet<_>>())
}

/// Some customers at a partition.
fn batch(fixture: &Fixture, partition: u32, from: u64, code: &str) -> SinkBatch {
    let mut batch = fixture.batch("customer", from, &[fixture.customer(code, "张三", from + 1)]);
    batch.parts[0].partition = partition;
    batch
}

async fn is_stale(sink: &mut Box<dyn Sink>, batch: &SinkBatch) -> bool {
    match sink.apply(batch).await {
        Ok(_) => false,
        Err(SinkError::Stale(_)) => true,
        Err(error) => panic!("{}", told(&error)),
    }
}

#[tokio::test]
async fn each_share_has_its_own_writer() {
    let Some(url) = Kind::Postgres.address("each_share_has_its_own_writer") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let (mut one, mut other) = (store.sink(), store.sink());
    assert_eq!(one.open(LOG, &only(&[0, 2])).await.unwrap(), []);
    assert_eq!(other.open(LOG, &only(&[1])).await.unwrap(), []);
    for (from, code) in [(0, "A"), (1, "B")] {
        one.apply(&batch(&fixture, 0, from, code)).await.unwrap();
        other.apply(&batch(&fixture, 1, from, &format!("{code}1"))).await.unwrap();
        one.apply(&batch(&fixture, 2, from, &format!("{code}2"))).await.unwrap();
    }
    assert!(is_stale(&mut other, &batch(&fixture, 0, 2, "X")).await, "a partition of another worker");
    // One partition changes hands; the rest of the share is not disturbed.
    let mut third = store.sink();
    let positions = third.open(LOG, &only(&[2])).await.unwrap();
    assert_eq!(positions.iter().map(|position| (position.partition, position.next)).collect::<Vec<_>>(), [(2, 2)]);
    assert!(is_stale(&mut one, &batch(&fixture, 2, 2, "X")).await, "what was taken away is not written any more");
    one.open(LOG, &only(&[0])).await.unwrap();
    one.apply(&batch(&fixture, 0, 2, "C")).await.unwrap();
    third.apply(&batch(&fixture, 2, 2, "C2")).await.unwrap();
    // A worker of all ends every other one, and any other ends it.
    let mut all = store.sink();
    assert_eq!(all.open(LOG, &Share::All).await.unwrap().len(), 3);
    assert!(is_stale(&mut one, &batch(&fixture, 0, 3, "X")).await);
    all.apply(&batch(&fixture, 0, 3, "D")).await.unwrap();
    third.open(LOG, &only(&[2])).await.unwrap();
    assert!(is_stale(&mut all, &batch(&fixture, 0, 4, "X")).await);
    assert!(!store.rows("customer").await.contains_key("X"), "a stale worker writes nothing");
}

#[tokio::test]
async fn a_worker_that_was_stopped_in_mid_batch_does_not_hold_up_its_successor() {
    let name = "a_worker_that_was_stopped_in_mid_batch_does_not_hold_up_its_successor";
    let Some(url) = Kind::Postgres.address(name) else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&batch(&fixture, 0, 0, "A")).await.unwrap();
    // What a worker leaves that was stopped between two statements: the epoch's lock, and a row.
    let mut stopped = store.connection().await;
    let begin = "SET idle_in_transaction_session_timeout = 500; BEGIN; SELECT epoch FROM tidemark_epoch FOR SHARE; \
                 UPDATE customer SET version = 100";
    sqlx::raw_sql(begin).execute(&mut stopped).await.unwrap();
    let mut successor = store.sink();
    let opened = tokio::time::timeout(Duration::from_secs(10), successor.open(LOG, &Share::All)).await;
    opened.expect("the server ends what was left").unwrap();
    successor.apply(&batch(&fixture, 0, 1, "B")).await.unwrap();
    assert_eq!(store.query("SELECT key, version FROM customer ORDER BY 1").await, ["A|1", "B|2"]);
    drop(stopped.close().await);
}

#[tokio::test]
async fn an_index_that_another_worker_is_making_is_no_fault() {
    let Some(url) = Kind::Postgres.address("an_index_that_another_worker_is_making_is_no_fault") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&batch(&fixture, 0, 0, "A")).await.unwrap();
    // Before it has made its indexes.
    drop(sink);
    let mut other = store.connection().await;
    let (name, statement) = crate::ddl::indexes(fixture.catalog().entity("customer").unwrap()).swap_remove(0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; {statement}"))).execute(&mut other).await.unwrap();
    let mut successor = store.sink();
    let opening = tokio::spawn(async move { successor.open(LOG, &Share::All).await });
    let waiting = format!("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INDEX%{name}%'");
    let waits = async {
        while store.query(&waiting).await.is_empty() {
            assert!(!opening.is_finished(), "the other one has not made it yet");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect("the successor waits for the other one");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_ends_connections_is_unavailable_and_then_goes_on() {
    let name = "a_server_that_ends_connections_is_unavailable_and_then_goes_on";
    let Some(url) = Kind::Postgres.address(name) else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut options = store.options();
    // Marked, so that no connection of another test is ended.
    options.url = format!("{url}{}application_name={}", if url.contains('?') { '&' } else { '?' }, "ended");
    let mut sink = crate::relational(options, fixture.catalog().clone());
    sink.open(LOG, &Share::All).await.unwrap();
    store.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'").await;
    let error = sink.apply(&batch(&fixture, 0, 0, "A")).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{}", told(&error));
    let error = sink.apply(&batch(&fixture, 0, 0, "A")).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "not open any more: {}", told(&error));
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.apply(&batch(&fixture, 0, 0, "A")).await.unwrap().written, 1);
}

#[tokio::test]
async fn two_lanes_write_what_one_does() {
    let Some(url) = Kind::Postgres.address("two_lanes_write_what_one_does") else { return };
    let fixture = fixture();
    let states: Vec<_> = (0..4_000_u64)
        .map(|number| {
            let state = fixture.customer(&format!("C{:05}", number * 7_919 % 3_000), "张三", number + 1);
            if number % 11 == 0 { fixture.deleted(&state, number + 1) } else { state }
        })
        .collect();
    let mut contents = Vec::new();
    for lanes in [1, 2] {
        let store = Store::fresh(&url, fixture.catalog());
        let options = crate::PostgresOptions { lanes, ..store.options() };
        let mut sink = crate::relational(options, fixture.catalog().clone());
        sink.open(LOG, &Share::All).await.unwrap();
        for (from, some) in (0..).step_by(2_000).zip(states.chunks(2_000)) {
            let applied = sink.apply(&fixture.batch("customer", from, some)).await.unwrap();
            assert_eq!(applied.written + applied.skipped, 2_000);
        }
        contents.push(store.rows("customer").await);
        if lanes == 2 {
            // A large batch of a stale writer leaves nothing, on neither connection.
            store.sink().open(LOG, &Share::All).await.unwrap();
            let late: Vec<_> = (0..2_000_u64).map(|number| fixture.customer(&format!("D{number}"), "李", number + 1)).collect();
            let error = sink.apply(&fixture.batch("customer", 4_000, &late)).await.unwrap_err();
            assert!(matches!(error, SinkError::Stale(_)), "{}", told(&error));
            assert_eq!(store.query("SELECT count(*) FROM customer WHERE key LIKE 'D%'").await, ["0"]);
        }
    }
    assert_eq!(contents[0].len(), 3_000);
    assert!(contents[0] == contents[1], "one lane and two end alike");
}

#[tokio::test]
async fn each_worker_reads_its_own_partitions_again_where_rows_were_derived_otherwise() {
    let name = "each_worker_reads_its_own_partitions_again_where_rows_were_derived_otherwise";
    let Some(url) = Kind::Postgres.address(name) else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let (mut one, mut other) = (store.sink(), store.sink());
    one.open(LOG, &only(&[0])).await.unwrap();
    other.open(LOG, &only(&[1])).await.unwrap();
    one.apply(&batch(&fixture, 0, 0, "A")).await.unwrap();
    other.apply(&batch(&fixture, 1, 0, "B")).await.unwrap();
    // As if a release had written them that derives otherwise.
    store.run("UPDATE tidemark_position SET derived = derived + 1; UPDATE customer SET person_name = '旧'").await;
    let next =
        |positions: Vec<tidemark_sink_core::StorePosition>| positions.iter().map(|position| position.next).collect::<Vec<_>>();
    assert_eq!(next(one.open(LOG, &only(&[0])).await.unwrap()), [0]);
    assert!(!is_stale(&mut other, &batch(&fixture, 1, 1, "C")).await, "the other release goes on");
    one.apply(&batch(&fixture, 0, 0, "A")).await.unwrap();
    let names = store.query("SELECT person_name FROM customer ORDER BY key").await;
    assert_eq!(names, ["张三", "旧", "张三"], "rows of the same version are written again");
    assert_eq!(next(one.open(LOG, &only(&[0])).await.unwrap()), [1], "once");
    assert_eq!(next(other.open(LOG, &only(&[1])).await.unwrap()), [0]);
}

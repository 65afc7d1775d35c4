//! What the server refuses, lacks or loses.

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Role, SinkError};
use tidemark_test_support::Kind;

use super::harness::Database;
use crate::ClickHouseOptions;

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

#[tokio::test]
async fn a_day_that_clickhouse_does_not_hold_is_refused_alone() {
    let Some(url) = Kind::ClickHouse.address("a_day_that_clickhouse_does_not_hold_is_refused_alone") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let born = |code: &str, day: &str, version| {
        let row = format!(r#"{{"customer_code":"{code}","person":{{"birthday":"{day}"}}}}"#);
        fixture.state("customer", &row, version)
    };
    let states =
        [born("C1", "1900-01-01", 1), born("C2", "1899-12-31", 2), born("C3", "2299-12-31", 3), born("C4", "9999-12-31", 4)];
    let mut batch = fixture.batch("customer", 0, &states);
    let Err(SinkError::Rejected(refused)) = sink.apply(&batch).await else { unreachable!("two rows are refused") };
    assert_eq!(
        refused.iter().map(|row| (row.key.as_str(), row.reason.as_str())).collect::<Vec<_>>(),
        [("C2", "out_of_range"), ("C4", "out_of_range")]
    );
    assert_eq!(
        refused[0].detail,
        "`person_birthday`: a date outside what ClickHouse holds (1900 to 2299); correct the record at its source"
    );
    assert_eq!(database.query("SELECT count() FROM customer").await, ["0"], "nothing of a refused batch is written");
    batch.exclude(&refused);
    assert_eq!(sink.apply(&batch).await.unwrap().written, 2);
    assert_eq!(database.query("SELECT key, person_birthday FROM customer ORDER BY 1").await, ["C1|1900-01-01", "C3|2299-12-31"]);
}

#[tokio::test]
async fn a_nul_is_refused_though_the_server_would_keep_it() {
    let Some(url) = Kind::ClickHouse.address("a_nul_is_refused_though_the_server_would_keep_it") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let states = [fixture.customer("C1", "好", 1), fixture.customer("C2", "坏\\u0000", 2)];
    let mut batch = fixture.batch("customer", 0, &states);
    let Err(SinkError::Rejected(refused)) = sink.apply(&batch).await else { unreachable!("a row is refused") };
    assert_eq!(refused.iter().map(|row| (&*row.key, &*row.reason)).collect::<Vec<_>>(), [("C2", "nul_character")]);
    batch.exclude(&refused);
    assert_eq!(sink.apply(&batch).await.unwrap().written, 1);
}

#[tokio::test]
async fn a_row_that_the_server_refuses_is_found_among_its_neighbours() {
    let Some(url) = Kind::ClickHouse.address("a_row_that_the_server_refuses_is_found_among_its_neighbours") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    database.execute("ALTER TABLE customer_versions ADD CONSTRAINT no_sevens CHECK person_name NOT LIKE '%7%'").await;
    let states: Vec<_> =
        (0..30).map(|number| fixture.customer(&format!("C{number:02}"), &format!("张{number}"), number + 1)).collect();
    let mut batch = fixture.batch("customer", 0, &states);
    let Err(SinkError::Rejected(refused)) = sink.apply(&batch).await else { unreachable!("three rows are refused") };
    assert_eq!(refused.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["C07", "C17", "C27"]);
    assert!(refused.iter().all(|row| row.detail.contains("VIOLATED_CONSTRAINT") && !row.detail.contains('张')), "{refused:?}");
    assert_eq!(sink.positions().await.unwrap(), [], "nothing of a refused batch counts");
    batch.exclude(&refused);
    assert_eq!(sink.apply(&batch).await.unwrap().written, 27);
    assert_eq!(database.query("SELECT count() FROM customer").await, ["27"]);
}

#[tokio::test]
async fn too_many_parts_are_waited_for() {
    let Some(url) = Kind::ClickHouse.address("too_many_parts_are_waited_for") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    database.execute("SYSTEM STOP MERGES customer_versions").await;
    database.execute("ALTER TABLE customer_versions MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1").await;
    let batch = |from: u64| fixture.batch("customer", from, &[fixture.customer(&format!("C{from}"), "张三", from + 1)]);
    sink.apply(&batch(0)).await.unwrap();
    let error = sink.apply(&batch(1)).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
    assert!(told(&error).contains("Code: 252") && told(&error).contains("the sink waits"), "{}", told(&error));
    database.execute("SYSTEM START MERGES customer_versions").await;
    database.execute("ALTER TABLE customer_versions RESET SETTING parts_to_throw_insert, parts_to_delay_insert").await;
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 1);
    sink.apply(&batch(1)).await.unwrap();
    assert_eq!(database.query("SELECT count() FROM customer").await, ["2"]);
}

#[tokio::test]
async fn a_dropped_or_replaced_table_is_filled_anew_and_no_other() {
    let Some(url) = Kind::ClickHouse.address("a_dropped_or_replaced_table_is_filled_anew_and_no_other") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let whole = |from: u64| {
        let mut batch = fixture.batch("customer", from, &[fixture.customer("C1", "张三", from + 1)]);
        batch.parts.push(fixture.part("consumption", from, &[fixture.order("O1", "C1", &["A"], from + 1)]));
        batch
    };
    sink.apply(&whole(0)).await.unwrap();
    let statement = database
        .query("SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'customer_versions'")
        .await;
    for replaces in [false, true] {
        database.execute("DROP TABLE customer_versions SYNC").await;
        if replaces {
            database.execute(&statement[0]).await;
        }
        let error = sink.apply(&whole(1)).await.unwrap_err();
        assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
        assert!(told(&error).contains("`customer_versions` was dropped or replaced"), "{}", told(&error));
        let positions = sink.open(LOG, &Share::All).await.unwrap();
        let next: Vec<_> = positions.iter().map(|position| (position.entity.as_str(), position.next)).collect();
        assert_eq!(next, [("consumption", 1), ("customer", 0)]);
        sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
        assert_eq!(database.query("SELECT key FROM customer").await, ["C1"]);
    }
    database.execute("DROP DATABASE {name} SYNC".replace("{name}", &database.name).as_str()).await;
    let error = sink.apply(&whole(1)).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap(), [], "a new store stands nowhere");
    sink.apply(&whole(0)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = ClickHouseOptions::new(format!("http://{nowhere}"), "x");
    let mut sink = crate::analytics(options, fixture().catalog().clone(), Vec::new(), 0);
    let error = sink.open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
    let report = sink.check(LOG).await;
    assert_eq!(report.summary, format!("ClickHouse, database x at http://{nowhere}, not reached"));
    assert_eq!(report.problems.len(), 1, "{report:?}");
}

#[tokio::test]
async fn check_tells_version_place_and_rows_and_leaves_no_trace() {
    let Some(url) = Kind::ClickHouse.address("check_tells_version_place_and_rows_and_leaves_no_trace") else { return };
    let fixture = fixture();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    assert_eq!(sink.role(), Role::Analytics);
    let report = sink.check(LOG).await;
    assert_eq!(report.problems, Vec::<String>::new(), "a store that is not there yet is no problem");
    assert!(report.summary.ends_with("not there yet: the first start makes it"), "{}", report.summary);
    assert_eq!(sink.positions().await.unwrap(), [], "a look makes nothing");
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
    let tables = database.query("SHOW TABLES").await;
    let report = sink.check(LOG).await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.summary.starts_with("ClickHouse 2"), "{}", report.summary);
    assert!(
        report.summary.ends_with(&format!("database {} at {url}, 1 rows of all versions", database.name)),
        "{}",
        report.summary
    );
    assert_eq!(database.query("SHOW TABLES").await, tables);
}

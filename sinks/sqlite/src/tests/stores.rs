//! What is true of each store whatever its role: migration, trouble with the file, marks on a foreign one.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tidemark_log::{RecordBatch, Share};
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Role, SinkError};

use super::harness::{KINDS, Kind, Store};
use crate::store::PIECE_ROWS;

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn without_folder(text: &str, store: &Store) -> String {
    text.replace(store.path().parent().unwrap().to_str().unwrap(), "data")
}

#[tokio::test]
async fn records_that_do_not_decode_are_refused_at_once_in_whatever_piece_of_a_batch() {
    let fixture = fixture();
    let many = 3 * PIECE_ROWS as u64;
    let customers: Vec<_> = (0..many).map(|number| fixture.customer(&format!("C{number:05}"), "张三", number + 1)).collect();
    let mut batch = fixture.batch("customer", 0, &customers);
    let broken = [10, many - 10];
    let mut records = RecordBatch::default();
    for record in batch.parts[0].records.iter() {
        let value = if broken.contains(&record.offset) { b"nonsense" } else { record.value };
        records.push(record.offset, record.timestamp, record.key, value);
    }
    batch.parts[0].records = Arc::new(records);
    for kind in KINDS {
        let mut batch = batch.clone();
        let store = Store::fresh(kind, fixture.catalog());
        let mut sink = store.sink();
        sink.open(LOG, &Share::All).await.unwrap();
        let SinkError::Rejected(refused) = sink.apply(&batch).await.unwrap_err() else { panic!("{kind:?}: another error") };
        assert_eq!(refused.iter().map(|row| row.position).collect::<Vec<_>>(), broken.map(|offset| (0, offset)), "{kind:?}");
        assert_eq!(store.rows("customer").await.len(), 0, "{kind:?}: nothing of the batch is kept");
        batch.exclude(&refused);
        let applied = sink.apply(&batch).await.unwrap();
        assert_eq!((applied.written, applied.skipped), (many - 2, 0), "{kind:?}");
        assert_eq!(store.rows("customer").await.len() as u64, many - 2, "{kind:?}");
    }
}

#[tokio::test]
async fn a_removed_file_is_made_and_filled_anew() {
    let fixture = fixture();
    for kind in KINDS {
        let store = Store::fresh(kind, fixture.catalog());
        let mut sink = store.sink();
        sink.open(LOG, &Share::All).await.unwrap();
        let first = fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)]);
        sink.apply(&first).await.unwrap();
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(store.path().with_extension(format!("db{suffix}"))).unwrap();
        }
        let second = fixture.batch("customer", 1, &[fixture.customer("C2", "李四", 2)]);
        let error = sink.apply(&second).await.unwrap_err();
        assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
        assert_eq!(sink.open(LOG, &Share::All).await.unwrap(), [], "{kind:?}: a new store stands nowhere");
        sink.apply(&first).await.unwrap();
        sink.apply(&second).await.unwrap();
        assert_eq!(store.rows("customer").await.len(), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_then_goes_on() {
    let fixture = fixture();
    let store = Store::fresh(Kind::Graph, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let lock = store.connection();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)]);
    let error = sink.apply(&batch).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    assert_eq!(
        without_folder(&told(&error), &store),
        "writing data/store.db: the store is unavailable: database is locked: Error code 5: database is locked"
    );
    let error = store.sink().open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "opening a locked store: {error}");
    lock.execute_batch("ROLLBACK").unwrap();
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.apply(&batch).await.unwrap().written, 1);
}

#[tokio::test]
async fn a_missing_folder_is_unavailable() {
    let fixture = fixture();
    let store = Store::fresh(Kind::Relational, fixture.catalog());
    let path = store.path().join("nowhere").join("store.db");
    let error = crate::relational(path, fixture.catalog().clone()).open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn files_that_are_no_store_of_ours_are_refused_with_the_remedy() {
    let fixture = fixture();
    let store = Store::fresh(Kind::Relational, fixture.catalog());
    fs::write(store.path(), "this is no SQLite file, but long enough to be looked at as one".repeat(20)).unwrap();
    let damaged = store.sink().open(LOG, &Share::All).await.unwrap_err();
    let reported = store.sink().check(LOG).await;
    assert_eq!(reported.problems.len(), 1, "{reported:?}");
    store.sink().reset().await.unwrap();
    assert!(!store.path().exists(), "a reset takes a damaged file away");

    store.connection().execute_batch("CREATE TABLE accounts(id)").unwrap();
    let another = store.sink().open(LOG, &Share::All).await.unwrap_err();
    fs::remove_file(store.path()).unwrap();

    store.sink().open(LOG, &Share::All).await.unwrap();
    let swapped = crate::graph(store.path(), fixture.catalog().clone()).open(LOG, &Share::All).await.unwrap_err();
    store.connection().execute_batch("UPDATE tidemark_meta SET value = 9 WHERE name = 'format'").unwrap();
    let newer = store.sink().open(LOG, &Share::All).await.unwrap_err();
    store.connection().execute_batch("UPDATE tidemark_meta SET value = 1 WHERE name = 'format'").unwrap();
    let foreign = tidemark_log::LogIdentity { generation: 3, ..LOG };
    let foreign = store.sink().open(foreign, &Share::All).await.unwrap_err();
    assert!(matches!(foreign, SinkError::ForeignLog(_)));
    for error in [&damaged, &another, &swapped, &newer] {
        assert!(matches!(error, SinkError::Fatal { .. }), "{error}");
    }
    let texts: Vec<String> =
        [&damaged, &another, &swapped, &newer, &foreign].map(|error| without_folder(&told(error), &store)).to_vec();
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn a_changed_derivation_reads_again_and_writes_what_is_not_older() {
    let fixture = fixture();
    for kind in KINDS {
        let store = Store::fresh(kind, fixture.catalog());
        let mut sink = store.sink();
        sink.open(LOG, &Share::All).await.unwrap();
        let customers = [fixture.customer("C1", "张三", 1), fixture.customer("C2", "李四", 2)];
        sink.apply(&fixture.batch("customer", 0, &customers)).await.unwrap();
        let before = store.rows("customer").await;
        drop(sink);
        // As if it had been derived by another schema, wrongly.
        let spoil = match kind {
            Kind::Graph => {
                "UPDATE vertex SET props = 'x'; DELETE FROM edge; INSERT INTO edge VALUES ('customer:C1','old','y',0,NULL,NULL,'{}',NULL)"
            }
            Kind::Vector => "UPDATE point SET payload = '{}', text_hash = 0, vector = x'00'",
            _ => "UPDATE customer SET person_name = 'x'",
        };
        store.connection().execute_batch(&format!("UPDATE tidemark_derivation SET fingerprint = 0; {spoil}")).unwrap();
        let mut sink = store.sink();
        let positions = sink.open(LOG, &Share::All).await.unwrap();
        assert!(positions.iter().all(|position| position.next == 0), "{kind:?}: {positions:?}");
        sink.apply(&fixture.batch("customer", 0, &customers[..1])).await.unwrap();
        assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 1, "{kind:?}: a second start goes on with the refresh");
        sink.apply(&fixture.batch("customer", 1, &customers[1..])).await.unwrap();
        assert_eq!(store.rows("customer").await, before, "{kind:?}: refreshed");
        let repeat = sink.apply(&fixture.batch("customer", 2, &customers)).await.unwrap();
        assert_eq!(repeat.written, 0, "{kind:?}: afterwards only newer versions are written");
    }
}

#[tokio::test]
async fn a_new_field_adds_a_column_and_an_old_one_keeps_its_own() {
    let schema = |fields: &str| {
        let text = format!(
            r#"{{"type":"record","name":"voucher","namespace":"tidemark","tidemark":{{"title":"券","key":"code"}},
                "fields":[{{"name":"code","type":"string","title":"券号","required":true}}{fields}]}}"#
        );
        Fixture::new(Catalog::with_files(&[("voucher.avsc".to_owned(), text)]).unwrap())
    };
    let old = schema(r#",{"name":"colour","type":["null","string"],"default":null,"title":"颜色"}"#);
    let new = schema(r#",{"name":"motto","type":["null","string"],"default":null,"title":"题词"}"#);
    for kind in [Kind::Relational, Kind::Analytics] {
        let mut store = Store::fresh(kind, old.catalog());
        let mut sink = store.sink();
        sink.open(LOG, &Share::All).await.unwrap();
        sink.apply(&old.batch("voucher", 0, &[old.state("voucher", r#"{"code":"V1","colour":"红"}"#, 1)])).await.unwrap();
        drop(sink);
        store.catalog = new.catalog().clone();
        let mut sink = store.sink();
        assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 0);
        sink.apply(&new.batch("voucher", 0, &[new.state("voucher", r#"{"code":"V1","motto":"美"}"#, 1)])).await.unwrap();
        assert_eq!(store.query("SELECT colour, motto FROM voucher"), ["红|美"]);
    }
}

async fn wait_for_indexes(store: &Store) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store.query("SELECT name FROM sqlite_schema WHERE name = 'write_off.order_number'").is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the indexes are built");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn indexes_come_when_the_first_fill_is_over() {
    let fixture = fixture();
    let many: Vec<_> = (0..600).map(|number| fixture.customer(&format!("C{number:04}"), "张三", number + 1)).collect();
    let none = "SELECT count(*) FROM sqlite_schema WHERE name = 'customer.consultant_code'";

    let idle = Store::fresh(Kind::Relational, fixture.catalog());
    let mut sink = idle.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &many)).await.unwrap();
    assert_eq!(idle.query(none), ["0"], "not while it is filled");
    wait_for_indexes(&idle).await;

    let trickling = Store::fresh(Kind::Relational, fixture.catalog());
    let mut sink = trickling.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    // They go on coming: it is not a pause that ends the fill.
    for (from, state) in (0..).zip(&many) {
        sink.apply(&fixture.batch("customer", from, std::slice::from_ref(state))).await.unwrap();
    }
    assert_eq!(trickling.query(none), ["1"]);

    let reopened = Store::fresh(Kind::Relational, fixture.catalog());
    let mut sink = reopened.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &many)).await.unwrap();
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(reopened.query(none), ["1"], "an open makes what is missing");

    let closed = Store::fresh(Kind::Relational, fixture.catalog());
    let mut sink = closed.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &many)).await.unwrap();
    drop(sink);
    assert_eq!(closed.query(none), ["1"], "a store that is closed is whole");
}

#[tokio::test]
async fn check_tells_version_file_and_rows() {
    let fixture = fixture();
    for (kind, role) in KINDS.into_iter().zip(Role::ALL) {
        let store = Store::fresh(kind, fixture.catalog());
        assert_eq!(store.sink().role(), role);
        assert_eq!(store.sink().check(LOG).await.problems, Vec::<String>::new(), "a store that is not there yet is no problem");
        assert!(!store.path().exists(), "a look makes nothing");
        let mut sink = store.sink();
        sink.open(LOG, &Share::All).await.unwrap();
        sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
        let report = sink.check(LOG).await;
        assert_eq!(report.problems, Vec::<String>::new());
        let rows = if kind == Kind::Graph { "3 rows" } else { "1 rows" };
        assert!(report.summary.ends_with(&format!("store.db, {rows}")), "{}", report.summary);
    }
}

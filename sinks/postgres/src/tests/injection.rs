//! Texts that could be mistaken for something else arrive unchanged, and what Postgres cannot hold stops no other row.

use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::{RejectedRow, Sink, SinkError};
use tidemark_test_support::Kind;

use super::harness::Store;

const HOSTILE: [&str; 10] = [
    "it's",
    "a\"b",
    r"back\slash \N \. \x41",
    "line\nbreak\r\n\ttab",
    "$1 $$ ${x} $tag$",
    "-- comment",
    "/* comment */ ; DROP TABLE customer",
    "`backtick` %s {braces} {\"a\",NULL}",
    "😀𠮷 4 bytes",
    "'; DELETE FROM tidemark_position; --",
];

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

/// A customer whose key, tenant, name and tags are this text.
fn customer(fixture: &Fixture, text: &str, version: u64) -> State<'static> {
    let text = serde_json::to_string(text).unwrap();
    let row = format!(
        r#"{{"customer_code":{text},"institution_code":{text},"person":{{"name":{text}}},"tags":[{text}],"consultant_code":{text}}}"#
    );
    fixture.state("customer", &row, version)
}

#[tokio::test]
async fn hostile_texts_arrive_unchanged() {
    let Some(url) = Kind::Postgres.address("hostile_texts_arrive_unchanged") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    for round in 0..2_u64 {
        let from = round * HOSTILE.len() as u64;
        let states: Vec<_> = (from + 1..).zip(HOSTILE).map(|(version, text)| customer(&fixture, text, version)).collect();
        assert_eq!(sink.apply(&fixture.batch("customer", from, &states)).await.unwrap().written, HOSTILE.len() as u64);
        let mut expected: Vec<String> = HOSTILE.map(str::to_owned).into();
        expected.sort();
        for column in ["customer_code", "tenant", "institution_code", "person_name", "tags ->> 0", "consultant_code"] {
            let mut found = store.query(&format!("SELECT {column} FROM customer")).await;
            found.sort();
            assert_eq!(found, expected, "{column}");
        }
    }
    assert_eq!(store.query("SELECT next FROM tidemark_position").await, ["20"]);
    assert_eq!(
        store.query("SELECT count(*) FROM dangling_reference WHERE field = 'consultant_code'").await,
        [HOSTILE.len().to_string()]
    );
}

/// What the store refuses of a batch; the rest is applied as the engine does it.
async fn refused(sink: &mut Box<dyn Sink>, fixture: &Fixture, from: u64, states: &[State<'static>]) -> Vec<RejectedRow> {
    let mut batch = fixture.batch("customer", from, states);
    let rows = match sink.apply(&batch).await {
        Err(SinkError::Rejected(rows)) => rows,
        other => panic!("a poisoned batch was answered with {other:?}"),
    };
    batch.exclude(&rows);
    let applied = sink.apply(&batch).await.unwrap();
    assert_eq!(applied.written, (states.len() - rows.len()) as u64);
    rows
}

#[tokio::test]
async fn a_nul_is_refused_and_its_neighbours_are_applied() {
    let Some(url) = Kind::Postgres.address("a_nul_is_refused_and_its_neighbours_are_applied") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let mut states: Vec<_> = (0..9_u64).map(|number| fixture.customer(&format!("C{number}"), "张三", number + 1)).collect();
    states[2] = customer(&fixture, "in a key\0", 3);
    states[5] = fixture.customer("C5", "张\\u0000三", 6);
    states[7] = fixture.state("customer", r#"{"customer_code":"C7","tags":["a\u0000"]}"#, 8);
    let rows = refused(&mut sink, &fixture, 0, &states).await;
    let positions: Vec<_> =
        rows.iter().map(|row| row.position.1).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    assert_eq!(positions, [2, 5, 7]);
    assert!(rows.iter().all(|row| row.reason == "nul_character" && row.detail.contains("NUL")), "{rows:?}");
    assert_eq!(store.rows("customer").await.len(), 6);
    assert_eq!(store.query("SELECT next FROM tidemark_position").await, ["9"]);
}

#[tokio::test]
async fn rows_that_the_server_refuses_are_found_among_many() {
    let Some(url) = Kind::Postgres.address("rows_that_the_server_refuses_are_found_among_many") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    // As somebody might who knows better; and a key that no index page holds.
    store.run("ALTER TABLE customer ADD CHECK (person_name <> 'forbidden')").await;
    let mut states: Vec<_> =
        (0..3_000_u64).map(|number| fixture.customer(&format!("C{number:05}"), "张三", number + 1)).collect();
    for number in [0, 1_234, 2_999] {
        states[number] = fixture.customer(&format!("C{number:05}"), "forbidden", number as u64 + 1);
    }
    // Of no pattern, so that it stays as long as it is however the server packs it.
    let mut number = 0x5EED_u64;
    let long: String = std::iter::repeat_with(|| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        char::from(b'!' + (number % 90) as u8)
    })
    .take(8_000)
    .collect();
    states[77] = customer(&fixture, &long, 78);
    let rows = refused(&mut sink, &fixture, 0, &states).await;
    let mut positions: Vec<_> = rows.iter().map(|row| row.position.1).collect();
    positions.sort_unstable();
    assert_eq!(positions, [0, 77, 1_234, 2_999]);
    assert!(rows.iter().all(|row| row.reason == "refused_by_store" && row.detail.contains("SQLSTATE")), "{rows:?}");
    assert!(rows.iter().all(|row| !row.detail.contains("13800000000")), "a reason shows no row: {rows:?}");
    assert_eq!(store.query("SELECT count(*) FROM customer").await, ["2996"]);
}

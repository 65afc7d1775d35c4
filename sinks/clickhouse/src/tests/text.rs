//! What people write arrives as they wrote it, in keys, names, lists and lines.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_test_support::Kind;

use super::harness::Database;

const TEXTS: usize = 300;

/// Made of what ends literals, begins comments, parts statements, or is cut by whatever reads lines.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[\"'\\\\`$;?{}%/*\n\r\t -]{1,16}",
        1 => "(--|/\\*|\\*/|\n\n|'\\)|\\\\'|\\$\\$|\\?fields|\\{x:String\\}){1,4}",
        1 => "[张美容😀𠮷\u{7f}\u{feff}]{1,8}",
        1 => ".{1,40}",
    ]
}

#[tokio::test]
async fn texts_arrive_unchanged_and_are_found_again() {
    let Some(url) = Kind::ClickHouse.address("texts_arrive_unchanged_and_are_found_again") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let mut runner = TestRunner::default();
    let mut texts: BTreeSet<String> = BTreeSet::from(["x'); DROP TABLE customer".to_owned()]);
    while texts.len() < TEXTS {
        // A NUL is refused, as everywhere.
        texts.insert(any_text().new_tree(&mut runner).unwrap().current().replace('\0', "␀"));
    }
    let customer = |text: &String| {
        let row = json!({"customer_code": text, "person": {"name": text}, "vip_level": text, "tags": [text]});
        fixture.state("customer", &row.to_string(), 2)
    };
    let order = |text: &String| {
        let line = json!({"line_no": 1, "item_type": text, "item_name": text});
        fixture.state("consumption", &json!({"order_number": text, "lines": [line], "department": text}).to_string(), 2)
    };
    let customers: Vec<_> = texts.iter().map(customer).collect();
    let orders: Vec<_> = texts.iter().map(order).collect();
    let database = Database::fresh(&url, fixture.catalog());
    let mut sink = database.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let mut batch = fixture.batch("customer", 0, &customers);
    batch.parts.push(fixture.part("consumption", 0, &orders));
    assert_eq!(sink.apply(&batch).await.unwrap().written, 2 * TEXTS as u64);

    let found = database.cells("SELECT customer_code, person_name, vip_level, tags FROM customer").await;
    assert_eq!(found.len(), TEXTS);
    for cells in found {
        let [code, name, level, tags] = cells.try_into().unwrap();
        assert!(texts.contains(&code), "{code:?}");
        let expected = (code.clone(), code.clone(), vec![code]);
        assert_eq!((name, level, serde_json::from_str::<Vec<String>>(&tags).unwrap()), expected);
    }
    let sql =
        "SELECT l.key, l.item_type, l.item_name, c.department FROM consumption_line AS l JOIN consumption AS c ON c.key = l.key";
    let lines = database.cells(sql).await;
    assert_eq!(lines.len(), TEXTS, "an order's key is made of its number");
    for cells in lines {
        let text = &cells[3];
        assert!(cells[1] == *text && cells[2] == *text && texts.contains(text), "{cells:?}");
    }
    // Looked up by their keys, all are known.
    let mut again = fixture.batch("customer", TEXTS as u64, &customers);
    again.parts.push(fixture.part("consumption", TEXTS as u64, &orders));
    assert_eq!(sink.apply(&again).await.unwrap().written, 0, "every key is found again");
}

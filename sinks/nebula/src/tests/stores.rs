//! What the graph holds, and what becomes of it when something goes wrong.

use std::sync::Arc;

use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::{RejectedRow, Sink, SinkError};
use tidemark_test_support::Kind;

use super::harness::{Store, options};
use crate::client::Value;
use crate::shape::EDGE_RECORD;
use crate::{NebulaOptions, Values};

pub(super) async fn opened(store: &Store) -> Box<dyn Sink> {
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink
}

fn refused(outcome: Result<tidemark_sink_core::Applied, SinkError>) -> Vec<RejectedRow> {
    match outcome {
        Err(SinkError::Rejected(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

pub(super) fn relation(fixture: &Fixture, target: &str, level: u32, version: u64) -> State<'static> {
    let row = format!(
        r#"{{"source_type":"PROJECT","source_code":"A|B","target_type":"PRODUCT","target_code":"{target}","relation_type":"SIMILAR",
            "relation_level":{level},"is_bidirectional":true}}"#
    );
    fixture.state("catalog_relation", &row, version)
}

const HOSTILE: [&str; 8] = [
    r#"a"b"#,
    r"back\slash\",
    "line\nbreak\r\ttab",
    "$p0 $x `tick` $$.y",
    "# // /* */ -- ; DROP SPACE x",
    "😀𠮷医",
    r#"\u0041\x41\101\"#,
    "\");DELETE VERTEX \"customer:C1\" WITH EDGE;#",
];

#[tokio::test]
async fn hostile_texts_arrive_unchanged() {
    let Some(address) = Kind::Nebula.address("hostile_texts_arrive_unchanged") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    for values in [Values::Parameters, Values::Literals] {
        let store = Store::fresh(&address, fixture.catalog()).with(|options| options.values = values);
        let mut sink = opened(&store).await;
        let states: Vec<State<'_>> = (1..).zip(HOSTILE).map(|(version, text)| {
            let quoted = serde_json::to_string(text).unwrap();
            let row = format!(
                r#"{{"customer_code":{quoted},"institution_code":{quoted},"consultant_code":{quoted},"person":{{"name":{quoted},"address":{quoted}}},"tags":[{quoted}],"notes":{quoted}}}"#
            );
            fixture.state("customer", &row, version)
        }).collect();
        // Twice: the second time the keys and edges are looked up as well.
        sink.apply(&fixture.batch("customer", 0, &states)).await.unwrap();
        let newer: Vec<State<'_>> = states.iter().map(|state| State { version: state.version + 100, ..state.clone() }).collect();
        sink.apply(&fixture.batch("customer", states.len() as u64, &newer)).await.unwrap();
        let vertices = store.vertices("customer").await;
        let edges = store.edges().await;
        assert_eq!((vertices.len(), edges.len()), (HOSTILE.len(), 2 * HOSTILE.len()));
        for (text, state) in HOSTILE.iter().zip(&newer) {
            let source = format!("customer:{}", state.key);
            let properties = &vertices[&source];
            for name in ["customer_code", "institution_code", "tenant", "person_name", "person_address", "notes"] {
                assert_eq!(properties[name], Value::text(text), "{name}");
            }
            assert_eq!(properties["key"], Value::text(&state.key));
            assert_eq!(properties["tags"], Value::text(&serde_json::to_string(&[text]).unwrap()));
            for (kind, target) in [("belongs_to_institution", "institution"), ("served_by_consultant", "staff")] {
                let place = (source.clone(), kind.to_owned(), format!("{target}:{}", state.key), 0);
                assert!(edges.contains_key(&place), "{place:?}");
            }
        }
    }
}

#[tokio::test]
async fn values_are_typed_and_money_is_in_fen_too() {
    let Some(address) = Kind::Nebula.address("values_are_typed_and_money_is_in_fen_too") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let order = fixture.order("O1", "C1", &["X"], 1);
    sink.apply(&fixture.batch("consumption", 0, std::slice::from_ref(&order))).await.unwrap();
    let properties = store.vertices("consumption").await.remove("consumption:O1").unwrap();
    assert_eq!(properties["net_amount"], Value::text("100.00"));
    assert_eq!(properties["net_amount_fen"], Value::Int(10_000));
    assert_eq!(format!("{:?}", properties["order_date"]), "Date(Date { year: 2026, month: 1, day: 10 })");
    assert_eq!(
        format!("{:?}", properties["changed_at"]),
        "DateTime(Date { year: 2026, month: 1, day: 10 }, Time { hour: 2, minute: 30, second: 1, micros: 0 })"
    );
    let lines = properties["lines"].as_text().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(lines).unwrap()[0]["item_code"], "X");
    assert!(!properties.contains_key("deleted_at"));
}

#[tokio::test]
async fn a_long_key_has_a_hashed_id_and_its_edges_meet_it() {
    let Some(address) = Kind::Nebula.address("a_long_key_has_a_hashed_id_and_its_edges_meet_it") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let code = "长".repeat(200);
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer(&code, "一", 1)])).await.unwrap();
    sink.apply(&fixture.batch("consumption", 0, &[fixture.order("O1", &code, &[], 1)])).await.unwrap();
    let vertices = store.vertices("customer").await;
    let (id, properties) = vertices.first_key_value().unwrap();
    assert!(id.starts_with("customer:#") && id.len() == 74, "{id}");
    assert_eq!(properties["key"], Value::text(&code));
    assert!(store.edges().await.keys().any(|(_, kind, target, _)| kind == "bought_by_customer" && target == id));
}

#[tokio::test]
async fn an_edge_that_a_cut_batch_left_behind_goes_with_the_next_version() {
    let Some(address) = Kind::Nebula.address("an_edge_that_a_cut_batch_left_behind_goes_with_the_next_version") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let (moving, going) = (relation(&fixture, "P1", 1, 1), relation(&fixture, "P2", 2, 2));
    sink.apply(&fixture.batch("catalog_relation", 0, &[moving.clone(), going.clone()])).await.unwrap();
    // What a batch leaves that was cut off between its edges and the records of where they are.
    for id in store.vertices(EDGE_RECORD).await.into_keys() {
        store.query(&format!("DELETE VERTEX {}", crate::ngql::text(&id))).await;
    }
    assert_eq!((store.vertices(EDGE_RECORD).await.len(), store.edges().await.len()), (0, 2));
    let mut moved = relation(&fixture, "P9", 3, 3);
    moved.key = moving.key.clone();
    let deleted = fixture.deleted(&going, 4);
    sink.apply(&fixture.batch("catalog_relation", 2, &[moving, moved, deleted])).await.unwrap();
    let targets: Vec<String> = store.edges().await.into_keys().map(|(_, _, target, _)| target).collect();
    assert_eq!(targets, ["product:P9"]);
}

#[tokio::test]
async fn an_edge_that_is_a_record_moves_and_goes() {
    let Some(address) = Kind::Nebula.address("an_edge_that_is_a_record_moves_and_goes") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let first = relation(&fixture, "P1", 1, 1);
    sink.apply(&fixture.batch("catalog_relation", 0, &[first.clone(), relation(&fixture, "P2", 2, 2)])).await.unwrap();
    let edges = store.edges().await;
    let targets: Vec<&str> = edges.keys().map(|(_, _, target, _)| target.as_str()).collect();
    assert_eq!(targets, ["product:P1", "product:P2"]);
    let (place, properties) = edges.first_key_value().unwrap();
    assert_eq!((place.0.as_str(), place.1.as_str()), (r"project:A\|B", "similar"));
    assert_eq!((&properties["relation_level"], &properties["is_bidirectional"]), (&Value::Int(1), &Value::Bool(true)));
    // The same record with other ends, as no key of ours allows today, but a schema may.
    let mut moved = relation(&fixture, "P9", 3, 5);
    moved.key = first.key.clone();
    sink.apply(&fixture.batch("catalog_relation", 2, &[moved])).await.unwrap();
    let targets: Vec<String> = store.edges().await.into_keys().map(|(_, _, target, _)| target).collect();
    assert_eq!(targets, ["product:P2", "product:P9"], "the old edge goes when the record moves");
    sink.apply(&fixture.batch("catalog_relation", 3, &[fixture.deleted(&first, 6), first.clone()])).await.unwrap();
    sink.apply(&fixture.batch("catalog_relation", 5, &[first])).await.unwrap();
    assert_eq!(store.edges().await.len(), 1, "a deleted edge is gone, and a late event does not revive it");
    let record = &store.vertices(EDGE_RECORD).await[r"catalog_relation:PROJECT|A\|B|PRODUCT|P1|SIMILAR"];
    assert_eq!(record["version"], Value::Int(6));
    assert!(record.contains_key("deleted_at"));
}

#[tokio::test]
async fn a_nul_is_refused_before_anything_is_written() {
    let Some(address) = Kind::Nebula.address("a_nul_is_refused_before_anything_is_written") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let mut batch = fixture.batch(
        "customer",
        0,
        &[fixture.customer("C1", "好", 1), fixture.customer("C2", "坏\\u0000", 2), fixture.customer("C\\u00003", "坏", 3)],
    );
    let rows = refused(sink.apply(&batch).await);
    assert!(rows.iter().all(|row| row.reason == "nul_character" && row.detail.contains("correct the record")), "{rows:?}");
    assert!(store.vertices("customer").await.is_empty(), "nothing is written");
    batch.exclude(&rows);
    while let Err(SinkError::Rejected(rows)) = sink.apply(&batch).await {
        batch.exclude(&rows);
    }
    assert_eq!(store.vertices("customer").await.into_keys().collect::<Vec<_>>(), ["customer:C1"]);
    assert_eq!(batch.excluded.len(), 2);
}

/// A customer whose first visit the server cannot keep as a date.
fn poison(fixture: &Fixture, code: &str, version: u64) -> State<'static> {
    let row = format!(
        r#"{{"customer_code":"{code}","institution_code":"I1","person":{{"name":"毒"}},"first_visit_date":"day:3000000"}}"#
    );
    fixture.state("customer", &row, version)
}

#[tokio::test]
async fn what_the_server_refuses_is_found_among_many() {
    let Some(address) = Kind::Nebula.address("what_the_server_refuses_is_found_among_many") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = opened(&store).await;
    let states: Vec<State<'_>> = (0..600_u64)
        .map(|number| match number {
            77 | 78 | 513 => poison(&fixture, &format!("C{number:03}"), number + 1),
            _ => fixture.customer(&format!("C{number:03}"), "好", number + 1),
        })
        .collect();
    let mut batch = fixture.batch("customer", 0, &states);
    let rows = refused(sink.apply(&batch).await);
    let mut keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["C077", "C078", "C513"]);
    assert!(rows.iter().all(|row| row.reason == "refused_by_store"), "{rows:?}");
    let stood: Vec<u64> = sink.positions().await.unwrap().iter().map(|position| position.next).collect();
    assert!(stood.iter().all(|next| *next == 0), "the position waits: {stood:?}");
    batch.exclude(&rows);
    sink.apply(&batch).await.unwrap();
    assert_eq!(store.vertices("customer").await.len(), 597);
    // The neighbours have their edges, although their vertices were written by the batch that was refused.
    assert_eq!(store.edges().await.len(), 2 * 597);
    assert_eq!(sink.positions().await.unwrap()[0].next, 600);
}

#[tokio::test]
async fn a_field_that_is_added_widens_the_tag_and_fills_it() {
    let Some(address) = Kind::Nebula.address("a_field_that_is_added_widens_the_tag_and_fills_it") else { return };
    let old = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, old.catalog());
    let row = r#"{"institution_code":"I1","name":"杭州"}"#;
    let mut sink = opened(&store).await;
    sink.apply(&old.batch("institution", 0, &[old.state("institution", row, 1)])).await.unwrap();
    drop(sink);
    let new = Fixture::new(widened());
    let wide = Store::fresh(&address, new.catalog()).with(|options| *options = store.options.clone());
    let mut sink = wide.sink();
    let positions = sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(positions.iter().find(|position| position.entity == "institution").unwrap().next, 0, "it is read again");
    let row = r#"{"institution_code":"I1","name":"杭州","opened_on":"2020-02-29"}"#;
    let again = sink.apply(&new.batch("institution", 0, &[new.state("institution", row, 1)])).await.unwrap();
    assert_eq!(again.written, 1, "the same version is written again");
    let vertex = &wide.vertices("institution").await["institution:I1"];
    assert_eq!(format!("{:?}", vertex["opened_on"]), "Date(Date { year: 2020, month: 2, day: 29 })");
    let again = sink.apply(&new.batch("institution", 1, &[new.state("institution", row, 1)])).await.unwrap();
    assert_eq!(again.written, 0, "and after that only what is newer");
    drop(sink);
    let positions = wide.sink().open(LOG, &Share::All).await.unwrap();
    assert_eq!(positions[0].next, 2, "once is enough");
}

/// The built-in entities, an institution with one field more.
fn widened() -> Catalog {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/entities/institution.avsc");
    let mut schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(source).unwrap()).unwrap();
    let field = serde_json::json!({
        "name": "opened_on", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null, "title": "开业日期"
    });
    schema["fields"].as_array_mut().unwrap().push(field);
    Catalog::with_files(&[("institution.avsc".to_owned(), schema.to_string())]).unwrap()
}

#[tokio::test]
async fn check_names_what_is_wrong_and_what_to_do() {
    let Some(address) = Kind::Nebula.address("check_names_what_is_wrong_and_what_to_do") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let fresh = store.sink().check(LOG).await;
    assert_eq!(fresh.problems, Vec::<String>::new());
    assert!(fresh.summary.starts_with("NebulaGraph 3.") && fresh.summary.contains("not there yet"), "{}", fresh.summary);
    opened(&store).await;
    let filled = store.sink().check(LOG).await;
    assert_eq!(filled.problems, Vec::<String>::new());
    assert!(filled.summary.contains(&store.options.space), "{}", filled.summary);
    assert!(
        store.query("FETCH PROP ON `tidemark_partition` \"tidemark:check\" YIELD id(vertex) AS id").await.is_empty(),
        "no trace"
    );

    let problems = |options: NebulaOptions| {
        let sink = crate::graph(options, Arc::clone(fixture.catalog()));
        async move { sink.check(LOG).await.problems.join("\n") }
    };
    let text = problems(NebulaOptions { password: "wrong".to_owned(), ..store.options.clone() }).await;
    assert!(text.contains("correct `user` and `password`") && !text.contains("wrong"), "{text}");
    let text = problems(NebulaOptions { space: "a-b".to_owned(), ..store.options.clone() }).await;
    assert!(text.contains("letters, digits"), "{text}");
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let text = problems(NebulaOptions { addresses: vec![dead.clone(), address.clone()], ..store.options.clone() }).await;
    assert!(text.contains(&dead) && text.lines().count() == 1, "{text}");

    let numbered = options(&address);
    store.query(&format!("CREATE SPACE `{}`(vid_type = INT64)", numbered.space)).await;
    let mut sink = crate::graph(numbered.clone(), Arc::clone(fixture.catalog()));
    match sink.open(LOG, &Share::All).await {
        Err(SinkError::Fatal { step, .. }) => {
            assert!(step.contains("FIXED_STRING(256)") && step.contains("name another space"), "{step}");
        }
        outcome => panic!("{outcome:?}"),
    }
    assert!(problems(numbered.clone()).await.contains("name another space"));
    store.query(&format!("DROP SPACE `{}`", numbered.space)).await;
}

#[tokio::test]
async fn a_space_that_is_not_there_has_no_positions_and_is_not_made_by_looking() {
    let Some(address) = Kind::Nebula.address("a_space_that_is_not_there_has_no_positions_and_is_not_made_by_looking") else {
        return;
    };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&address, fixture.catalog());
    let mut sink = store.sink();
    assert_eq!(sink.positions().await.unwrap(), []);
    assert_eq!(sink.filled_from().await.unwrap(), None);
    sink.reset().await.unwrap();
    assert!(store.session().await.is_none(), "nothing was made");
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.filled_from().await.unwrap(), Some(LOG));
}

use std::collections::HashSet;
use std::sync::Arc;

use tidemark_log::RecordBatch;
use tidemark_schemas::Catalog;

use super::{SinkBatch, TopicBatch};
use crate::contract::Fixture;

fn batch(records: &[(&str, u64)]) -> SinkBatch {
    let fixture = Fixture::new(Catalog::built_in());
    let states: Vec<_> = records.iter().map(|(code, version)| fixture.customer(code, &format!("v{version}"), *version)).collect();
    fixture.batch("customer", 0, &states)
}

fn collapsed(batch: &SinkBatch) -> (Vec<(String, u64, u64)>, u64) {
    let (rows, skipped) = batch.collapse().unwrap();
    (rows.iter().map(|row| (row.state.key.to_string(), row.state.version, row.offset)).collect(), skipped)
}

#[test]
fn the_last_version_of_each_key_stays_in_key_order() {
    let batch = batch(&[("B", 1), ("A", 2), ("B", 3), ("A", 1), ("C", 4), ("C", 4)]);
    let expected = [("A", 2, 1), ("B", 3, 2), ("C", 4, 5)].map(|(key, version, offset)| (key.to_owned(), version, offset));
    assert_eq!(collapsed(&batch), (expected.to_vec(), 3));
}

#[test]
fn what_is_in_order_stays_as_it_is() {
    let (rows, skipped) = collapsed(&batch(&[("A", 1), ("B", 2)]));
    assert_eq!((rows.len(), skipped), (2, 0));
}

#[test]
fn partitions_of_an_entity_are_one_run_of_keys() {
    let fixture = Fixture::new(Catalog::built_in());
    let of = |partition, codes: [&str; 2]| {
        let part = fixture.part("customer", 0, &codes.map(|code| fixture.customer(code, "v", 1)));
        TopicBatch { partition, ..part }
    };
    let project = fixture.part("project", 0, &[fixture.state("project", r#"{"project_code":"A","name":"玻"}"#, 1)]);
    let mut batch = fixture.batch("customer", 0, &[]);
    batch.parts = vec![of(0, ["D", "A"]), project, of(2, ["C", "B"])];
    let (rows, _) = batch.collapse().unwrap();
    let found: Vec<_> = rows.iter().map(|row| (&*batch.parts[row.part].entity.name, &*row.state.key, row.offset)).collect();
    assert_eq!(
        found,
        [("customer", "A", 1), ("customer", "B", 1), ("customer", "C", 0), ("customer", "D", 0), ("project", "A", 0)]
    );
}

#[test]
fn a_record_under_another_key_than_its_own_is_refused() {
    let mut batch = batch(&[("A", 1)]);
    let mut records = RecordBatch::default();
    records.push(0, 0, b"B", batch.parts[0].records.get(0).value);
    batch.parts[0].records = Arc::new(records);
    let refused = batch.collapse().unwrap_err();
    assert!(refused[0].key == "B" && refused[0].detail.contains("it holds the key A"), "{refused:?}");
}

#[test]
fn pieces_hold_one_entity_each_and_all_versions_of_a_key() {
    let fixture = Fixture::new(Catalog::built_in());
    let mut batch = batch(&[("A", 1), ("B", 2), ("B", 3), ("B", 4), ("C", 5), ("D", 6)]);
    batch.parts.push(fixture.part("project", 0, &[fixture.state("project", r#"{"project_code":"A","name":"玻"}"#, 1)]));
    let order = batch.key_order(|_| true);
    let pieces: Vec<Vec<(String, u64)>> = order
        .pieces(2)
        .map(|piece| order.decode(piece).unwrap())
        .map(|rows| rows.iter().map(|row| (row.state.key.to_string(), row.state.version)).collect())
        .collect();
    let expected = [vec![("A", 1), ("B", 4)], vec![("C", 5), ("D", 6)], vec![("A", 1)]];
    let expected = expected.map(|piece| piece.into_iter().map(|(key, version)| (key.to_owned(), version)).collect::<Vec<_>>());
    assert_eq!(pieces, expected);
    assert_eq!(order.count(), 7);
    assert_eq!(batch.key_order(|entity| entity.name == "project").count(), 7, "what is not kept is answered for as well");
    assert_eq!(fixture.batch("customer", 0, &[]).key_order(|_| true).pieces(2).count(), 0);
}

#[test]
fn all_undecodable_records_are_refused_at_once_and_left_out_afterwards() {
    let mut records = RecordBatch::default();
    records.push(7, 0, b"A", b"nonsense");
    records.push(8, 0, b"#control|file", b"");
    records.push(9, 0, b"B", b"");
    let catalog = Arc::new(Catalog::built_in());
    let entity = Arc::clone(catalog.entity("customer").unwrap());
    let part = TopicBatch { entity, partition: 2, from: 7, next: 10, records: Arc::new(records) };
    let mut batch = SinkBatch { catalog, parts: vec![part], excluded: HashSet::new() };
    let refused = batch.collapse().unwrap_err();
    let positions: Vec<_> = refused.iter().map(|row| (row.key.as_str(), row.position, row.reason.as_str())).collect();
    assert_eq!(positions, [("A", (2, 7), "undecodable"), ("B", (2, 9), "undecodable")]);
    batch.exclude(&refused);
    assert_eq!(collapsed(&batch), (Vec::new(), 1), "the control record alone is left, and skipped");
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
}

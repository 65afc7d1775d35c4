//! Adding an entity is adding one `.avsc` to a configured folder: its table, vertex, edge and point come by themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;

use serde_json::json;
use tidemark_tests::files::{code, customer, envelope, pending};
use tidemark_tests::generator::Operation::{Delete, Insert, Update};
use tidemark_tests::oracle::values::without_nulls;
use tidemark_tests::place::Place;
use tidemark_tests::results;
use tidemark_tests::stores::{self, Edge};

const ENTITY: &str = r#"{
  "type": "record", "name": "gift_card",
  "tidemark": {
    "title": "礼品卡", "key": "card_code", "tenant": "institution_code", "file": {"names": ["gift_cards"]},
    "vector": {"collection": "gift_cards", "text": "礼品卡：{motto}，{colour}", "payload": ["colour", "amount"]}
  },
  "fields": [
    {"name": "card_code", "type": "string", "title": "卡号", "required": true},
    {"name": "institution_code", "type": ["null", "string"], "default": null, "title": "机构代码"},
    {"name": "owner_code", "type": ["null", "string"], "default": null, "title": "持卡人", "references": "customer", "edge": "owned_by_customer"},
    {"name": "colour", "type": ["null", "string"], "default": null, "title": "颜色", "vocabulary": "colour"},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}], "default": null, "title": "面额", "unit": "CNY"},
    {"name": "valid_until", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null, "title": "有效期"},
    {"name": "motto", "type": ["null", "string"], "default": null, "title": "寄语"}
  ]
}"#;

const VOCABULARY: &str = r#"{"name": "colour", "title": "颜色", "codes": [
  {"code": "RED", "title": "红", "aliases": ["红", "红色"]}, {"code": "GOLDEN", "title": "金", "aliases": ["金色"]}]}"#;

fn place_with_entity() -> Place {
    let mut place = Place::new();
    let schemas = place.data().join("schemas");
    fs::create_dir_all(&schemas).unwrap();
    fs::write(schemas.join("gift_card.avsc"), ENTITY).unwrap();
    fs::write(schemas.join("colour.json"), VOCABULARY).unwrap();
    place.set("TIDEMARK__SCHEMAS__FOLDER", schemas.to_str().unwrap());
    place
}

#[test]
fn an_added_entity_reaches_all_four_stores() {
    let place = place_with_entity();
    place.put(&pending("customers_add.json"), envelope(Insert, &[customer(1, "张")]));
    let card = json!({"card_code": "GC-1", "owner_code": code(1), "colour": "红色", "amount": 500.5, "valid_until": "2027-01-01", "motto": "生日快乐"});
    let strange = json!({"card_code": "GC-2", "colour": "紫", "amount": "12.00"});
    let bad = json!({"card_code": "GC-3", "amount": 1.234});
    place.put(&pending("gift_cards_add.json"), envelope(Insert, &[card, strange, bad]));
    place.once();
    let result = results::newest(&place.import(), "gift_cards_add.json");
    assert_eq!((result.counts.inserted, result.counts.rejected), (2, 1), "{:#}", result.document);
    let warnings = result.document["warnings"].as_object().unwrap();
    assert!(!warnings.is_empty(), "紫 is not in the list: {:#}", result.document);

    let state = place.state("gift_card");
    let expected = json!({"card_code": "GC-1", "institution_code": "BJ-HA-001", "owner_code": code(1), "colour": "RED", "amount": "500.50",
        "valid_until": "2027-01-01", "motto": "生日快乐"});
    assert_eq!(without_nulls(&state["GC-1"].row), expected);
    assert_eq!(state["GC-2"].row["colour"], "紫", "kept as it stands");
    for file in ["relational.db", "analytics.db"] {
        let rows = stores::rows(place.data(), file, "gift_card", &["card_code"]);
        let row = &rows[&vec!["GC-1".to_owned()]];
        assert_eq!((row["amount"].as_str(), row["colour"].as_str()), ("500.50", "RED"), "{file}");
        assert_eq!(rows.len(), 2);
    }
    assert_eq!(stores::vertices(place.data())["gift_card:GC-1"].0, "gift_card");
    let edge = Edge {
        source: "gift_card:GC-1".into(),
        target: format!("customer:{}", code(1)),
        kind: "owned_by_customer".into(),
        rank: 0,
    };
    assert!(stores::edges(place.data()).contains(&edge));
    let points = stores::points(place.data());
    assert_eq!(points[&("gift_cards".to_owned(), "GC-1".to_owned())].payload["colour"], "RED");
    let found = place.succeed(&["search", "gift_cards", "生日", "--limit", "1", "--json"]);
    assert!(found.contains("GC-1"), "{found}");
}

#[test]
fn an_added_entity_is_updated_and_deleted() {
    let place = place_with_entity();
    place.put(
        &pending("gift_cards_add.json"),
        envelope(Insert, &[json!({"card_code": "GC-1", "colour": "红"}), json!({"card_code": "GC-2"})]),
    );
    place.put(
        &pending("gift_cards_update.json"),
        envelope(Update, &[json!({"card_code": "GC-1", "updates": {"colour": "金色"}})]),
    );
    place.put(&pending("gift_cards_delete.json"), envelope(Delete, &[json!({"card_code": "GC-2"})]));
    place.once();
    let state = place.state("gift_card");
    assert_eq!(state["GC-1"].row["colour"], "GOLDEN");
    assert!(state["GC-2"].deleted);
}

#[test]
fn a_schema_that_is_wrong_is_refused_by_name() {
    let place = place_with_entity();
    let file = place.data().join("schemas/gift_card.avsc");
    fs::write(&file, ENTITY.replace("\"vocabulary\"", "\"vocabularies\"")).unwrap();
    let outcome = place.run(&["up", "--once"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("gift_card.avsc") && outcome.stderr.contains("vocabularies"), "{}", outcome.stderr);
}

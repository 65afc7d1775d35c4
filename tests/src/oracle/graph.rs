//! The edges and points that live rows must have, written down by hand from the entities' documentation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Oracle;
use super::values::join_key;
use crate::stores::Edge;

/// Every entity that comes from files, and its key's fields.
pub const ENTITIES: [(&str, &[&str]); 8] = [
    ("institution", &["institution_code"]),
    ("staff", &["staff_code"]),
    ("project", &["project_code"]),
    ("product", &["product_code"]),
    ("customer", &["customer_code"]),
    ("consumption", &["order_number"]),
    ("write_off", &["write_off_id"]),
    ("catalog_relation", &["source_type", "source_code", "target_type", "target_code", "relation_type"]),
];

/// (entity, field, target entity, edge).
const REFERENCES: [(&str, &str, &str, &str); 13] = [
    ("staff", "institution_code", "institution", "works_at_institution"),
    ("customer", "institution_code", "institution", "belongs_to_institution"),
    ("customer", "consultant_code", "staff", "served_by_consultant"),
    ("customer", "referrer_code", "customer", "referred_by_customer"),
    ("consumption", "institution_code", "institution", "took_place_at_institution"),
    ("consumption", "customer_code", "customer", "bought_by_customer"),
    ("consumption", "doctor_code", "staff", "treated_by_doctor"),
    ("consumption", "consultant_code", "staff", "advised_by_consultant"),
    ("write_off", "institution_code", "institution", "took_place_at_institution"),
    ("write_off", "customer_code", "customer", "used_by_customer"),
    ("write_off", "product_code", "product", "uses_product"),
    ("write_off", "consultant_code", "staff", "advised_by_consultant"),
    ("write_off", "order_number", "consumption", "draws_on_consumption"),
];

/// (entity, collection, payload columns).
pub const COLLECTIONS: [(&str, &str, &[&str]); 3] = [
    (
        "customer",
        "customer_profiles",
        &[
            "institution_code",
            "person_name",
            "person_gender",
            "vip_level",
            "source",
            "consultant_code",
            "tags",
            "status",
            "first_visit_date",
            "last_visit_date",
        ],
    ),
    ("project", "medical_knowledge", &["name", "category", "body_part", "risk_level", "standard_price", "status"]),
    (
        "product",
        "medical_knowledge",
        &["name", "category", "brand", "department", "product_type", "effect_level", "standard_price", "status"],
    ),
];

/// All edges of the live rows. The rank of an edge that is an entity of its own is not computed here: it is 0.
pub fn edges(oracle: &Oracle) -> BTreeSet<Edge> {
    let mut found = BTreeSet::new();
    for (entity, field, target, kind) in REFERENCES {
        for (key, row) in oracle.live(entity) {
            if let Some(code) = row[field].as_str() {
                found.insert(edge(format!("{entity}:{key}"), format!("{target}:{code}"), kind, 0));
            }
        }
    }
    for (key, row) in oracle.live("consumption") {
        for line in row["lines"].as_array().into_iter().flatten() {
            add_line(key, line, &mut found);
        }
    }
    for row in oracle.live("catalog_relation").values() {
        let end = |side: &str| {
            let of = |part: &str| row[format!("{side}_{part}")].as_str().unwrap_or_default().to_owned();
            format!("{}:{}", of("type").to_lowercase(), join_key(&[&of("code")]))
        };
        let kind = row["relation_type"].as_str().unwrap_or_default().to_lowercase();
        found.insert(edge(end("source"), end("target"), &kind, 0));
    }
    found
}

fn add_line(order: &str, line: &Value, found: &mut BTreeSet<Edge>) {
    let rank = line["line_no"].as_i64().unwrap_or_default();
    let source = format!("consumption:{order}");
    let target = match line["item_type"].as_str() {
        Some("PROJECT") => Some("project"),
        Some("PRODUCT") => Some("product"),
        _ => None,
    };
    if let (Some(target), Some(code)) = (target, line["item_code"].as_str()) {
        found.insert(edge(source.clone(), format!("{target}:{code}"), "includes_item", rank));
    }
    if let Some(code) = line["consumed_product_code"].as_str() {
        found.insert(edge(source, format!("product:{code}"), "consumes_product", rank));
    }
}

fn edge(source: String, target: String, kind: &str, rank: i64) -> Edge {
    Edge { source, target, kind: kind.to_owned(), rank }
}

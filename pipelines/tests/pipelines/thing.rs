//! A small entity that has everything the fold must deal with, and changes of it.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidemark_schemas::change::{Change, Operation, event_id};
use tidemark_schemas::{Catalog, Entity, json as rows, row};

use crate::oracle::Told;

pub(crate) const THING: &str = r#"{
  "type": "record", "name": "thing", "namespace": "tidemark", "doc": "For tests.",
  "tidemark": {"title": "物", "key": "code", "graph": "vertex", "analytics": {"order_by": ["code"]}},
  "fields": [
    {"name": "code", "type": "string", "title": "代码", "required": true},
    {"name": "name", "type": ["null", "string"], "default": null, "title": "名称", "required": true},
    {"name": "a", "type": ["null", "string"], "default": null, "title": "甲"},
    {"name": "b", "type": ["null", "long"], "default": null, "title": "乙"},
    {"name": "person", "default": null, "title": "人", "type": ["null", {
      "type": "record", "name": "thing_person", "fields": [
        {"name": "x", "type": ["null", "string"], "default": null, "title": "子", "required": true},
        {"name": "y", "type": ["null", "string"], "default": null, "title": "丑"}
      ]}]}
  ]
}"#;

/// The built-in entities and `thing`.
pub(crate) fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::with_files(&[("thing.avsc".to_owned(), THING.to_owned())]).unwrap())
}

pub(crate) fn thing(catalog: &Catalog) -> &Arc<Entity> {
    catalog.entity("thing").unwrap()
}

/// The field numbers of dotted names.
pub(crate) fn mask(entity: &Entity, names: &[&str]) -> Vec<u32> {
    let number = |name: &str| match name.split_once('.') {
        None => entity.record.fields.iter().find(|field| field.name == name).unwrap().number,
        Some((parent, child)) => {
            let parent = entity.record.fields.iter().find(|field| field.name == parent).unwrap();
            let tidemark_schemas::entity::FieldType::Record(nested) = &parent.kind else { panic!("{name}") };
            nested.fields.iter().find(|field| field.name == child).unwrap().number
        }
    };
    let mut numbers: Vec<u32> = names.iter().map(|name| number(name)).collect();
    numbers.sort_unstable();
    numbers
}

/// Which change a test speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) source: &'static str,
    pub(crate) source_seq: u64,
    pub(crate) claim: String,
    pub(crate) operation: Operation,
    pub(crate) snapshot: bool,
    /// The row, or for an update the fields that it names; with `code`.
    pub(crate) row: Value,
    /// Dotted names that an update speaks of.
    pub(crate) names: Vec<&'static str>,
}

impl Spec {
    pub(crate) fn key(&self) -> &str {
        self.row["code"].as_str().unwrap()
    }

    /// The change itself.
    pub(crate) fn change(&self, entity: &Entity) -> Change<'static> {
        let whole = rows::row_from_json(&entity.record, &self.row).unwrap();
        let row = (self.operation != Operation::Delete).then_some(whole);
        let mask = if self.operation == Operation::Update { mask(entity, &self.names) } else { Vec::new() };
        Change {
            key: Cow::Owned(self.key().to_owned()),
            tenant: None,
            operation: self.operation,
            mask,
            row_hash: row.as_ref().map_or(0, |row| row::hash(&entity.record, row)),
            row,
            source: Cow::Borrowed(self.source),
            source_seq: self.source_seq,
            snapshot: self.snapshot,
            occurred_at: None,
            ingested_at: 1_000 + self.source_seq as i64,
            event_id: event_id(self.source, self.source_seq),
            claim: Cow::Owned(self.claim.clone()),
        }
    }
}

/// A spec without claim, number 0.
pub(crate) fn spec(source: &'static str, operation: Operation, row: Value) -> Spec {
    Spec { source, source_seq: 0, claim: String::new(), operation, snapshot: false, row, names: Vec::new() }
}

pub(crate) fn insert(source: &'static str, row: Value) -> Spec {
    spec(source, Operation::Insert, row)
}

pub(crate) fn listed(source: &'static str, row: Value) -> Spec {
    Spec { snapshot: true, ..insert(source, row) }
}

pub(crate) fn update(source: &'static str, row: Value, names: &[&'static str]) -> Spec {
    Spec { names: names.to_vec(), ..spec(source, Operation::Update, row) }
}

pub(crate) fn delete(source: &'static str, code: &str) -> Spec {
    spec(source, Operation::Delete, json!({ "code": code }))
}

/// The same change as the oracle hears it.
pub(crate) fn told(spec: &Spec, version: u64) -> Told {
    let mut row: Map<String, Value> =
        ["code", "name", "a", "b", "person"].iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    for (name, value) in spec.row.as_object().unwrap() {
        row[name] = value.clone();
    }
    let names = spec.names.iter().map(|name| (*name).to_owned()).collect();
    let source = spec.source.to_owned();
    Told { operation: spec.operation, snapshot: spec.snapshot, source, row, names, version }
}

//! Records for the suite, built by the real codec.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use tidemark_log::RecordBatch;
use tidemark_schemas::codec::encode_state;
use tidemark_schemas::{Catalog, Entity, State, json};

use crate::batch::{SinkBatch, TopicBatch};

/// Moment of version 0; each version is a second later.
const START_MICROS: i64 = 1_768_012_200_000_000;

/// Builds states and batches of a catalog's entities.
#[derive(Debug, Clone)]
pub struct Fixture {
    catalog: Arc<Catalog>,
}

impl Fixture {
    /// Over this catalog.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog: Arc::new(catalog) }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The entity of this name, which must be there.
    pub fn entity(&self, name: &str) -> &Arc<Entity> {
        self.catalog.entity(name).expect("the fixture's entities are in its catalog")
    }

    /// A live state whose row is given as JSON.
    pub fn state(&self, entity: &str, row: &str, version: u64) -> State<'static> {
        let entity = self.entity(entity);
        let value = serde_json::from_str(row).expect("the fixture's rows are JSON");
        let row = json::row_from_json(&entity.record, &value).expect("the fixture's rows fit their entity");
        let moment = START_MICROS + version.cast_signed() * 1_000_000;
        State {
            key: Cow::Owned(entity.key_of(&row).expect("the fixture's rows have keys").to_string()),
            tenant: entity.tenant_of(&row).map(|tenant| Cow::Owned(tenant.to_owned())),
            version,
            deleted: false,
            row,
            changed_at: moment,
            ingested_at: moment,
            position: (0, version.saturating_sub(1)),
            snapshots: Vec::new(),
        }
    }

    /// The same record, deleted at this version.
    pub fn deleted(&self, state: &State<'static>, version: u64) -> State<'static> {
        let moment = START_MICROS + version.cast_signed() * 1_000_000;
        State { version, deleted: true, changed_at: moment, position: (0, version - 1), ..state.clone() }
    }

    /// A customer of institution `BJ-HA-001` with a consultant.
    pub fn customer(&self, code: &str, name: &str, version: u64) -> State<'static> {
        let row = format!(
            r#"{{"customer_code":"{code}","institution_code":"BJ-HA-001","person":{{"name":"{name}","phone":"13800000000"}},
                "vip_level":"GOLD","consultant_code":"CONSULTANT-1","tags":["敏感肌","抗衰老"],"first_visit_date":"2026-01-10"}}"#
        );
        self.state("customer", &row, version)
    }

    /// An order with one PROJECT line for each item code, 100.00 each, paid.
    pub fn order(&self, number: &str, customer: &str, items: &[&str], version: u64) -> State<'static> {
        let lines: Vec<String> = items
            .iter()
            .enumerate()
            .map(|(position, item)| {
                let line = position + 1;
                format!(
                    r#"{{"line_no":{line},"item_type":"PROJECT","item_code":"{item}","quantity":1,"unit_price":"100.00","net_amount":"100.00"}}"#
                )
            })
            .collect();
        let total = format!("{}00.00", items.len());
        let row = format!(
            r#"{{"order_number":"{number}","institution_code":"BJ-HA-001","customer_code":"{customer}","doctor_code":"DOC-1",
                "order_date":"2026-01-10","lines":[{}],"gross_amount":"{total}","discount_amount":"0.00",
                "net_amount":"{total}","payment_status":"PAID","department":"皮肤科"}}"#,
            lines.join(",")
        );
        self.state("consumption", &row, version)
    }

    /// A batch of one part at partition 0, its records at offsets from `from` on.
    pub fn batch(&self, entity: &str, from: u64, states: &[State<'_>]) -> SinkBatch {
        SinkBatch { catalog: Arc::clone(&self.catalog), parts: vec![self.part(entity, from, states)], excluded: HashSet::new() }
    }

    /// One part at partition 0.
    pub fn part(&self, entity: &str, from: u64, states: &[State<'_>]) -> TopicBatch {
        let entity = self.entity(entity);
        let mut records = RecordBatch::default();
        let mut value = Vec::new();
        for (offset, state) in (from..).zip(states) {
            value.clear();
            encode_state(entity, state, &mut value);
            records.push(offset, state.changed_at, state.key.as_bytes(), &value);
        }
        let next = from + states.len() as u64;
        TopicBatch { entity: Arc::clone(entity), partition: 0, from, next, records: Arc::new(records) }
    }
}

//! The envelope schemas: what stands around a row on `changes.<entity>` and `state.<entity>`.
//!
//! Their field order is the wire order; [`super::change`] and [`super::state`] write and read it by hand. A field may be added
//! at the end with a default; an older reader skips it, a newer one fills the default in ([`super::resolve`]).

use serde_json::{Value, json};

use crate::compile::NAMESPACE;

/// Name space of the change envelopes.
pub(crate) const CHANGE_NAMESPACE: &str = "tidemark.change";
/// Name space of the state envelopes.
pub(crate) const STATE_NAMESPACE: &str = "tidemark.state";
/// Name space of the types inside the envelopes, apart from those of entities.
const PARTS_NAMESPACE: &str = "tidemark.envelope";

/// The symbols of the operation, in wire order.
pub(crate) const OPERATIONS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// The envelope of changes around the entity's schema.
pub(crate) fn change_schema(entity: &str, row: &Value) -> Value {
    json!({
        "type": "record",
        "name": entity,
        "namespace": CHANGE_NAMESPACE,
        "fields": [
            {"name": "key", "type": "string"},
            {"name": "tenant", "type": ["null", "string"], "default": null},
            {"name": "operation", "type":
                {"type": "enum", "name": "operation", "namespace": PARTS_NAMESPACE, "symbols": OPERATIONS}},
            {"name": "mask", "type": {"type": "array", "items": "int"}, "default": []},
            {"name": "row", "type": ["null", row], "default": null},
            {"name": "source", "type": "string"},
            {"name": "source_seq", "type": "long"},
            {"name": "snapshot", "type": "boolean"},
            {"name": "row_hash", "type": "long"},
            {"name": "occurred_at", "type": ["null", timestamp()], "default": null},
            {"name": "ingested_at", "type": timestamp()},
            {"name": "event_id", "type":
                {"type": "fixed", "name": "event_id", "namespace": PARTS_NAMESPACE, "size": 16, "logicalType": "uuid"}},
            {"name": "claim", "type": "string", "default": ""},
        ],
    })
}

/// The envelope of states around the entity's schema.
pub(crate) fn state_schema(entity: &str, row: &Value) -> Value {
    json!({
        "type": "record",
        "name": entity,
        "namespace": STATE_NAMESPACE,
        "fields": [
            {"name": "key", "type": "string"},
            {"name": "tenant", "type": ["null", "string"], "default": null},
            {"name": "version", "type": "long"},
            {"name": "deleted", "type": "boolean"},
            {"name": "row", "type": row},
            {"name": "changed_at", "type": timestamp()},
            {"name": "ingested_at", "type": timestamp()},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "snapshots", "default": [], "type": {"type": "array", "items": {
                "type": "record",
                "name": "snapshot",
                "namespace": PARTS_NAMESPACE,
                "fields": [
                    {"name": "source", "type": "string"},
                    {"name": "hash", "type": "long"},
                    {"name": "row", "type": ["null", format!("{NAMESPACE}.{entity}")], "default": null},
                ],
            }}},
        ],
    })
}

fn timestamp() -> Value {
    json!({"type": "long", "logicalType": "timestamp-micros"})
}

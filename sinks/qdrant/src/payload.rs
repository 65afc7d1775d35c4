//! A record as a point, and what is read back of one.
//!
//! The payload is that of every vector store, with the book-keeping beside: `version`, `deleted`, `deleted_at` for readers, and what
//! only this store needs: the hash of the text that the vector was made of, and the request that wrote the point.

use std::collections::HashMap;

use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vector_output::Vector as VectorKind;
use qdrant_client::qdrant::{PointId, PointStruct, RetrievedPoint, Value};
use tidemark_schemas::{State, json};
use tidemark_sink_core::points::{PayloadValue, PointKind};

pub(crate) const VERSION: &str = "version";
pub(crate) const DELETED: &str = "deleted";
const DELETED_AT: &str = "deleted_at";
pub(crate) const TEXT_HASH: &str = "tidemark_text_hash";
pub(crate) const TURN: &str = "tidemark_turn";

/// A record's point.
pub(crate) fn point(kind: &PointKind, state: &State<'_>, text_hash: i64, turn: u64, vector: Vec<f32>) -> PointStruct {
    let mut payload = HashMap::new();
    kind.each_field(state, |name, value| {
        let value = match value {
            PayloadValue::Text(text) => Value::from(text),
            PayloadValue::Int(number) => Value::from(number),
            PayloadValue::Cell(kind, cell) => Value::from(json::cell_to_json(kind, cell)),
        };
        payload.insert(name.to_owned(), value);
    });
    payload.insert(VERSION.to_owned(), Value::from(state.version.cast_signed()));
    payload.insert(DELETED.to_owned(), Value::from(state.deleted));
    if state.deleted {
        payload.insert(DELETED_AT.to_owned(), Value::from(json::timestamp_text(state.changed_at)));
    }
    payload.insert(TEXT_HASH.to_owned(), Value::from(text_hash));
    payload.insert(TURN.to_owned(), Value::from(turn.cast_signed()));
    PointStruct { id: Some(id(kind, &state.key)), vectors: Some(vector.into()), payload }
}

/// The id of a record's point.
pub(crate) fn id(kind: &PointKind, key: &str) -> PointId {
    PointId::from(kind.id(key).hyphenated().to_string())
}

/// Size on the way, near enough to bound requests by.
pub(crate) fn size(point: &PointStruct, dimensions: usize) -> usize {
    let fields = point.payload.iter().map(|(name, value)| name.len() + value_size(value));
    dimensions * size_of::<f32>() + fields.sum::<usize>()
}

fn value_size(value: &Value) -> usize {
    const NUMBER: usize = 12;
    match &value.kind {
        Some(Kind::StringValue(text)) => text.len() + NUMBER,
        Some(Kind::ListValue(list)) => NUMBER + list.values.iter().map(value_size).sum::<usize>(),
        Some(Kind::StructValue(inner)) => {
            NUMBER + inner.fields.iter().map(|(name, value)| name.len() + value_size(value)).sum::<usize>()
        }
        _ => NUMBER,
    }
}

/// What is known of a stored point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// A point that somebody else wrote has none, and gives way.
    pub(crate) version: u64,
    pub(crate) text_hash: Option<i64>,
    pub(crate) turn: u64,
}

impl Stored {
    pub(crate) fn of(point: &RetrievedPoint) -> Self {
        let number = |name: &str| point.payload.get(name).and_then(Value::as_integer);
        let unsigned = |name: &str| number(name).unwrap_or_default().max(0).cast_unsigned();
        Self { version: unsigned(VERSION), text_hash: number(TEXT_HASH), turn: unsigned(TURN) }
    }
}

/// The id of a point as text.
pub(crate) fn id_of(point: &RetrievedPoint) -> Option<&PointId> {
    point.id.as_ref()
}

/// The vector of a point.
pub(crate) fn vector_of(point: &RetrievedPoint) -> Option<Vec<f32>> {
    match point.vectors.as_ref()?.get_vector()? {
        VectorKind::Dense(dense) => Some(dense.data),
        _ => None,
    }
}

/// The payload as every vector store has it, in JSON.
pub(crate) fn shown(payload: HashMap<String, Value>) -> serde_json::Value {
    let is_content = |name: &String| ![VERSION, DELETED, DELETED_AT, TEXT_HASH, TURN].contains(&name.as_str());
    let content = payload.into_iter().filter(|(name, _)| is_content(name));
    serde_json::Value::Object(content.map(|(name, value)| (name, value.into_json())).collect())
}

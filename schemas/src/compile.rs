//! From the text of one `.avsc` to an [`Entity`].
//!
//! Guarantees: what compiles is valid Avro (`apache-avro` has parsed it, and the envelopes around it), uses only what the
//! codec encodes, and names only fields that exist; everything wrong with a file is reported at once, with path and remedy.
//! Relies on the rule that outside arrays only key fields are never null: a partial row must be able to leave any other out.
//! Does not look at other files: whether a referenced entity or vocabulary exists is the catalog's question.

mod fields;
mod paths;

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value;

use crate::attributes::{FileForm, Graph, RecordAttributes, Vector};
use crate::catalog::SchemaError;
use crate::codec::envelope;
use crate::entity::{Entity, EnvelopeSchema, FieldPath, FieldType, RecordType};

/// Name space of all our Avro names.
pub const NAMESPACE: &str = "tidemark";

/// Columns that every table has by itself, so that no field may be flattened to them.
pub const RESERVED_COLUMNS: [&str; 5] = ["key", "tenant", "version", "deleted_at", "changed_at"];

/// What every point's payload has by itself besides these, so that no column may stand there under such a name.
const RESERVED_PAYLOAD: [&str; 4] = ["entity", "deleted", "tidemark_text_hash", "tidemark_turn"];

/// Kinds of personal data that may not leave for an embedder or a point's payload.
pub const PII_KEPT_FROM_VECTORS: [&str; 4] = ["phone", "email", "address", "id_number"];

const RECORD_KEYS: [&str; 7] = ["type", "name", "namespace", "doc", "aliases", "fields", "tidemark"];

/// Collects what is wrong with one file.
pub(crate) struct Problems<'f> {
    file: &'f str,
    found: Vec<SchemaError>,
}

impl Problems<'_> {
    fn add(&mut self, path: &str, problem: impl AsRef<str>) {
        let separator = if path.is_empty() { "" } else { ": " };
        let problem = format!("{path}{separator}{}", problem.as_ref());
        self.found.push(SchemaError { file: self.file.to_owned(), problem });
    }
}

/// Compiles the text of an entity's file.
pub fn compile(file: &str, text: &str) -> Result<Entity, Vec<SchemaError>> {
    let mut problems = Problems { file, found: Vec::new() };
    let entity = compile_into(text, &mut problems);
    match entity {
        Some(entity) if problems.found.is_empty() => Ok(entity),
        _ => Err(problems.found),
    }
}

fn compile_into(text: &str, problems: &mut Problems<'_>) -> Option<Entity> {
    let mut schema: Value = match serde_json::from_str(text) {
        Ok(schema) => schema,
        Err(error) => {
            problems.add("", format!("is not JSON: {error}"));
            return None;
        }
    };
    let name = entity_name(&mut schema, problems)?;
    let attributes = record_attributes(&schema, problems)?;
    if let Err(error) = Schema::parse(&schema) {
        problems.add("", format!("is not a valid Avro schema: {error}"));
        return None;
    }
    let record = Arc::new(fields::compile_record(&schema, &attributes, problems));
    let key = key_paths(&record, &attributes, problems);
    for twice in repeated(paths::record_names(&record).into_iter()) {
        problems.add("", format!("two records are named `{twice}`; rename one"));
    }
    if !problems.found.is_empty() {
        return None;
    }
    finish(name, &schema, record, key, attributes, problems)
}

/// Checks the frame of the schema and puts our name space on it, so that the entity's name cannot be taken for its
/// envelope's.
fn entity_name(schema: &mut Value, problems: &mut Problems<'_>) -> Option<String> {
    let Some(object) = schema.as_object_mut() else {
        problems.add("", "is not a JSON object; an entity is one Avro record");
        return None;
    };
    for key in object.keys() {
        if !RECORD_KEYS.contains(&key.as_str()) {
            problems.add("", format!("unknown attribute `{key}`; known are: {}", RECORD_KEYS.join(", ")));
        }
    }
    if object.get("type").and_then(Value::as_str) != Some("record") {
        problems.add("type", "must be \"record\"");
    }
    match object.get("namespace").map(Value::as_str) {
        None => {
            object.insert("namespace".to_owned(), NAMESPACE.into());
        }
        Some(Some(NAMESPACE)) => {}
        Some(_) => problems.add("namespace", format!("must be \"{NAMESPACE}\" or left out")),
    }
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_snake_case(&name) {
        problems.add("name", "must be snake_case: a lower-case letter, then lower-case letters, digits and `_`");
        return None;
    }
    Some(name)
}

fn record_attributes(schema: &Value, problems: &mut Problems<'_>) -> Option<RecordAttributes> {
    let Some(attributes) = schema.get("tidemark") else {
        problems.add("tidemark", "is missing; add an object with at least `title` and `key`");
        return None;
    };
    match serde_json::from_value(attributes.clone()) {
        Ok(attributes) => Some(attributes),
        Err(error) => {
            problems.add("tidemark", error.to_string());
            None
        }
    }
}

fn finish(
    name: String,
    schema: &Value,
    record: Arc<RecordType>,
    key: Vec<FieldPath>,
    attributes: RecordAttributes,
    problems: &mut Problems<'_>,
) -> Option<Entity> {
    let tenant = optional_path(&record, attributes.tenant.as_deref(), "tidemark.tenant", problems);
    let partition_by = optional_path(&record, attributes.log.partition_by.as_deref(), "tidemark.log.partition_by", problems);
    let columns = paths::columns(&record, problems);
    check_graph(&record, &attributes.graph, problems);
    if let Some(vector) = &attributes.vector {
        check_vector(&record, vector, &columns, problems);
    }
    for column in attributes.analytics.order_by.iter().chain(&attributes.relational.partition_by) {
        if !columns.iter().any(|known| known.name == *column) {
            problems.add("tidemark", format!("`{column}` in `analytics.order_by` or `relational.partition_by` is no column"));
        }
    }
    let references = paths::references(&record, problems);
    if !problems.found.is_empty() {
        return None;
    }
    let schema_json = schema.to_string();
    let change_envelope = envelope_schema(&envelope::change_schema(&name, schema), problems)?;
    let state_envelope = envelope_schema(&envelope::state_schema(&name, schema), problems)?;
    let file = match attributes.file {
        None => Some(FileForm { names: vec![name.clone(), format!("{name}s")], order: 90 }),
        Some(form) => form,
    };
    Some(Entity {
        title: attributes.title,
        key,
        tenant,
        partition_by,
        file,
        relational: attributes.relational,
        graph: attributes.graph,
        vector: attributes.vector,
        analytics: attributes.analytics,
        columns,
        references,
        fingerprint: fingerprint(&schema_json)?,
        derivation: xxhash_rust::xxh3::xxh3_64(schema_json.as_bytes()),
        schema_json,
        change_envelope,
        state_envelope,
        name,
        record,
    })
}

fn key_paths(record: &RecordType, attributes: &RecordAttributes, problems: &mut Problems<'_>) -> Vec<FieldPath> {
    let mut key = Vec::new();
    for dotted in attributes.key.paths() {
        let Some((path, field)) = paths::find(record, dotted) else {
            problems.add("tidemark.key", format!("there is no field `{dotted}`"));
            continue;
        };
        if !matches!(field.kind, FieldType::Text { .. } | FieldType::Int { .. }) {
            problems.add("tidemark.key", format!("`{dotted}` must be a text or a whole number"));
        }
        key.push(path);
    }
    if attributes.key.paths().is_empty() {
        problems.add("tidemark.key", "names no field");
    }
    key
}

fn optional_path(record: &RecordType, dotted: Option<&str>, attribute: &str, problems: &mut Problems<'_>) -> Option<FieldPath> {
    let dotted = dotted?;
    match paths::find(record, dotted) {
        Some((path, field)) if matches!(field.kind, FieldType::Text { .. }) => return Some(path),
        Some(_) => problems.add(attribute, format!("`{dotted}` must be a text")),
        None => problems.add(attribute, format!("there is no field `{dotted}`")),
    }
    None
}

fn check_graph(record: &RecordType, graph: &Graph, problems: &mut Problems<'_>) {
    let Graph::Edge(shape) = graph else { return };
    let ends = [&shape.from.0, &shape.from.1, &shape.to.0, &shape.to.1];
    for dotted in ends.into_iter().chain(&shape.edge_type) {
        match paths::find(record, dotted) {
            Some((_, field)) if matches!(field.kind, FieldType::Text { .. }) => {}
            _ => problems.add("tidemark.graph.edge", format!("`{dotted}` is no text field of the record")),
        }
    }
}

fn check_vector(record: &RecordType, vector: &Vector, columns: &[crate::entity::Column], problems: &mut Problems<'_>) {
    for (number, part) in vector.text.split('{').enumerate() {
        if number == 0 {
            continue;
        }
        let Some((hole, _)) = part.split_once('}') else {
            problems.add("tidemark.vector.text", format!("the hole `{{{part}` is not closed"));
            continue;
        };
        match paths::find(record, hole) {
            None => problems.add("tidemark.vector.text", format!("there is no field `{hole}`")),
            Some((_, field)) => check_exposure(field.pii.as_deref(), hole, "tidemark.vector.text", problems),
        }
    }
    for name in &vector.payload {
        match columns.iter().find(|column| column.name == *name) {
            None => problems.add("tidemark.vector.payload", format!("there is no column `{name}`")),
            Some(column) => {
                let pii = paths::find(record, &column.path.dotted).and_then(|(_, field)| field.pii.as_deref());
                check_exposure(pii, name, "tidemark.vector.payload", problems);
            }
        }
        if RESERVED_PAYLOAD.contains(&name.as_str()) {
            let reserved = RESERVED_PAYLOAD.join(", ");
            problems
                .add("tidemark.vector.payload", format!("every point has a `{name}` already; rename it (reserved: {reserved})"));
        }
        let is_money = |money: &&str| {
            let column = columns.iter().find(|column| column.name == *money && vector.payload.contains(&column.name));
            let field = column.and_then(|column| paths::find(record, &column.path.dotted));
            field.is_some_and(|(_, field)| matches!(field.kind, FieldType::Decimal { scale: 2, .. }))
        };
        if let Some(money) = name.strip_suffix("_fen").filter(is_money) {
            problems.add("tidemark.vector.payload", format!("`{money}` stands there as `{name}` too, in whole fen; rename one"));
        }
    }
}

fn check_exposure(pii: Option<&str>, field: &str, attribute: &str, problems: &mut Problems<'_>) {
    if let Some(kind) = pii.filter(|kind| PII_KEPT_FROM_VECTORS.contains(kind)) {
        problems
            .add(attribute, format!("`{field}` is personal data of the kind `{kind}`, which no point may hold; leave it out"));
    }
}

fn envelope_schema(schema: &Value, problems: &mut Problems<'_>) -> Option<EnvelopeSchema> {
    let json = schema.to_string();
    match fingerprint(&json) {
        Some(fingerprint) => Some(EnvelopeSchema { json, fingerprint }),
        None => {
            problems.add("", "its names collide with those of the envelope; rename its nested records");
            None
        }
    }
}

/// CRC-64-AVRO of a schema's parsing canonical form; `None` when it is no schema.
pub(crate) fn fingerprint(schema_json: &str) -> Option<u64> {
    let schema = Schema::parse_str(schema_json).ok()?;
    let bytes: [u8; 8] = schema.fingerprint::<Rabin>().bytes.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

pub(crate) fn is_snake_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Every name that occurs twice.
fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut twice = Vec::new();
    for name in names {
        let count = counts.entry(name).or_default();
        *count += 1;
        if *count == 2 {
            twice.push(name);
        }
    }
    twice
}

#[cfg(test)]
mod tests;

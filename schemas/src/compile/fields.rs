//! Records and fields: types that the codec knows, with their attributes checked against them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Problems, is_snake_case, repeated};
use crate::attributes::{FieldAttributes, RecordAttributes};
use crate::entity::{Field, FieldType, RecordType};
use crate::format;

/// What is supported, for messages.
const TYPES: &str = "\"string\", \"long\", \"int\", \"boolean\", a bytes/decimal (money: precision 18, scale 2), an int/date, a \
                     long/timestamp-micros, a record, an array, or [\"null\", one of them]";

/// More digits than these do not fit [`rust_decimal::Decimal`].
const PRECISION_MAX: u64 = 28;

/// Where a field stands decides whether it may be never null.
struct Place<'k> {
    /// Dotted path of the record, with a dot at its end; empty for the row.
    prefix: String,
    /// Inside an array.
    in_array: bool,
    /// Paths of the key's fields.
    key: &'k [String],
}

/// Compiles the entity's record; problems go to the list.
pub(super) fn compile_record(schema: &Value, attributes: &RecordAttributes, problems: &mut Problems<'_>) -> RecordType {
    let place = Place { prefix: String::new(), in_array: false, key: attributes.key.paths() };
    let mut record = record(schema, &place, problems);
    number_fields(&mut record, &mut 0);
    record
}

/// Numbers the fields depth first, a record field before its children; all inside an array bear the array's number.
fn number_fields(record: &mut RecordType, next: &mut u32) {
    for field in &mut record.fields {
        field.number = *next;
        *next += 1;
        match &mut field.kind {
            FieldType::Record(nested) => number_fields(unshared(nested), next),
            FieldType::Array(items) => number_items(items, field.number),
            _ => {}
        }
    }
}

fn number_items(items: &mut FieldType, number: u32) {
    match items {
        FieldType::Record(nested) => {
            for field in &mut unshared(nested).fields {
                field.number = number;
                number_items(&mut field.kind, number);
            }
        }
        FieldType::Array(items) => number_items(items, number),
        _ => {}
    }
}

fn unshared(record: &mut Arc<RecordType>) -> &mut RecordType {
    Arc::get_mut(record).expect("a record that is being compiled is not shared yet")
}

fn record(schema: &Value, place: &Place<'_>, problems: &mut Problems<'_>) -> RecordType {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let empty = Vec::new();
    let listed = schema.get("fields").and_then(Value::as_array).unwrap_or(&empty);
    if listed.is_empty() {
        problems.add(place.prefix.trim_end_matches('.'), "a record needs at least one field");
    }
    let fields: Vec<Field> = listed.iter().filter_map(|field| compile_field(field.as_object()?, place, problems)).collect();
    let names = fields.iter().flat_map(|field| std::iter::once(&field.name).chain(&field.aliases));
    for twice in repeated(names.map(String::as_str)) {
        let path = format!("{}{twice}", place.prefix);
        problems.add(&path, "two fields go by this name or alias; rename one");
    }
    RecordType { name, fields }
}

fn compile_field(schema: &Map<String, Value>, place: &Place<'_>, problems: &mut Problems<'_>) -> Option<Field> {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let path = format!("{}{name}", place.prefix);
    if !is_snake_case(name) {
        problems.add(&path, "a field's name must be snake_case");
    }
    let attributes = match FieldAttributes::read(schema) {
        Ok(attributes) => attributes,
        Err(found) => {
            for problem in found {
                problems.add(&path, problem);
            }
            return None;
        }
    };
    let (nullable, type_schema) = split_union(schema.get("type")?, &path, problems)?;
    let is_key = place.key.contains(&path);
    check_nullability(schema, nullable, is_key, place, &path, problems);
    let kind = compile_type(type_schema, &attributes, place, &path, problems)?;
    check_attributes(&attributes, &kind, &path, problems);
    Some(Field {
        name: name.to_owned(),
        title: attributes.title,
        number: 0,
        kind,
        nullable,
        required: attributes.required || is_key,
        reference: attributes.reference,
        vocabulary: attributes.vocabulary,
        pii: attributes.pii,
        unit: attributes.unit,
        aliases: attributes.aliases,
    })
}

/// `["null", X]` → (true, X); X → (false, X).
fn split_union<'v>(schema: &'v Value, path: &str, problems: &mut Problems<'_>) -> Option<(bool, &'v Value)> {
    let Value::Array(branches) = schema else { return Some((false, schema)) };
    match branches.as_slice() {
        [Value::String(null), value] if null == "null" => Some((true, value)),
        _ => {
            problems.add(path, "a union must be [\"null\", X], in this order");
            None
        }
    }
}

fn check_nullability(
    schema: &Map<String, Value>,
    nullable: bool,
    is_key: bool,
    place: &Place<'_>,
    path: &str,
    problems: &mut Problems<'_>,
) {
    if nullable && schema.get("default") != Some(&Value::Null) {
        problems.add(path, "add \"default\": null, so that older records can be read");
    }
    if is_key && nullable {
        problems.add(path, "is part of the key: its type must not be a union with null");
    }
    if !nullable && !is_key && !place.in_array {
        problems.add(
            path,
            "make its type [\"null\", X] with \"default\": null (and \"required\": true if a row must have it): an update may \
             leave it out",
        );
    }
}

fn compile_type(
    schema: &Value,
    attributes: &FieldAttributes,
    place: &Place<'_>,
    path: &str,
    problems: &mut Problems<'_>,
) -> Option<FieldType> {
    let (name, logical) = match schema {
        Value::String(name) => (name.as_str(), None),
        Value::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            (text("type").unwrap_or_default(), text("logicalType"))
        }
        _ => ("", None),
    };
    let known: &[&str] = match name {
        "record" => &["type", "name", "doc", "fields"],
        "array" => &["type", "items"],
        "bytes" => &["type", "logicalType", "precision", "scale"],
        _ => &["type", "logicalType"],
    };
    for key in schema.as_object().into_iter().flat_map(Map::keys) {
        if !known.contains(&key.as_str()) {
            problems.add(path, format!("unknown attribute `{key}` in its type; known are: {}", known.join(", ")));
        }
    }
    Some(match (name, logical) {
        ("boolean", None) => FieldType::Bool,
        ("long", None) => FieldType::Int { range: attributes.range },
        ("int", None) => FieldType::Int { range: Some(clamp_to_int(attributes.range)) },
        ("string", None) => FieldType::Text { codes: attributes.codes.clone(), format: attributes.format.clone() },
        ("bytes", Some("decimal")) => return decimal(schema, path, problems),
        ("int", Some("date")) => FieldType::Date,
        ("long", Some("timestamp-micros")) => FieldType::Timestamp,
        ("record", None) => {
            let inner = Place { prefix: format!("{path}."), in_array: place.in_array, key: place.key };
            FieldType::Record(Arc::new(record(schema, &inner, problems)))
        }
        ("array", None) => {
            let inner = Place { prefix: place.prefix.clone(), in_array: true, key: &[] };
            let items = schema.get("items")?;
            if items.is_array() {
                problems.add(path, "items of an array must not be null");
                return None;
            }
            FieldType::Array(Box::new(compile_type(items, attributes, &inner, path, problems)?))
        }
        _ => {
            problems.add(path, format!("this type is not supported; use {TYPES}"));
            return None;
        }
    })
}

fn clamp_to_int(range: Option<(i64, i64)>) -> (i64, i64) {
    let (low, high) = range.unwrap_or((i64::MIN, i64::MAX));
    (low.max(i32::MIN.into()), high.min(i32::MAX.into()))
}

fn decimal(schema: &Value, path: &str, problems: &mut Problems<'_>) -> Option<FieldType> {
    let number = |key: &str| schema.get(key).and_then(Value::as_u64);
    let precision = number("precision").unwrap_or(0);
    let scale = number("scale").unwrap_or(0);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        problems.add(path, format!("a decimal needs a precision of 1 to {PRECISION_MAX} and a scale of at most that"));
        return None;
    }
    Some(FieldType::Decimal { precision: u32::try_from(precision).ok()?, scale: u32::try_from(scale).ok()? })
}

fn check_attributes(attributes: &FieldAttributes, kind: &FieldType, path: &str, problems: &mut Problems<'_>) {
    let is_text = matches!(kind, FieldType::Text { .. });
    let is_int = matches!(kind, FieldType::Int { .. });
    let given = [
        ("vocabulary", attributes.vocabulary.is_some(), is_text, "a text"),
        ("codes", attributes.codes.is_some(), is_text, "a text"),
        ("format", attributes.format.is_some(), is_text, "a text"),
        ("range", attributes.range.is_some(), is_int, "a whole number"),
        ("references", attributes.reference.is_some(), is_text || is_int, "a text or a whole number"),
    ];
    for (name, present, fits, wanted) in given {
        if present && !fits {
            problems.add(path, format!("attribute `{name}` belongs on {wanted}"));
        }
    }
    if let Some(reference) = &attributes.reference
        && !is_snake_case(&reference.edge)
    {
        problems.add(path, "the `edge`'s name must be snake_case");
    }
    if attributes.codes.as_ref().is_some_and(Vec::is_empty) {
        problems.add(path, "attribute `codes` lists nothing");
    }
    if attributes.codes.is_some() && attributes.vocabulary.is_some() {
        problems.add(path, "has both `codes` (closed) and `vocabulary` (open); leave one");
    }
    if attributes.range.is_some_and(|(low, high)| low > high) {
        problems.add(path, "the `range` is empty");
    }
    if let Some(Err(problem)) = attributes.format.as_deref().map(format::check) {
        problems.add(path, format!("attribute `format`: {problem}"));
    }
}

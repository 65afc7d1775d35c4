//! The names of a form for people and editors: what may stand in its files.

use serde_json::{Value, json};

use super::Form;
use super::names::ORDER_PARTS;
use super::plan::{PlanField, PlanKind, Target};

/// One name of a form.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: String,
    /// Its JSON Schema.
    pub(crate) schema: Value,
    /// A value that is taken.
    pub(crate) example: Value,
    /// The schema's own name of a field.
    pub(crate) own: bool,
    /// Says which record is meant.
    pub(crate) identity: bool,
    /// May be updated without naming another.
    pub(crate) alone: bool,
}

impl Form {
    /// All names, in the order of the schema, then the others.
    pub(crate) fn properties(&self) -> Vec<Property> {
        let entries = self.names.entries.iter();
        entries
            .map(|(name, target)| match target {
                Target::Field { path, .. } => {
                    let field = self.plan.field(path);
                    Property {
                        name: name.clone(),
                        schema: field_schema(field),
                        example: example(field),
                        own: field.path == *name,
                        identity: self.is_identity(path),
                        alone: true,
                    }
                }
                Target::Order(part) => {
                    let schema = if ORDER_PARTS[*part as usize].0 == "items" { json!({"type": "array"}) } else { json!({}) };
                    Property { name: name.clone(), schema, example: Value::Null, own: false, identity: false, alone: false }
                }
            })
            .collect()
    }
}

fn field_schema(field: &PlanField) -> Value {
    let null = "null";
    match &field.kind {
        PlanKind::Bool => json!({"type": ["boolean", null]}),
        PlanKind::Int { range: Some((low, high)) } => json!({"type": ["integer", null], "minimum": low, "maximum": high}),
        PlanKind::Int { range: None } => json!({"type": ["integer", null]}),
        PlanKind::Text { codes, format } => {
            let mut schema = json!({"type": if field.is_id { vec!["string", "integer", null] } else { vec!["string", null] }});
            if !codes.is_empty() {
                schema["examples"] = json!(codes);
            } else if let Some(vocabulary) = &field.vocabulary {
                schema["examples"] = vocabulary.codes.iter().map(|code| Value::from(code.code.as_str())).collect();
            } else if let Some(format) = format {
                schema["description"] = json!(format);
            }
            schema
        }
        PlanKind::Decimal { scale, .. } => {
            json!({"type": ["number", "string", null], "description": format!("at most {scale} decimals")})
        }
        PlanKind::Date => json!({"type": ["string", null], "format": "date"}),
        PlanKind::Timestamp => json!({"type": ["string", null], "format": "date-time"}),
        PlanKind::Record(nested) => {
            let properties: serde_json::Map<String, Value> =
                nested.fields.iter().map(|child| (last_part(&child.path).to_owned(), field_schema(child))).collect();
            json!({"type": ["object", null], "properties": properties})
        }
        PlanKind::Array(item) => json!({"type": ["array", null], "items": field_schema(item)}),
    }
}

fn example(field: &PlanField) -> Value {
    match &field.kind {
        PlanKind::Bool => json!(true),
        PlanKind::Int { range } => json!(range.map_or(1, |(low, _)| low)),
        PlanKind::Text { codes, format } => {
            let code =
                codes.first().or_else(|| field.vocabulary.as_ref().and_then(|list| list.codes.first()).map(|code| &code.code));
            let shaped = || {
                let format = format.as_ref()?.split('|').next()?;
                Some(format.replace("<institution>", "BJ-HA-001").replace("<yyyymmdd>", "20260115").replace("<digits>", "1"))
            };
            code.cloned().or_else(shaped).map_or_else(|| json!(last_part(&field.path).to_uppercase()), Value::from)
        }
        PlanKind::Decimal { .. } => json!(1),
        PlanKind::Date => json!("2026-01-15"),
        PlanKind::Timestamp => json!("2026-01-15T10:30:00"),
        PlanKind::Record(nested) => {
            Value::Object(nested.fields.iter().map(|child| (last_part(&child.path).to_owned(), example(child))).collect())
        }
        PlanKind::Array(item) => json!([example(item)]),
    }
}

fn last_part(path: &str) -> &str {
    path.trim_end_matches("[]").rsplit('.').next().unwrap_or(path)
}

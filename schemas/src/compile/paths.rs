//! Paths into a row: look-up by dotted name, flattened columns, references.

use super::{Problems, RESERVED_COLUMNS, repeated};
use crate::attributes::Target;
use crate::entity::{Column, Field, FieldPath, FieldType, RecordType, ReferencePath};

/// The field at a dotted path outside arrays.
pub(super) fn find<'r>(record: &'r RecordType, dotted: &str) -> Option<(FieldPath, &'r Field)> {
    let mut positions = Vec::new();
    let mut inside = record;
    let mut names = dotted.split('.').peekable();
    while let Some(name) = names.next() {
        let position = inside.fields.iter().position(|field| field.name == name)?;
        let field = &inside.fields[position];
        positions.push(position);
        match &field.kind {
            _ if names.peek().is_none() => return Some((FieldPath { positions, dotted: dotted.to_owned() }, field)),
            FieldType::Record(nested) => inside = nested,
            _ => return None,
        }
    }
    None
}

/// The Avro names of the record and all records inside it. (`apache-avro` lets a second definition of a name pass.)
pub(super) fn record_names(record: &RecordType) -> Vec<&str> {
    let mut names = vec![record.name.as_str()];
    for field in &record.fields {
        let mut kind = &field.kind;
        while let FieldType::Array(items) = kind {
            kind = items;
        }
        if let FieldType::Record(nested) = kind {
            names.extend(record_names(nested));
        }
    }
    names
}

/// The flattened columns, in schema order.
pub(super) fn columns(record: &RecordType, problems: &mut Problems<'_>) -> Vec<Column> {
    let mut columns = Vec::new();
    visit(record, &FieldPath { positions: Vec::new(), dotted: String::new() }, &mut |path, field, _| {
        if !matches!(field.kind, FieldType::Record(_)) {
            columns.push(Column { name: path.dotted.replace('.', "_"), path, number: field.number });
        }
    });
    for twice in repeated(columns.iter().map(|column| column.name.as_str())) {
        problems.add(twice, "two fields flatten to this column; rename one");
    }
    for column in &columns {
        if RESERVED_COLUMNS.contains(&column.name.as_str()) {
            let reserved = RESERVED_COLUMNS.join(", ");
            problems.add(&column.path.dotted, format!("every table has such a column already; rename it (reserved: {reserved})"));
        }
    }
    columns
}

/// All references, also those in the records of an array.
pub(super) fn references(record: &RecordType, problems: &mut Problems<'_>) -> Vec<ReferencePath> {
    let mut found = Vec::new();
    visit(record, &FieldPath { positions: Vec::new(), dotted: String::new() }, &mut |path, field, beside| {
        if let FieldType::Array(items) = &field.kind {
            array_references(&path, items, &mut found, problems);
        } else if let Some(reference) = &field.reference {
            let by = deciding_position(beside, &reference.target, &path.dotted, problems);
            found.push(ReferencePath { path, item: None, reference: reference.clone(), by });
        }
    });
    found
}

fn array_references(path: &FieldPath, items: &FieldType, found: &mut Vec<ReferencePath>, problems: &mut Problems<'_>) {
    let FieldType::Record(item) = items else { return };
    let line = item.fields.iter().position(|field| field.name == "line_no" && matches!(field.kind, FieldType::Int { .. }));
    for (position, field) in item.fields.iter().enumerate() {
        if holds_reference(&field.kind) {
            let problem = "a reference may stand in the records of an array, not deeper; move it up";
            problems.add(&format!("{}.{}", path.dotted, field.name), problem);
        }
        if let Some(reference) = &field.reference {
            let dotted = format!("{}.{}", path.dotted, field.name);
            let by = deciding_position(item, &reference.target, &dotted, problems);
            found.push(ReferencePath { path: path.clone(), item: Some((position, line)), reference: reference.clone(), by });
        }
    }
}

fn holds_reference(kind: &FieldType) -> bool {
    match kind {
        FieldType::Record(nested) => nested.fields.iter().any(|field| field.reference.is_some() || holds_reference(&field.kind)),
        FieldType::Array(items) => holds_reference(items),
        _ => false,
    }
}

fn deciding_position(record: &RecordType, target: &Target, dotted: &str, problems: &mut Problems<'_>) -> Option<usize> {
    let Target::By { field: by, .. } = target else { return None };
    let position = record.fields.iter().position(|field| field.name == *by && matches!(field.kind, FieldType::Text { .. }));
    if position.is_none() {
        problems.add(dotted, format!("`references.by` names `{by}`, which is no text field beside it"));
    }
    position
}

/// Calls for every field outside arrays with its path and the record that it stands in; depth first, a record field before
/// its children.
fn visit(record: &RecordType, way: &FieldPath, call: &mut impl FnMut(FieldPath, &Field, &RecordType)) {
    for (position, field) in record.fields.iter().enumerate() {
        let path = child(way, position, &field.name);
        call(path.clone(), field, record);
        if let FieldType::Record(nested) = &field.kind {
            visit(nested, &path, call);
        }
    }
}

fn child(way: &FieldPath, position: usize, name: &str) -> FieldPath {
    let mut positions = way.positions.clone();
    positions.push(position);
    let dotted = if way.dotted.is_empty() { name.to_owned() } else { format!("{}.{name}", way.dotted) };
    FieldPath { positions, dotted }
}

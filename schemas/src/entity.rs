//! Entities: a compiled schema with everything that sinks, connectors and people need to know about it.

use std::sync::Arc;

use crate::attributes::{Analytics, FileForm, Graph, Reference, Relational, Vector};
use crate::cell::Cell;
use crate::key::Key;

/// One entity, compiled from one `.avsc`.
#[derive(Debug)]
pub struct Entity {
    /// snake_case, singular: `customer`.
    pub name: String,
    /// Chinese display name: `客户`.
    pub title: String,
    /// The row's type.
    pub record: Arc<RecordType>,
    /// Paths of the key's fields, in order.
    pub key: Vec<FieldPath>,
    /// Path of the tenant's field (institution code), where there is one.
    pub tenant: Option<FieldPath>,
    /// Path of the field whose value chooses the partition; `None` = the key.
    pub partition_by: Option<FieldPath>,
    /// How files of this entity are named and ordered; `None` = it does not come from files.
    pub file: Option<FileForm>,
    /// Relational attributes.
    pub relational: Relational,
    /// Graph attributes: a vertex, or an edge.
    pub graph: Graph,
    /// Vector attributes; `None` = no point is made of it.
    pub vector: Option<Vector>,
    /// Analytics attributes.
    pub analytics: Analytics,
    /// The flattened columns: every leaf outside arrays, nested names joined by `_`, in schema order.
    pub columns: Vec<Column>,
    /// All references, also those inside arrays of records.
    pub references: Vec<ReferencePath>,
    /// The entity schema as JSON (full, with attributes).
    pub schema_json: String,
    /// CRC-64-AVRO of the entity schema's parsing canonical form.
    pub fingerprint: u64,
    /// xxh3 of the entity's full JSON, attributes included: what a store was derived by (with vocabularies left out).
    pub derivation: u64,
    /// Schema of the records on `changes.<entity>` as this process writes them.
    pub change_envelope: EnvelopeSchema,
    /// Schema of the records on `state.<entity>` as this process writes them.
    pub state_envelope: EnvelopeSchema,
}

/// An envelope schema with its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeSchema {
    /// The schema as JSON, self-contained.
    pub json: String,
    /// CRC-64-AVRO of its parsing canonical form: what single-object encoding carries.
    pub fingerprint: u64,
}

/// A record's type: its fields by position.
#[derive(Debug, PartialEq)]
pub struct RecordType {
    /// Avro record name.
    pub name: String,
    /// In schema order.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Canonical name, snake_case.
    pub name: String,
    /// Chinese title.
    pub title: String,
    /// Number of this field among all fields of the entity, depth first from 0, record fields counted before their children
    /// (fields inside arrays are not numbered apart: an array comes whole). What a mask speaks of.
    pub number: u32,
    /// Type of the value where it is not null.
    pub kind: FieldType,
    /// Whether `Null` may stand here in the encoding.
    pub nullable: bool,
    /// Whether a live row must have a value (attribute `required`; key fields always).
    pub required: bool,
    /// The entity that this field points to.
    pub reference: Option<Reference>,
    /// Name of the code list.
    pub vocabulary: Option<String>,
    /// Kind of personal data: `name`, `phone`, `health` …
    pub pii: Option<String>,
    /// `CNY`, `minutes` …
    pub unit: Option<String>,
    /// Names under which the field arrives in files, besides its own (attribute `aliases`).
    pub aliases: Vec<String>,
}

/// Type of a field.
#[derive(Debug, PartialEq)]
pub enum FieldType {
    /// Avro `boolean`.
    Bool,
    /// Avro `long` (also `int`), with the inclusive bounds of attribute `range` where given.
    Int {
        /// Inclusive bounds.
        range: Option<(i64, i64)>,
    },
    /// Avro `string`, or a closed list of codes (attribute `codes`: "of the fixed kind").
    Text {
        /// The only codes allowed, where the field is of the fixed kind.
        codes: Option<Vec<String>>,
        /// Attribute `format`: a pattern of literal text, `<institution>`, `<digits>` and `<yyyymmdd>`; `|` parts
        /// alternatives. [`crate::format::matches`] judges.
        format: Option<String>,
    },
    /// Avro `bytes` with logical type `decimal`.
    Decimal {
        /// All digits.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// Avro `int` with logical type `date`.
    Date,
    /// Avro `long` with logical type `timestamp-micros`.
    Timestamp,
    /// A nested record.
    Record(Arc<RecordType>),
    /// An array; its items are never null.
    Array(Box<FieldType>),
}

/// Positions from the row down to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// Index in each record on the way; never empty.
    pub positions: Vec<usize>,
    /// `person.phone`.
    pub dotted: String,
}

impl FieldPath {
    /// The cell at this path; `Null` when a record on the way is null.
    pub fn get<'r, 'a>(&self, row: &'r [Cell<'a>]) -> &'r Cell<'a> {
        const NULL: &Cell<'static> = &Cell::Null;
        let mut cells = row;
        let Some((last, way)) = self.positions.split_last() else { return NULL };
        for position in way {
            match &cells[*position] {
                Cell::Record(nested) => cells = nested,
                _ => return NULL,
            }
        }
        &cells[*last]
    }
}

/// A leaf outside arrays, as a table's column.
#[derive(Debug)]
pub struct Column {
    /// `person_phone`.
    pub name: String,
    /// Where it stands in the row.
    pub path: FieldPath,
    /// Position of the leaf's field, for its attributes: use [`Entity::field`].
    pub number: u32,
}

/// A reference with the way to it.
#[derive(Debug)]
pub struct ReferencePath {
    /// Path of the referencing field, or of the array of records that holds it.
    pub path: FieldPath,
    /// Inside an array of records: (position of the referencing field in the item, position of `line_no` if it has one).
    pub item: Option<(usize, Option<usize>)>,
    /// What it points to; for a dependent reference (`by`), the position of the deciding field beside the referencing one.
    pub reference: Reference,
    /// Position, in the same record, of the field named by `reference.by`.
    pub by: Option<usize>,
}

impl Entity {
    /// The key of a row; `None` when a part is null.
    pub fn key_of(&self, row: &[Cell<'_>]) -> Option<Key> {
        if let [path] = self.key.as_slice()
            && let Cell::Text(text) = path.get(row)
        {
            return Some(Key::join([text.as_ref()]));
        }
        let mut parts = Vec::with_capacity(self.key.len());
        for path in &self.key {
            match path.get(row) {
                Cell::Text(text) => parts.push(text.to_string()),
                Cell::Int(number) => parts.push(number.to_string()),
                _ => return None,
            }
        }
        Some(Key::join(parts.iter().map(String::as_str)))
    }

    /// The tenant of a row.
    pub fn tenant_of<'r>(&self, row: &'r [Cell<'_>]) -> Option<&'r str> {
        self.tenant.as_ref().and_then(|path| path.get(row).as_text())
    }

    /// The columns that are lists of records, each with its item's record.
    pub fn lists(&self) -> impl Iterator<Item = (&Column, &Arc<RecordType>)> {
        self.columns.iter().filter_map(|column| {
            let FieldType::Array(items) = &self.field(column.number).kind else { return None };
            if let FieldType::Record(item) = &**items { Some((column, item)) } else { None }
        })
    }

    /// The field with this number.
    pub fn field(&self, number: u32) -> &Field {
        fn find(record: &RecordType, number: u32) -> Option<&Field> {
            for field in &record.fields {
                if field.number == number {
                    return Some(field);
                }
                if let FieldType::Record(nested) = &field.kind
                    && let Some(found) = find(nested, number)
                {
                    return Some(found);
                }
            }
            None
        }
        find(&self.record, number).expect("field numbers come from this entity")
    }

    /// The dotted path of the field with this number: what a mask means, for people. `None` when there is no such number.
    pub fn dotted(&self, number: u32) -> Option<String> {
        fn find(record: &RecordType, prefix: &str, number: u32) -> Option<String> {
            record.fields.iter().find_map(|field| match &field.kind {
                _ if field.number == number => Some(format!("{prefix}{}", field.name)),
                FieldType::Record(nested) => find(nested, &format!("{prefix}{}.", field.name), number),
                _ => None,
            })
        }
        find(&self.record, "", number)
    }
}

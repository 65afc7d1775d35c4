//! An entity compiled for reading files: every field with all that its conversion needs, and the names under which it arrives.
//!
//! Made once per process, so that no record costs a look-up by anything but the names that it carries itself.

use std::collections::HashMap;

use tidemark_schemas::entity::{Entity, Field, FieldType, RecordType};
use tidemark_schemas::vocabulary::Vocabulary;
use tidemark_schemas::{Catalog, Cell};

use super::names::{self, How, OrderPart};
use crate::fields::join;
use crate::problem::Personal;

/// One field.
#[derive(Debug)]
pub(super) struct PlanField {
    pub(super) position: usize,
    pub(super) number: u32,
    /// `person.phone`.
    pub(super) path: String,
    pub(super) kind: PlanKind,
    pub(super) required: bool,
    pub(super) is_key: bool,
    /// Names something: a whole number is taken for its text.
    pub(super) is_id: bool,
    pub(super) personal: Personal,
    pub(super) vocabulary: Option<Vocabulary>,
}

/// Its type, with what its values are held against.
#[derive(Debug)]
pub(super) enum PlanKind {
    Bool,
    Int { range: Option<(i64, i64)> },
    Text { codes: Vec<String>, format: Option<String> },
    Decimal { precision: u32, scale: u32 },
    Date,
    Timestamp,
    Record(PlanRecord),
    Array(Box<PlanField>),
}

/// A record: the entity's own or a nested one.
#[derive(Debug)]
pub(super) struct PlanRecord {
    pub(super) fields: Vec<PlanField>,
    names: Vec<(String, usize)>,
}

/// Where the value of a top-level name goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Into a field, by positions.
    Field { path: Vec<usize>, how: How },
    /// A part of an order, put together when all parts are known.
    Order(OrderPart),
}

/// The top-level names of a form.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) entries: Vec<(String, Target)>,
    index: HashMap<String, usize>,
}

impl Names {
    /// The entry of a name; `guess` is tried first (files repeat their order of fields).
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        match self.entries.get(guess) {
            Some((known, _)) if known == name => Some(guess),
            _ => self.index.get(name).copied(),
        }
    }

    fn put(&mut self, name: &str, target: Target) {
        match self.index.get(name) {
            Some(at) => self.entries[*at].1 = target,
            None => {
                self.index.insert(name.to_owned(), self.entries.len());
                self.entries.push((name.to_owned(), target));
            }
        }
    }
}

impl PlanRecord {
    /// A record type with its vocabularies.
    pub(super) fn new(record: &RecordType, prefix: &str, entity: &Entity, catalog: &Catalog) -> Self {
        let plan = |(position, field)| plan_field(position, field, prefix, entity, catalog);
        let fields: Vec<PlanField> = record.fields.iter().enumerate().map(plan).collect();
        let mut names = Vec::new();
        for (position, field) in record.fields.iter().enumerate() {
            names.push((field.name.clone(), position));
            names.extend(field.aliases.iter().map(|alias| (alias.clone(), position)));
        }
        Self { fields, names }
    }

    /// The field that arrives under this name.
    pub(super) fn named(&self, name: &str) -> Option<&PlanField> {
        let found = self.names.iter().find(|(known, _)| known == name)?;
        Some(&self.fields[found.1])
    }

    /// The positions of a dotted path of canonical names.
    pub(super) fn path(&self, dotted: &str) -> Option<Vec<usize>> {
        let (first, rest) = dotted.split_once('.').map_or((dotted, None), |(first, rest)| (first, Some(rest)));
        let (_, position) = self.names.iter().find(|(known, _)| known == first)?;
        let mut path = vec![*position];
        if let Some(rest) = rest {
            let PlanKind::Record(nested) = &self.fields[*position].kind else { return None };
            path.extend(nested.path(rest)?);
        }
        Some(path)
    }

    /// The field at a path.
    pub(super) fn field(&self, path: &[usize]) -> &PlanField {
        let field = &self.fields[path[0]];
        match &field.kind {
            PlanKind::Record(nested) if path.len() > 1 => nested.field(&path[1..]),
            _ => field,
        }
    }

    /// A row of this width without values.
    pub(super) fn empty_row<'a>(&self) -> Vec<Cell<'a>> {
        vec![Cell::Null; self.fields.len()]
    }
}

fn plan_field(position: usize, field: &Field, prefix: &str, entity: &Entity, catalog: &Catalog) -> PlanField {
    let path = join(prefix, &field.name);
    let is_key = entity.key.iter().any(|key| key.dotted == path);
    let looks_like_id = ["_code", "_id", "_number"].iter().any(|end| field.name.ends_with(end));
    PlanField {
        position,
        number: field.number,
        kind: plan_kind(&field.kind, &path, field, entity, catalog),
        required: field.required,
        is_key,
        is_id: is_key
            || field.reference.is_some()
            || looks_like_id
            || matches!(field.pii.as_deref(), Some("phone" | "id_number")),
        personal: if field.pii.is_some() { Personal::Yes } else { Personal::No },
        vocabulary: field.vocabulary.as_deref().and_then(|name| catalog.vocabulary(name)).cloned(),
        path,
    }
}

fn plan_kind(kind: &FieldType, path: &str, field: &Field, entity: &Entity, catalog: &Catalog) -> PlanKind {
    match kind {
        FieldType::Bool => PlanKind::Bool,
        FieldType::Int { range } => PlanKind::Int { range: *range },
        FieldType::Text { codes, format } => PlanKind::Text { codes: codes.clone().unwrap_or_default(), format: format.clone() },
        FieldType::Decimal { precision, scale } => PlanKind::Decimal { precision: *precision, scale: *scale },
        FieldType::Date => PlanKind::Date,
        FieldType::Timestamp => PlanKind::Timestamp,
        FieldType::Record(nested) => PlanKind::Record(PlanRecord::new(nested, path, entity, catalog)),
        FieldType::Array(items) => {
            let item = PlanField {
                position: 0,
                number: field.number,
                path: format!("{path}[]"),
                kind: plan_kind(items, path, field, entity, catalog),
                required: true,
                is_key: false,
                is_id: false,
                personal: if field.pii.is_some() { Personal::Yes } else { Personal::No },
                vocabulary: field.vocabulary.as_deref().and_then(|name| catalog.vocabulary(name)).cloned(),
            };
            PlanKind::Array(Box::new(item))
        }
    }
}

/// The names of an entity's records: the schema's own and its aliases, then what [`names`] adds.
pub(super) fn top_names(record: &PlanRecord, entity: &str) -> Names {
    let mut found = Names::default();
    for (name, position) in &record.names {
        if !names::HIDDEN.contains(&(entity, name.as_str())) {
            found.put(name, Target::Field { path: vec![*position], how: How::Plain });
        }
    }
    for (owner, name, path, how) in names::RENAMES {
        if *owner == entity
            && let Some(path) = record.path(path)
        {
            found.put(name, Target::Field { path, how: *how });
        }
    }
    if entity == names::ORDER_ENTITY {
        for (name, part) in names::ORDER_PARTS {
            found.put(name, Target::Order(part));
        }
    }
    found
}

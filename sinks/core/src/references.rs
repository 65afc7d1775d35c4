//! The references of entities as a table shows them: which columns hold them, and every place whose values lead to one entity.
//!
//! What each relational store derives its indexes and its view of dangling references from, so that all show the same ones
//! under the same names. Pure; the SQL is the adapter's.

use tidemark_schemas::attributes::Target;
use tidemark_schemas::entity::{FieldType, ReferencePath};
use tidemark_schemas::{Catalog, Entity};

/// A place in a table whose values are keys of one entity.
#[derive(Debug)]
pub struct Pointer<'c> {
    /// Whose table.
    pub entity: &'c Entity,
    /// The column: of the reference itself, or of the list of records that it stands in.
    pub column: &'c str,
    /// In a list: the name of the referencing field in the list's records.
    pub item: Option<&'c str>,
    /// Only where this holds this value: a column, or in a list a field of the same record.
    pub condition: Option<(String, &'c str)>,
    /// The entity that it leads to.
    pub target: &'c str,
}

impl Pointer<'_> {
    /// What people call the place: the column, or `lines.item_code`.
    pub fn field(&self) -> String {
        self.item.map_or_else(|| self.column.to_owned(), |item| format!("{}.{item}", self.column))
    }
}

/// The columns that hold references outside lists: those that a relational store indexes.
pub fn indexed_columns(entity: &Entity) -> Vec<&str> {
    let scalars = entity.references.iter().filter(|reference| reference.item.is_none());
    scalars
        .filter_map(|reference| entity.columns.iter().find(|column| column.path == reference.path))
        .map(|column| column.name.as_str())
        .collect()
}

/// All places of a catalog that hold references.
pub fn pointers(catalog: &Catalog) -> Vec<Pointer<'_>> {
    let mut found = Vec::new();
    for entity in catalog.entities() {
        for reference in &entity.references {
            match &reference.reference.target {
                Target::Entity(target) => found.push(pointer(entity, reference, target, None)),
                Target::By { field, cases } => {
                    for (value, target) in cases {
                        found.push(pointer(entity, reference, target, Some((field, value))));
                    }
                }
            }
        }
    }
    found
}

fn pointer<'c>(
    entity: &'c Entity,
    reference: &'c ReferencePath,
    target: &'c str,
    case: Option<(&'c String, &'c String)>,
) -> Pointer<'c> {
    let column = entity.columns.iter().find(|column| column.path == reference.path);
    let column = column.expect("references stand in leaf fields or in lists, which are columns");
    let item = reference.item.map(|(position, _)| item_field(&entity.field(column.number).kind, position));
    // The deciding field stands beside the referencing one: in the same list record, or under the same nested name.
    let prefix = match (&item, reference.path.dotted.rsplit_once('.')) {
        (None, Some((way, _))) => format!("{}_", way.replace('.', "_")),
        _ => String::new(),
    };
    let condition = case.map(|(field, value)| (format!("{prefix}{field}"), value.as_str()));
    Pointer { entity, column: &column.name, item, condition, target }
}

fn item_field(list: &FieldType, position: usize) -> &str {
    let record = match list {
        FieldType::Array(items) => match &**items {
            FieldType::Record(item) => Some(item),
            _ => None,
        },
        _ => None,
    };
    &record.expect("a reference with a position stands in a list of records").fields[position].name
}

//! The references of entities as a table shows them: which columns hold them, and every place whose values lead to one entity.
//!
//! What each relational store derives its indexes and its view of dangling references from, so that all show the same ones
//! under the same names. Pure; what a dialect says in its own way is the adapter's.

use tidemark_schemas::attributes::Target;
use tidemark_schemas::entity::{FieldType, ReferencePath};
use tidemark_schemas::{Catalog, Entity};

use crate::sql::{literal, quoted};

/// Name of the view of references without a target.
pub const DANGLING_REFERENCE: &str = "dangling_reference";

/// A place in a table whose values are keys of one entity.
#[derive(Debug)]
struct Pointer<'c> {
    /// Whose table.
    entity: &'c Entity,
    /// The column: of the reference itself, or of the list of records that it stands in.
    column: &'c str,
    /// In a list: the name of the referencing field in the list's records.
    item: Option<&'c str>,
    /// Only where this holds this value: a column, or in a list a field of the same record.
    condition: Option<(String, &'c str)>,
    /// The entity that it leads to.
    target: &'c str,
}

impl Pointer<'_> {
    /// What people call the place: the column, or `lines.item_code`.
    fn field(&self) -> String {
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

/// Name of the index of a reference: tables and indexes share one name space, and no schema's name holds a point.
pub fn index_name(entity: &Entity, column: &str) -> String {
    format!("{}.{column}", entity.name)
}

/// All places of a catalog that hold references.
fn pointers(catalog: &Catalog) -> Vec<Pointer<'_>> {
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

/// How a dialect says what the view of dangling references needs.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// A value as text.
    pub text: fn(&str) -> String,
    /// The function that makes rows of a list's records.
    pub rows_of_list: &'static str,
    /// The value of a field of such a row, which is called `line`, as text.
    pub field_of_line: fn(&str) -> String,
}

/// The query of [`DANGLING_REFERENCE`]: a row for each value of a live record that leads to no live record.
pub fn dangling_select(catalog: &Catalog, dialect: Dialect) -> String {
    let pointers = pointers(catalog);
    if pointers.is_empty() {
        let null = (dialect.text)("NULL");
        return format!(
            "SELECT {null} AS entity, {null} AS key, {null} AS field, {null} AS target_entity, {null} AS target_key WHERE 1 = 0"
        );
    }
    pointers.iter().map(|pointer| dangling(pointer, dialect)).collect::<Vec<_>>().join("\nUNION ALL\n")
}

fn dangling(pointer: &Pointer<'_>, dialect: Dialect) -> String {
    let text = |value: &str| (dialect.text)(&literal(value));
    let table = quoted(&pointer.entity.name);
    let column = |name: &str| format!("t.{}", quoted(name));
    let condition = pointer.condition.as_ref();
    let (value, source, by) = match pointer.item {
        None => {
            let of_record = |name: &str| (dialect.text)(&column(name));
            (of_record(pointer.column), format!("{table} AS t"), condition.map(|(name, value)| (of_record(name), value)))
        }
        Some(item) => {
            let of_line = dialect.field_of_line;
            let source = format!("{table} AS t, {}({}) AS line", dialect.rows_of_list, column(pointer.column));
            (of_line(item), source, condition.map(|(name, value)| (of_line(name), value)))
        }
    };
    // A target's key is the value with `\` before what would part a composite key.
    let key = format!("replace(replace({value}, '\\', '\\\\'), '|', '\\|')");
    let condition = by.map_or_else(String::new, |(by, value)| format!(" AND {by} = {}", literal(value)));
    format!(
        "SELECT {} AS entity, t.\"key\" AS key, {} AS field, {} AS target_entity, {key} AS target_key\n  FROM {source}\n  \
         WHERE t.\"deleted_at\" IS NULL AND {value} IS NOT NULL{condition}\n    \
         AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE r.\"key\" = {key} AND r.\"deleted_at\" IS NULL)",
        text(&pointer.entity.name),
        text(&pointer.field()),
        text(pointer.target),
        quoted(pointer.target)
    )
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

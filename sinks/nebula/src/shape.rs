//! Tags and edge types, derived from the entities.
//!
//! An entity is a tag of its own name with the columns that every store has (`key`, `tenant`, `version`, `deleted_at`,
//! `changed_at`) and one property for each of its own columns: text, whole numbers, dates and moments typed; decimals as text, and
//! money also in whole fen (`<column>_fen`), so that it can be compared; lists as JSON text. A reference is an edge type without
//! properties. An entity that is an edge gives its columns to the edge types that its records choose.

use std::collections::BTreeMap;

use tidemark_schemas::attributes::Graph;
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_schemas::{Catalog, Entity};
use tidemark_sink_core::graph::EdgeFields;

use crate::ngql::Name;

/// The tag that says whose the store is; see [`crate::meta`].
pub(crate) const STORE: &str = "tidemark_store";
/// The tag that says who writes a partition and how far it is.
pub(crate) const PARTITION: &str = "tidemark_partition";
/// The tag of the vertex that remembers where the edge of an edge's record is.
pub(crate) const EDGE_RECORD: &str = "tidemark_edge";

/// Type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `bool`.
    Bool,
    /// `int64`.
    Int,
    /// `string`.
    Text,
    /// `date`.
    Date,
    /// `datetime`, UTC.
    Moment,
}

impl Kind {
    /// As the server calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int64",
            Self::Text => "string",
            Self::Date => "date",
            Self::Moment => "datetime",
        }
    }
}

/// A property: all may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
}

/// A tag or an edge type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: Name,
    pub(crate) properties: Vec<Property>,
}

/// All that a space must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shapes {
    pub(crate) tags: Vec<Shape>,
    pub(crate) edges: Vec<Shape>,
}

impl Shapes {
    /// Of these entities. The error names what stands in the way, with the remedy.
    pub(crate) fn of(catalog: &Catalog) -> Result<Self, String> {
        let mut tags = vec![
            fixed(
                STORE,
                &[
                    ("log_id", Kind::Text),
                    ("generation", Kind::Int),
                    ("format", Kind::Int),
                    ("writer", Kind::Text),
                    ("partitions", Kind::Int),
                ],
            ),
            fixed(PARTITION, &[("owner", Kind::Text), ("positions", Kind::Text)]),
            fixed(
                EDGE_RECORD,
                &[
                    ("entity", Kind::Text),
                    ("key", Kind::Text),
                    ("version", Kind::Int),
                    ("deleted_at", Kind::Moment),
                    ("changed_at", Kind::Moment),
                    ("source", Kind::Text),
                    ("kind", Kind::Text),
                    ("target", Kind::Text),
                ],
            ),
        ];
        let mut edges: BTreeMap<Name, Shape> = BTreeMap::new();
        for entity in catalog.entities() {
            for reference in &entity.references {
                if matches!(entity.graph, Graph::Vertex) {
                    let name = edge_name(&reference.reference.edge)?;
                    add(&mut edges, Shape { name, properties: Vec::new() })?;
                }
            }
            match &entity.graph {
                Graph::Vertex => tags.push(Shape { name: edge_name(&entity.name)?, properties: properties(entity)? }),
                Graph::Edge(shape) => {
                    for kind in known_kinds(entity, &EdgeFields::of(entity, shape)) {
                        add(&mut edges, Shape { name: edge_name(&kind)?, properties: properties(entity)? })?;
                    }
                }
            }
        }
        Ok(Self { tags, edges: edges.into_values().collect() })
    }
}

/// The properties of an entity's tag or edge, in the order that statements give them.
pub(crate) fn properties(entity: &Entity) -> Result<Vec<Property>, String> {
    let own = [
        ("key", Kind::Text),
        ("tenant", Kind::Text),
        ("version", Kind::Int),
        ("deleted_at", Kind::Moment),
        ("changed_at", Kind::Moment),
    ];
    let mut properties = list(&own);
    for column in &entity.columns {
        let kind = match &entity.field(column.number).kind {
            FieldType::Bool => Kind::Bool,
            FieldType::Int { .. } => Kind::Int,
            FieldType::Date => Kind::Date,
            FieldType::Timestamp => Kind::Moment,
            FieldType::Text { .. } | FieldType::Decimal { .. } | FieldType::Array(_) | FieldType::Record(_) => Kind::Text,
        };
        properties.push(Property { name: edge_name(&column.name)?, kind });
        if is_money(entity, column) {
            properties.push(Property { name: edge_name(&format!("{}_fen", column.name))?, kind: Kind::Int });
        }
    }
    Ok(properties)
}

/// Whether a column is also kept in whole fen. One that another column's name leaves no room for is not.
pub(crate) fn is_money(entity: &Entity, column: &Column) -> bool {
    let two_places = matches!(entity.field(column.number).kind, FieldType::Decimal { scale: 2, .. });
    two_places && !entity.columns.iter().any(|other| other.name.strip_suffix("_fen") == Some(&column.name))
}

/// The edge types that an entity's records can choose, as far as its schema says so.
fn known_kinds(entity: &Entity, fields: &EdgeFields<'_>) -> Vec<String> {
    let Some(path) = fields.kind() else { return vec![entity.name.clone()] };
    let column = entity.columns.iter().find(|column| column.path == *path);
    match column.map(|column| &entity.field(column.number).kind) {
        Some(FieldType::Text { codes: Some(codes), .. }) => codes.iter().map(|code| code.to_lowercase()).collect(),
        _ => Vec::new(),
    }
}

fn add(edges: &mut BTreeMap<Name, Shape>, shape: Shape) -> Result<(), String> {
    match edges.get(&shape.name) {
        Some(known) if *known != shape => {
            let name = shape.name.as_str();
            Err(format!(
                "two entities make edges of type `{name}` with different properties; rename one in its schema (`edge`, or the type's codes)"
            ))
        }
        _ => {
            edges.insert(shape.name.clone(), shape);
            Ok(())
        }
    }
}

fn edge_name(text: &str) -> Result<Name, String> {
    Name::try_new(text)
        .ok_or_else(|| format!("`{text}` cannot be a name in NebulaGraph; use letters, digits and `_` in the schema"))
}

fn fixed(name: &'static str, properties: &[(&'static str, Kind)]) -> Shape {
    Shape { name: Name::fixed(name), properties: list(properties) }
}

fn list(properties: &[(&'static str, Kind)]) -> Vec<Property> {
    properties.iter().map(|(name, kind)| Property { name: Name::fixed(name), kind: *kind }).collect()
}

//! What entities are in a graph: the targets of their references, and the ends of those that are edges themselves.
//!
//! What every graph store derives its edges from, so that all show the same ones. A record is a vertex `<entity>:<key>`; each of
//! its references is an edge from it, told apart by rank (the line's number). An entity that *is* an edge names its own ends;
//! its rank is a hash of the record, so that two records may be edges of one type between the same ends. Pure.

use std::borrow::Cow;

use tidemark_schemas::attributes::{EdgeShape, Target};
use tidemark_schemas::entity::{FieldPath, ReferencePath};
use tidemark_schemas::{Cell, Entity, Key, text};
use xxhash_rust::xxh3::xxh3_64;

/// The rank of an edge that is a record of its own: 63 bits of the hash of `<entity>:<key>`, so that two records may be edges
/// of one type between the same ends.
pub fn owner_rank(owner: &str) -> i64 {
    (xxh3_64(owner.as_bytes()) >> 1).cast_signed()
}

/// Calls for every target of a reference: its entity, its code, and the edge's rank.
pub fn each_target<'r>(reference: &'r ReferencePath, row: &'r [Cell<'_>], mut call: impl FnMut(&'r str, Cow<'r, str>, i64)) {
    let Some((position, line)) = reference.item else {
        let (last, way) = reference.path.positions.split_last().expect("a path is never empty");
        let mut cells = row;
        for position in way {
            let Cell::Record(nested) = &cells[*position] else { return };
            cells = nested;
        }
        if let Some((entity, code)) = target(reference, cells, *last) {
            call(entity, code, 0);
        }
        return;
    };
    let Cell::Array(items) = reference.path.get(row) else { return };
    for (index, item) in (1_i64..).zip(items) {
        let Cell::Record(cells) = item else { continue };
        let rank = match line.map(|line| &cells[line]) {
            Some(Cell::Int(number)) => *number,
            _ => index,
        };
        if let Some((entity, code)) = target(reference, cells, position) {
            call(entity, code, rank);
        }
    }
}

/// What one referencing cell points to; nothing for a null one, or one whose deciding field names no entity.
fn target<'r>(reference: &'r ReferencePath, cells: &'r [Cell<'_>], position: usize) -> Option<(&'r str, Cow<'r, str>)> {
    let code = code_of(&cells[position])?;
    let entity = match &reference.reference.target {
        Target::Entity(entity) => entity,
        Target::By { cases, .. } => cases.get(cells[reference.by?].as_text()?)?,
    };
    Some((entity, code))
}

/// A code as text.
fn code_of<'r>(cell: &'r Cell<'_>) -> Option<Cow<'r, str>> {
    match cell {
        Cell::Text(code) => Some(Cow::Borrowed(code.as_ref())),
        Cell::Int(number) => {
            let mut code = String::new();
            text::write_int(*number, &mut code);
            Some(Cow::Owned(code))
        }
        _ => None,
    }
}

/// The fields of an entity that is an edge which name its ends and type.
#[derive(Debug)]
pub struct EdgeFields<'e> {
    from: (&'e FieldPath, &'e FieldPath),
    to: (&'e FieldPath, &'e FieldPath),
    kind: Option<&'e FieldPath>,
    entity: &'e Entity,
}

/// An edge that is a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityEdge {
    /// `<entity>:<key>` that it leads from; nothing when a part is null.
    pub source: Option<String>,
    /// That it leads to.
    pub target: Option<String>,
    /// Its type.
    pub kind: String,
}

impl<'e> EdgeFields<'e> {
    /// Of this entity, whose shape this is.
    pub fn of(entity: &'e Entity, shape: &EdgeShape) -> Self {
        let path = |name: &String| {
            let column = entity.columns.iter().find(|column| column.path.dotted == *name);
            &column.expect("a schema whose edge names anything but a text field of its own does not compile").path
        };
        let pair = |(kind, code): &(String, String)| (path(kind), path(code));
        Self { from: pair(&shape.from), to: pair(&shape.to), kind: shape.edge_type.as_ref().map(path), entity }
    }

    /// The edge that a row is.
    pub fn read(&self, row: &[Cell<'_>]) -> EntityEdge {
        let kind = self.kind.and_then(|path| path.get(row).as_text());
        let kind = kind.map_or_else(|| self.entity.name.clone(), str::to_lowercase);
        EntityEdge { source: vertex(row, self.from), target: vertex(row, self.to), kind }
    }

    /// The field that chooses the type, where one does.
    pub fn kind(&self) -> Option<&'e FieldPath> {
        self.kind
    }
}

/// `<lower(type)>:<code>`; nothing when a part is null.
fn vertex(row: &[Cell<'_>], (kind, code): (&FieldPath, &FieldPath)) -> Option<String> {
    let mut vertex = kind.get(row).as_text()?.to_lowercase();
    vertex.push(':');
    Key::write_part(&code_of(code.get(row))?, &mut vertex);
    Some(vertex)
}

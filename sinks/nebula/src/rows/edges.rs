//! Entities that are edges: one edge for each record, found again through a vertex of our own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_log::crash;
use tidemark_schemas::State;
use tidemark_schemas::attributes::EdgeShape;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::graph::{EdgeFields, owner_rank};

use super::vertices::name;
use super::{Against, Group, Task, id_of};
use crate::failure::fatal;
use crate::identity::vid;
use crate::ngql::{self, Name};
use crate::render::{Refusal, refuse_nul};
use crate::schema;
use crate::shape::{self, EDGE_RECORD, Shape, Shapes};
use crate::writer::{Piece, Work};

/// Where an edge is: source id, type, target id. (Its rank is the record's own.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    source: String,
    kind: Name,
    target: String,
}

impl Place {
    fn text(&self, rank: i64) -> String {
        format!("{}->{}@{rank}", ngql::text(&self.source), ngql::text(&self.target))
    }
}

pub(super) async fn write(task: &mut Task<'_, '_>, group: &Group<'_>, shape: &EdgeShape) -> Result<u64, SinkError> {
    let entity = group.entity;
    let fields = EdgeFields::of(entity, shape);
    let tag = Name::fixed(EDGE_RECORD);
    let compared = task.compare(group, &tag).await?;
    let stored = stored_places(task, &compared, &tag).await?;
    // Edges come before the records of where they are, so a batch that was cut off in between may have left one that no record
    // names. What it held is in this batch, if only as a version that a later one has superseded.
    let mut left_behind: HashMap<usize, Vec<Place>> = HashMap::new();
    for (index, state) in task.batch.superseded(task.rows, &group.rows) {
        if let Ok(Some(place)) = place_of(&fields, &state) {
            left_behind.entry(index).or_default().push(place);
        }
    }
    let properties = shape::properties(entity).map_err(|problem| fatal(problem, "no name"))?;
    let names = ngql::list(properties.iter().map(|property| &property.name));

    let mut inserts: BTreeMap<Name, Work> = BTreeMap::new();
    let mut deletes: BTreeMap<Name, Work> = BTreeMap::new();
    let head =
        format!("INSERT VERTEX {tag} (`entity`,`key`,`version`,`deleted_at`,`changed_at`,`source`,`kind`,`target`) VALUES ");
    let mut records = Work { head, ..Work::default() };
    for (index, against) in &compared {
        if !matches!(against, Against::Above | Against::New | Against::Newer) {
            continue;
        }
        let state = &task.rows[*index].state;
        let rank = owner_rank(&format!("{}:{}", entity.name, state.key));
        let place = match place_of(&fields, state) {
            Err(refusal) if !state.deleted => {
                task.refuse(*index, refusal);
                continue;
            }
            // Of what cannot be anywhere, nothing was ever written.
            place => place.unwrap_or_default(),
        };
        let record_id = task.vid(*index);
        let left = left_behind.remove(index).unwrap_or_default();
        let mut old: Vec<Place> = stored.get(&record_id).cloned().into_iter().chain(left).collect();
        // A deleted row has no edge, but a batch that was cut off may have left one at its last place.
        let place = if state.deleted {
            old.extend(place);
            None
        } else {
            place
        };
        if let Some(place) = &place {
            match task.renderer.record(*index, &place.text(rank), entity, state) {
                Ok(piece) => {
                    let head = || Work { head: format!("INSERT EDGE {} ({names}) VALUES ", place.kind), ..Work::default() };
                    inserts.entry(place.kind.clone()).or_insert_with(head).pieces.push(piece);
                }
                Err(refusal) => task.refuse(*index, refusal),
            }
        }
        old.sort();
        old.dedup();
        for old in old.iter().filter(|old| Some(*old) != place.as_ref()) {
            let head = || Work { head: format!("DELETE EDGE {} ", old.kind), ..Work::default() };
            let piece = Piece { row: *index, text: old.text(rank), ..Piece::default() };
            deletes.entry(old.kind.clone()).or_insert_with(head).pieces.push(piece);
        }
        match record(task, *index, &record_id, &entity.name, place.as_ref()) {
            Ok(piece) => records.pieces.push(piece),
            Err(refusal) => task.refuse(*index, refusal),
        }
    }
    // Before anything is sent.
    task.finish()?;
    let kinds: BTreeSet<&Name> = inserts.keys().chain(deletes.keys()).collect();
    let shapes: Vec<Shape> = kinds.into_iter().map(|kind| Shape { name: kind.clone(), properties: properties.clone() }).collect();
    know(task, shapes).await?;
    let written = records.pieces.len() as u64;
    let edges: Vec<Work> = inserts.into_values().chain(deletes.into_values()).collect();
    task.run(&edges, "writing edges").await?;
    crash::point("nebula.before-edge-records");
    task.run(&[records], "writing where edges are").await?;
    Ok(written)
}

/// Makes edge types that the schema could not foresee.
async fn know(task: &mut Task<'_, '_>, shapes: Vec<Shape>) -> Result<(), SinkError> {
    let unknown: Vec<Shape> = shapes.into_iter().filter(|shape| !task.writer.knows_edge(&shape.name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let made: Vec<Name> = unknown.iter().map(|shape| shape.name.clone()).collect();
    schema::create(task.writer.session(), &Shapes { tags: Vec::new(), edges: unknown }).await?;
    task.writer.learn_edges(made);
    Ok(())
}

/// Where the edge of a row is; `None` where it has no end.
fn place_of(fields: &EdgeFields, state: &State<'_>) -> Result<Option<Place>, Refusal> {
    let edge = fields.read(&state.row);
    let (Some(source), Some(target)) = (edge.source, edge.target) else { return Ok(None) };
    place(&source, &edge.kind, &target).map(Some)
}

fn place(source: &str, kind: &str, target: &str) -> Result<Place, Refusal> {
    for (end, of) in [(source, "source"), (target, "target")] {
        refuse_nul(end, of)?;
    }
    let Some(kind) = Name::try_new(kind) else {
        let detail = format!(
            "`{kind}` cannot be a type of edge in NebulaGraph (letters, digits and `_` only); correct the record at its source"
        );
        return Err(Refusal { reason: "edge_type", detail });
    };
    Ok(Place { source: vid(source), kind, target: vid(target) })
}

/// Where the edges of known records are.
async fn stored_places(
    task: &mut Task<'_, '_>,
    compared: &[(usize, Against)],
    tag: &Name,
) -> Result<HashMap<String, Place>, SinkError> {
    let newer = compared.iter().filter(|(_, against)| matches!(against, Against::Above | Against::Newer));
    let ids: Vec<(usize, String)> = newer.map(|(index, _)| (*index, task.vid(*index))).collect();
    let head = format!("FETCH PROP ON {tag} ");
    let tail = format!(" YIELD id(vertex) AS vid, {tag}.`source` AS source, {tag}.`kind` AS kind, {tag}.`target` AS target");
    let mut places = HashMap::new();
    for row in task.read(&head, ids.into_iter(), &tail).await? {
        let texts: Vec<&str> = row.iter().filter_map(id_of).collect();
        // A record without an edge has nulls there.
        let [id, source, kind, target] = texts.as_slice() else { continue };
        let place = Place { source: (*source).to_owned(), kind: name(kind)?, target: (*target).to_owned() };
        places.insert((*id).to_owned(), place);
    }
    Ok(places)
}

/// The vertex that says where the edge is.
fn record(task: &mut Task<'_, '_>, index: usize, id: &str, entity: &str, place: Option<&Place>) -> Result<Piece, Refusal> {
    let state = &task.rows[index].state;
    let mut piece = Piece { row: index, text: format!("{}:({},", ngql::text(id), ngql::text(entity)), ..Piece::default() };
    task.renderer.text(&state.key, "key", &mut piece)?;
    piece.text.push_str(&format!(",{},", state.version));
    // An edge from nowhere is not there either.
    task.renderer.moment((state.deleted || place.is_none()).then_some(state.changed_at), &mut piece.text);
    piece.text.push(',');
    task.renderer.moment(Some(state.changed_at), &mut piece.text);
    for part in [
        place.map(|place| place.source.as_str()),
        place.map(|place| place.kind.as_str()),
        place.map(|place| place.target.as_str()),
    ] {
        piece.text.push(',');
        match part {
            Some(part) => ngql::push_text(part, &mut piece.text),
            None => piece.text.push_str("NULL"),
        }
    }
    piece.text.push(')');
    Ok(piece)
}

//! Vertices with the out-edges that their references are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_schemas::{Entity, Key};
use tidemark_sink_core::SinkError;
use tidemark_sink_core::graph::each_target;

use super::{Against, Group, Task, id_of};
use crate::client::Value;
use crate::failure::fatal;
use crate::identity::vid;
use crate::ngql::{self, Name};
use crate::render::refuse_nul;
use crate::shape;
use crate::writer::{Piece, Work};

/// Type, rank, target id.
type Edge = (String, i64, String);

pub(super) async fn write(task: &mut Task<'_, '_>, group: &Group<'_>) -> Result<u64, SinkError> {
    let entity = group.entity;
    let tag = name(&entity.name)?;
    let compared = task.compare(group, &tag).await?;
    let stored = stored_edges(task, entity, &compared).await?;

    let mut vertices = Work { head: insert_head(entity, &tag)?, ..Work::default() };
    let mut inserts: BTreeMap<String, Work> = BTreeMap::new();
    let mut deletes: BTreeMap<String, Work> = BTreeMap::new();
    for (index, against) in &compared {
        if *against == Against::Older {
            continue;
        }
        let (state, source) = (&task.rows[*index].state, task.vid(*index));
        if *against != Against::Same {
            match task.renderer.record(*index, &ngql::text(&source), entity, state) {
                Ok(piece) => vertices.pieces.push(piece),
                Err(refusal) => task.refuse(*index, refusal),
            }
        }
        let wanted = out_edges(task, entity, *index);
        let none = BTreeSet::new();
        let stored = stored.get(&source).unwrap_or(&none);
        for (kind, rank, target) in wanted.difference(stored) {
            let kind_name = name(kind)?;
            let work = inserts.entry(kind.clone()).or_insert_with(|| head(format!("INSERT EDGE {kind_name} () VALUES ")));
            work.pieces.push(piece(*index, &source, *rank, target, ":()"));
        }
        for (kind, rank, target) in stored.difference(&wanted) {
            let kind_name = name(kind)?;
            let work = deletes.entry(kind.clone()).or_insert_with(|| head(format!("DELETE EDGE {kind_name} ")));
            work.pieces.push(piece(*index, &source, *rank, target, ""));
        }
    }
    // Before anything is sent.
    task.finish()?;
    let written = vertices.pieces.len() as u64;
    task.run(&[vertices], "writing vertices").await?;
    let edges: Vec<Work> = inserts.into_values().chain(deletes.into_values()).collect();
    task.run(&edges, "writing edges").await?;
    Ok(written)
}

/// What is stored of the edges that the rows own, by source.
async fn stored_edges(
    task: &mut Task<'_, '_>,
    entity: &Entity,
    compared: &[(usize, Against)],
) -> Result<HashMap<String, BTreeSet<Edge>>, SinkError> {
    let kinds: BTreeSet<&str> = entity.references.iter().map(|reference| reference.reference.edge.as_str()).collect();
    let mut stored: HashMap<String, BTreeSet<Edge>> = HashMap::new();
    if kinds.is_empty() {
        return Ok(stored);
    }
    let kinds = kinds.into_iter().map(name).collect::<Result<Vec<Name>, SinkError>>()?;
    // What is new owns nothing that could be stale.
    let known = compared.iter().filter(|(_, against)| matches!(against, Against::Above | Against::Newer | Against::Same));
    let ids: Vec<(usize, String)> = known.map(|(index, _)| (*index, task.vid(*index))).collect();
    let tail = format!(
        " OVER {} YIELD src(edge) AS source, type(edge) AS kind, rank(edge) AS place, dst(edge) AS target",
        ngql::list(&kinds)
    );
    for row in task.read("GO FROM ", ids.into_iter(), &tail).await? {
        let [source, kind, Value::Int(rank), target] = row.as_slice() else {
            return Err(fatal("reading the edges of the graph store".to_owned(), "an answer of another shape"));
        };
        let (Some(source), Some(kind), Some(target)) = (id_of(source), kind.as_text(), id_of(target)) else { continue };
        stored.entry(source.to_owned()).or_default().insert((kind.to_owned(), *rank, target.to_owned()));
    }
    Ok(stored)
}

/// The out-edges that a row owns; none of a deleted one. A code that no id can hold refuses the row.
fn out_edges(task: &mut Task<'_, '_>, entity: &Entity, index: usize) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    let state = &task.rows[index].state;
    if state.deleted {
        return edges;
    }
    let mut refused = None;
    for reference in &entity.references {
        each_target(reference, &state.row, |target, code, rank| {
            if let Err(refusal) = refuse_nul(&code, &reference.path.dotted) {
                refused = Some(refusal);
                return;
            }
            let mut vertex = format!("{target}:");
            Key::write_part(&code, &mut vertex);
            edges.insert((reference.reference.edge.clone(), rank, vid(&vertex)));
        });
    }
    if let Some(refusal) = refused {
        task.refuse(index, refusal);
    }
    edges
}

/// `INSERT VERTEX tag (names) VALUES `.
fn insert_head(entity: &Entity, tag: &Name) -> Result<String, SinkError> {
    let properties = shape::properties(entity).map_err(|problem| fatal(problem, "no name"))?;
    Ok(format!("INSERT VERTEX {tag} ({}) VALUES ", ngql::list(properties.iter().map(|property| &property.name))))
}

fn head(head: String) -> Work {
    Work { head, ..Work::default() }
}

fn piece(row: usize, source: &str, rank: i64, target: &str, values: &str) -> Piece {
    let text = format!("{}->{}@{rank}{values}", ngql::text(source), ngql::text(target));
    Piece { row, text, ..Piece::default() }
}

/// A name of the schema, which was looked at when the shapes were made.
pub(super) fn name(text: &str) -> Result<Name, SinkError> {
    Name::try_new(text).ok_or_else(|| fatal(format!("`{text}` cannot be a name in NebulaGraph"), "not a plain identifier"))
}

//! A batch's rows on their way into the graph.
//!
//! First the stored versions of the batch's keys are read, but for rows above all that was ever sent
//! ([`tidemark_sink_core::versions`]): what is not newer is left out (a row of the same version is a repeat: its edges are looked at
//! again, since a crash may have come between the vertex and them). Then the vertices, then the edges: those that the rows own and
//! that are not stored are inserted, stored ones that they own no more are deleted. What a vertex owns is every out-edge of its
//! entity's reference types; edges of other types are not looked at.
//!
//! An entity that is an edge leaves a vertex of our own ([`EDGE_RECORD`]) that says where its edge is, with the version. It is
//! written last: a crash before it repeats the rest.
//!
//! Rows that cannot be written are told all at once; where that is seen before anything is sent, nothing is.

mod edges;
mod vertices;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tidemark_schemas::Entity;
use tidemark_schemas::attributes::Graph;
use tidemark_sink_core::{RejectedRow, SinkBatch, SinkError, SinkRow, refused};

use crate::client::Value;
use crate::identity::vid;
use crate::meta::Stand;
use crate::ngql::{self, Name};
use crate::render::{Refusal, Renderer, refuse_nul};
use crate::writer::{Piece, Work, Writer};

/// What a row is against what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// Whatever is stored is older: it was not looked at.
    Above,
    /// Nothing is stored.
    New,
    /// Something older is stored, or it is read again.
    Newer,
    /// The same is stored.
    Same,
    /// Something newer is stored.
    Older,
}

/// The rows of one entity.
struct Group<'b> {
    entity: &'b Arc<Entity>,
    /// Indexes into the batch's rows.
    rows: Vec<usize>,
}

/// All that writing a batch needs.
struct Task<'b, 'w> {
    writer: &'w mut Writer,
    numbers: &'w BTreeSet<u32>,
    renderer: Renderer,
    batch: &'b SinkBatch,
    rows: &'b [SinkRow<'b>],
    /// By part, the lowest version that was never sent to the store.
    unused: &'w [u64],
    refused: Vec<RejectedRow>,
}

/// Writes the rows; returns how many were newer than what was stored.
pub(crate) async fn write(
    writer: &mut Writer,
    numbers: &BTreeSet<u32>,
    renderer: Renderer,
    batch: &SinkBatch,
    rows: &[SinkRow<'_>],
    unused: &[u64],
) -> Result<u64, SinkError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let entity = &batch.parts[row.part].entity;
        match groups.iter_mut().find(|group| group.entity.name == entity.name) {
            Some(group) => group.rows.push(index),
            None => groups.push(Group { entity, rows: vec![index] }),
        }
    }
    let mut task = Task { writer, numbers, renderer, batch, rows, unused, refused: Vec::new() };
    for (index, row) in rows.iter().enumerate() {
        if let Err(refusal) = refuse_nul(&row.state.key, "key") {
            task.refuse(index, refusal);
        }
    }
    task.finish()?;
    let mut written = 0;
    for group in &groups {
        written += match &group.entity.graph {
            Graph::Vertex => vertices::write(&mut task, group).await?,
            Graph::Edge(shape) => edges::write(&mut task, group, shape).await?,
        };
    }
    Ok(written)
}

impl Task<'_, '_> {
    /// `<entity>:<key>` of a row, as an id.
    fn vid(&self, index: usize) -> String {
        let row = &self.rows[index];
        vid(&format!("{}:{}", self.batch.parts[row.part].entity.name, row.state.key))
    }

    fn refuse(&mut self, index: usize, refusal: Refusal) {
        self.refused.push(RejectedRow::of(self.batch, &self.rows[index], refusal.reason, refusal.detail));
    }

    /// Ends the batch if rows were refused.
    fn finish(&mut self) -> Result<(), SinkError> {
        if self.refused.is_empty() { Ok(()) } else { Err(SinkError::Rejected(std::mem::take(&mut self.refused))) }
    }

    /// Does work that writes; rows that the server refuses end the batch once the rest is written.
    async fn run(&mut self, works: &[Work], step: &str) -> Result<(), SinkError> {
        let done = self.writer.run(self.numbers, works, step).await?;
        for (index, message) in done.refused {
            let detail =
                format!("NebulaGraph refuses the row ({message}); correct the record at its source, or the tag, and redrive");
            self.refuse(index, Refusal { reason: refused::BY_STORE, detail });
        }
        self.finish()
    }

    /// Reads something about vertices by id.
    async fn read(
        &mut self,
        head: &str,
        ids: impl Iterator<Item = (usize, String)>,
        tail: &str,
    ) -> Result<Vec<Vec<Value>>, SinkError> {
        let pieces = ids.map(|(row, id)| Piece { row, text: ngql::text(&id), ..Piece::default() }).collect();
        let work = Work { head: head.to_owned(), pieces, tail: tail.to_owned() };
        if work.pieces.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.writer.run(self.numbers, &[work], "reading what the graph store has").await?.rows)
    }

    /// The rows of a group by what is stored under this tag.
    async fn compare(&mut self, group: &Group<'_>, tag: &Name) -> Result<Vec<(usize, Against)>, SinkError> {
        let looked_at = group.rows.iter().filter(|index| !self.is_above(**index));
        let ids: BTreeMap<usize, String> = looked_at.map(|index| (*index, self.vid(*index))).collect();
        let head = format!("FETCH PROP ON {tag} ");
        let tail = format!(" YIELD id(vertex) AS vid, {tag}.`version` AS version");
        let found = self.read(&head, ids.iter().map(|(index, id)| (*index, id.clone())), &tail).await?;
        let stored: HashMap<&str, u64> =
            found.iter().filter_map(|row| Some((id_of(row.first()?)?, version_of(row.get(1)?)))).collect();
        let against = |index: &usize| match ids.get(index) {
            None => (*index, Against::Above),
            Some(id) => (*index, self.against(*index, stored.get(id.as_str()).copied())),
        };
        Ok(group.rows.iter().map(against).collect())
    }

    fn is_above(&self, index: usize) -> bool {
        let row = &self.rows[index];
        row.state.version >= self.unused[row.part]
    }

    fn against(&self, index: usize, stored: Option<u64>) -> Against {
        let row = &self.rows[index];
        match stored {
            None => Against::New,
            Some(stored) if stored < row.state.version => Against::Newer,
            Some(stored) if stored > row.state.version => Against::Older,
            Some(_) if self.refreshes(row) => Against::Newer,
            Some(_) => Against::Same,
        }
    }

    fn refreshes(&self, row: &SinkRow<'_>) -> bool {
        let part = &self.batch.parts[row.part];
        let stand: Option<&Stand> =
            self.writer.held().get(&part.partition).and_then(|record| record.progress.stands.get(&part.entity.name));
        stand.is_some_and(|stand| part.from < stand.refresh_until)
    }
}

/// An id as the server gives it: padded to its full length by some versions.
fn id_of(value: &Value) -> Option<&str> {
    value.as_text().map(|text| text.trim_end_matches('\0'))
}

/// A version; a row that somebody else wrote has none and gives way to ours.
fn version_of(value: &Value) -> u64 {
    value.as_int().unwrap_or_default().cast_unsigned()
}

//! Batches of after-images on their way into a store.
//!
//! A batch carries raw records, cheap to hand to the store's own thread, which decodes them there, borrowed. Within a batch
//! only the last version of a key is written ([`SinkBatch::collapse`]), so a store never sees a key twice in one go and an
//! insert after a delete of the same batch ends as it should. A store that writes row by row decodes piece by piece
//! ([`SinkBatch::key_order`]), so that a large batch takes little more memory than its bytes.
//!
//! Control records (key `#control|…`) say something to processors; sinks skip them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidemark_log::{RecordBatch, RecordRef};
use tidemark_schemas::codec::decode_state;
use tidemark_schemas::{Catalog, Entity, State};

use crate::port::RejectedRow;

/// What the key of a control record begins with.
pub const CONTROL_PREFIX: &[u8] = b"#control|";
/// The reason why a record that does not decode is refused.
pub const UNDECODABLE: &str = "undecodable";

/// State records of one partition of one entity.
#[derive(Debug, Clone)]
pub struct TopicBatch {
    /// The entity.
    pub entity: Arc<Entity>,
    /// The partition.
    pub partition: u32,
    /// Where the store stands before it.
    pub from: u64,
    /// Where it stands after it.
    pub next: u64,
    /// The records.
    pub records: Arc<RecordBatch>,
}

/// What is applied in one go.
#[derive(Debug, Clone)]
pub struct SinkBatch {
    /// Decodes the records.
    pub catalog: Arc<Catalog>,
    /// Never two parts of the same entity and partition.
    pub parts: Vec<TopicBatch>,
    /// Records that were refused before: (entity, partition, offset).
    pub excluded: HashSet<(String, u32, u64)>,
}

/// One after-image to be written.
#[derive(Debug)]
pub struct SinkRow<'b> {
    /// Index into [`SinkBatch::parts`].
    pub part: usize,
    /// Offset on the state topic.
    pub offset: u64,
    /// The decoded record.
    pub state: State<'b>,
}

/// A batch's records in the order in which stores take them: by entity, then key, whatever the partition. Sorted keys are cheaper
/// to write, and a page that has been left is not come back to. Nothing is decoded yet.
#[derive(Debug)]
pub struct KeyOrder<'b> {
    batch: &'b SinkBatch,
    /// Those of each entity.
    entities: Vec<Vec<Place<'b>>>,
    /// Records left out because they need no writing.
    passed: u64,
}

/// Where one record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'b> {
    key: &'b [u8],
    part: u32,
    record: u32,
}

impl SinkBatch {
    /// The last version of each key, by entity, then key ascending, and the number of records that need no writing: superseded
    /// within the batch, or control records. Records that do not decode are returned as refused, all of them at once; those
    /// excluded before are left out of everything.
    #[allow(clippy::type_complexity, reason = "a pair of results; naming it would say less")]
    pub fn collapse(&self) -> Result<(Vec<SinkRow<'_>>, u64), Vec<RejectedRow>> {
        self.collapse_where(|_| true)
    }

    /// The same for the entities that a store keeps; records of others are skipped undecoded.
    #[allow(clippy::type_complexity, reason = "as collapse")]
    pub fn collapse_where(&self, keeps: impl Fn(&Entity) -> bool) -> Result<(Vec<SinkRow<'_>>, u64), Vec<RejectedRow>> {
        let order = self.key_order(keeps);
        let mut rows = Vec::with_capacity(self.len());
        let mut refused = Vec::new();
        for places in &order.entities {
            order.decode_into(places, &mut rows, &mut refused);
        }
        let skipped = order.count() - rows.len() as u64;
        if refused.is_empty() { Ok((rows, skipped)) } else { Err(refused) }
    }

    /// The records in the order in which a store takes them that keeps these entities.
    pub fn key_order(&self, keeps: impl Fn(&Entity) -> bool) -> KeyOrder<'_> {
        let mut order = KeyOrder { batch: self, entities: Vec::new(), passed: 0 };
        for (index, part) in self.parts.iter().enumerate() {
            let is_same = |other: &TopicBatch| other.entity.name == part.entity.name;
            if self.parts[..index].iter().any(is_same) {
                continue;
            }
            let kept = keeps(&part.entity);
            let mut places = Vec::new();
            for (number, part) in (0_u32..).zip(&self.parts).filter(|(_, part)| is_same(part)) {
                places.reserve(if kept { part.records.len() } else { 0 });
                for (record, number_in_part) in part.records.iter().zip(0_u32..) {
                    if self.is_excluded(part, record.offset) {
                        continue;
                    }
                    if kept && !record.key.starts_with(CONTROL_PREFIX) {
                        places.push(Place { key: record.key, part: number, record: number_in_part });
                    } else {
                        order.passed += 1;
                    }
                }
            }
            places.sort_unstable();
            order.entities.push(places);
        }
        order
    }

    /// The versions that these rows have superseded within the batch, each with the row's index: what a store may hold of a batch
    /// that was cut off, though only its last versions count.
    pub fn superseded<'b>(&'b self, rows: &[SinkRow<'b>], indexes: &[usize]) -> Vec<(usize, State<'b>)> {
        let mut by_part: BTreeMap<usize, HashMap<&[u8], usize>> = BTreeMap::new();
        for index in indexes {
            by_part.entry(rows[*index].part).or_default().insert(rows[*index].state.key.as_bytes(), *index);
        }
        let mut found = Vec::new();
        for (part, last) in by_part {
            let part = &self.parts[part];
            if part.records.len() == last.len() {
                continue;
            }
            for record in part.records.iter().filter(|record| !self.is_excluded(part, record.offset)) {
                let Some(index) = last.get(record.key).filter(|index| rows[**index].offset != record.offset) else { continue };
                // What does not decode has been refused before.
                found.extend(decode_state(&self.catalog, &part.entity, record.value).map(|state| (*index, state)));
            }
        }
        found
    }

    /// Leaves these rows out from now on.
    pub fn exclude(&mut self, rows: &[RejectedRow]) {
        for row in rows {
            let (partition, offset) = row.position;
            self.excluded.insert((row.entity.clone(), partition, offset));
        }
    }

    /// Number of records, also the excluded ones.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.records.len()).sum()
    }

    /// Whether it holds no record (positions may move all the same).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_excluded(&self, part: &TopicBatch, offset: u64) -> bool {
        !self.excluded.is_empty() && self.excluded.contains(&(part.entity.name.clone(), part.partition, offset))
    }
}

impl<'b> KeyOrder<'b> {
    /// How many records a store has to answer for: those in order, and those that need no writing.
    pub fn count(&self) -> u64 {
        self.passed + self.entities.iter().map(Vec::len).sum::<usize>() as u64
    }

    /// The records in pieces of one entity each, of about so many records; all versions of a key are in the same piece.
    pub fn pieces(&self, records: usize) -> impl Iterator<Item = &[Place<'b>]> {
        self.entities.iter().flat_map(move |places| {
            let mut rest = places.as_slice();
            std::iter::from_fn(move || {
                let mut end = records.max(1).min(rest.len());
                while end < rest.len() && rest[end].key == rest[end - 1].key {
                    end += 1;
                }
                let (piece, others) = rest.split_at(end);
                rest = others;
                (!piece.is_empty()).then_some(piece)
            })
        })
    }

    /// The last version of each key of a piece, in order; those that do not decode, all of them at once.
    pub fn decode(&self, piece: &[Place<'b>]) -> Result<Vec<SinkRow<'b>>, Vec<RejectedRow>> {
        let mut rows = Vec::with_capacity(piece.len());
        let mut refused = Vec::new();
        self.decode_into(piece, &mut rows, &mut refused);
        if refused.is_empty() { Ok(rows) } else { Err(refused) }
    }

    fn decode_into(&self, places: &[Place<'b>], rows: &mut Vec<SinkRow<'b>>, refused: &mut Vec<RejectedRow>) {
        let start = rows.len();
        for place in places {
            let part = &self.batch.parts[place.part as usize];
            let record = part.records.get(place.record as usize);
            let state = match decode_state(&self.batch.catalog, &part.entity, record.value) {
                Ok(state) if state.key.as_bytes() == record.key => state,
                Ok(state) => {
                    refused.push(undecodable(part, record, &format!("it holds the key {}", state.key)));
                    continue;
                }
                Err(error) => {
                    refused.push(undecodable(part, record, &error.to_string()));
                    continue;
                }
            };
            let row = SinkRow { part: place.part as usize, offset: record.offset, state };
            match rows[start..].last_mut() {
                // Of one version the later record stays: its bookkeeping is newer, its row the same.
                Some(last) if last.state.key == row.state.key => {
                    if row.state.version >= last.state.version {
                        *last = row;
                    }
                }
                _ => rows.push(row),
            }
        }
    }
}

fn undecodable(part: &TopicBatch, record: RecordRef<'_>, problem: &str) -> RejectedRow {
    RejectedRow {
        entity: part.entity.name.clone(),
        position: (part.partition, record.offset),
        key: String::from_utf8_lossy(record.key).into_owned(),
        reason: UNDECODABLE.to_owned(),
        detail: format!(
            "state record of {} at partition {}, offset {}: {problem}; correct the record at its source, or start a version \
             of tidemark that knows its schema and redrive the dead letter",
            part.entity.name, part.partition, record.offset
        ),
    }
}

#[cfg(test)]
mod tests;

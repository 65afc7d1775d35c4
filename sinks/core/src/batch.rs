//! Batches of after-images on their way into a store.
//!
//! A batch carries raw records, cheap to hand to the store's own thread, which decodes them there, borrowed. Within a batch
//! only the last version of a key is written ([`SinkBatch::collapse`]), so a store never sees a key twice in one go and an
//! insert after a delete of the same batch ends as it should.
//!
//! Control records (key `#control|…`) say something to processors; sinks skip them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidemark_log::{RecordBatch, RecordRef};
use tidemark_schemas::codec::decode_state;
use tidemark_schemas::{Catalog, Entity, State};

use crate::port::RejectedRow;

/// What the key of a control record begins with.
const CONTROL_PREFIX: &[u8] = b"#control|";

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

impl SinkBatch {
    /// The last version of each key, by part, then key ascending (stores take sorted keys more cheaply), and the number of
    /// records that need no writing: superseded within the batch, or control records. Records that do not decode are returned
    /// as refused, all of them at once; those excluded before are left out of everything.
    #[allow(clippy::type_complexity, reason = "a pair of results; naming it would say less")]
    pub fn collapse(&self) -> Result<(Vec<SinkRow<'_>>, u64), Vec<RejectedRow>> {
        self.collapse_where(|_| true)
    }

    /// The same for the entities that a store keeps; records of others are skipped undecoded.
    #[allow(clippy::type_complexity, reason = "as collapse")]
    pub fn collapse_where(&self, keeps: impl Fn(&Entity) -> bool) -> Result<(Vec<SinkRow<'_>>, u64), Vec<RejectedRow>> {
        let mut rows = Vec::new();
        let mut skipped = 0;
        let mut refused = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if !keeps(&part.entity) {
                skipped += part.records.iter().filter(|record| !self.is_excluded(part, record.offset)).count() as u64;
                continue;
            }
            let start = rows.len();
            rows.reserve(part.records.len());
            for record in part.records.iter() {
                if self.is_excluded(part, record.offset) {
                    continue;
                }
                if record.key.starts_with(CONTROL_PREFIX) {
                    skipped += 1;
                    continue;
                }
                match decode_state(&self.catalog, &part.entity, record.value) {
                    Ok(state) => rows.push(SinkRow { part: index, offset: record.offset, state }),
                    Err(error) => refused.push(undecodable(part, record, &error.to_string())),
                }
            }
            skipped += keep_last_versions(&mut rows, start);
        }
        if refused.is_empty() { Ok((rows, skipped)) } else { Err(refused) }
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

/// Sorts the rows from `start` on by key and drops all but the last version of each; of one version the later record (its
/// bookkeeping is newer, its row the same). Returns how many went.
fn keep_last_versions(rows: &mut Vec<SinkRow<'_>>, start: usize) -> u64 {
    let part = &rows[start..];
    // A first import comes in order of its keys, each once: then there is nothing to do.
    if part.windows(2).all(|pair| pair[0].state.key < pair[1].state.key) {
        return 0;
    }
    let mut order: Vec<usize> = (0..part.len()).collect();
    order.sort_unstable_by(|&one, &other| {
        let (one, other) = (&part[one], &part[other]);
        (&one.state.key, one.state.version, one.offset).cmp(&(&other.state.key, other.state.version, other.offset))
    });
    let mut unsorted: Vec<Option<SinkRow<'_>>> = rows.drain(start..).map(Some).collect();
    for index in order {
        let row = unsorted[index].take().expect("an order names each index once");
        match rows.get_mut(start..).and_then(<[_]>::last_mut) {
            Some(last) if last.state.key == row.state.key => *last = row,
            _ => rows.push(row),
        }
    }
    (unsorted.len() - (rows.len() - start)) as u64
}

fn undecodable(part: &TopicBatch, record: RecordRef<'_>, problem: &str) -> RejectedRow {
    RejectedRow {
        entity: part.entity.name.clone(),
        position: (part.partition, record.offset),
        key: String::from_utf8_lossy(record.key).into_owned(),
        reason: "undecodable".to_owned(),
        detail: format!(
            "state record of {} at partition {}, offset {}: {problem}; correct the record at its source, or start a version \
             of tidemark that knows its schema and redrive the dead letter",
            part.entity.name, part.partition, record.offset
        ),
    }
}

#[cfg(test)]
mod tests;

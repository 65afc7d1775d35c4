//! One batch of the fold: every change decided in order, and all that comes of it gathered in one append.

use std::collections::HashSet;
use std::sync::Arc;

use tidemark_connector_core::receipt::Rejection;
use tidemark_log::{Append, LogIdentity, RECORD_BYTES_MAX, RecordRef};
use tidemark_schemas::Change;
use tidemark_schemas::codec::{DecodeError, decode_change, decode_state, encode_state};

use super::{CONSUMER, Reached, Running};
use crate::dead_letters::{self, Refused};
use crate::engine::Pipeline;
use crate::engine::cursors::{Cursor, Cursors, Part};
use crate::engine::failure::{Class, Failure};
use crate::fold::cache::CacheError;
use crate::fold::decide::{Kind, Origin, decide};
use crate::fold::ledger::put_rejection;

/// What comes of a batch, but for what is in the overlays and the ledger.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) append: Append,
    /// Changes decided (repeats are not counted again).
    pub(super) decided: u64,
    /// Of these, rejected.
    pub(super) rejected: u64,
    pub(super) dead_letters: u64,
    /// By cursor: number of the last state record in the append.
    last_state: Vec<Option<usize>>,
    state_bytes: Vec<u8>,
    read_buffer: Vec<u8>,
}

/// Why a batch was not decided. Nothing of it counts.
pub(super) enum Stopped {
    /// A writer's schema is not known here, and may be on the progress topic.
    UnknownSchema(u64),
    Cache(CacheError),
    Failed(Failure),
}

impl Batch {
    /// Decides changes in order, until what comes of them has `bytes_max`: large rows may come of small changes. What is left is taken
    /// out of the parts, and read again. Changes by writers in `given_up` whose schema nobody published become dead letters.
    pub(super) fn decide(
        &mut self,
        pipeline: &Pipeline,
        running: &mut Running,
        parts: &mut Vec<Part>,
        log: LogIdentity,
        given_up: &HashSet<u64>,
        bytes_max: usize,
    ) -> Result<(), Stopped> {
        self.last_state = vec![None; running.places.len()];
        for index in 0..parts.len() {
            let (records, part_cursor) = (Arc::clone(&parts[index].records), parts[index].cursor);
            for record in records.iter() {
                if self.append.bytes() >= bytes_max {
                    running.reading.cut(parts, index, record.offset);
                    return Ok(());
                }
                let cursor = &running.reading.list[part_cursor];
                match decode_change(&pipeline.catalog, &cursor.entity, record.value) {
                    Ok(change) if change.key.as_bytes() != record.key => {
                        self.bury(pipeline, cursor, record, "key_mismatch", "the record key is not the change's key");
                    }
                    Ok(change) => self.apply(pipeline, running, part_cursor, record, change, log)?,
                    Err(DecodeError::UnknownSchema(fingerprint)) if !given_up.contains(&fingerprint) => {
                        return Err(Stopped::UnknownSchema(fingerprint));
                    }
                    Err(problem) => self.bury(pipeline, cursor, record, "undecodable", &problem.to_string()),
                }
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        pipeline: &Pipeline,
        running: &mut Running,
        cursor_index: usize,
        record: RecordRef<'_>,
        change: Change<'_>,
        log: LogIdentity,
    ) -> Result<(), Stopped> {
        let cursor = &running.reading.list[cursor_index];
        let place = &running.places[cursor_index];
        if !running.ledger.raise(cursor_index, &change.source, change.source_seq) {
            return Ok(());
        }
        let bytes = match running.overlays.get(place.seed, record.key) {
            Some(bytes) => Some(bytes),
            None => running.cache.get(place.seed, record.key, &mut self.read_buffer).map_err(Stopped::Cache)?,
        };
        let state = match bytes.map(|bytes| decode_state(&pipeline.catalog, &cursor.entity, bytes)) {
            None => None,
            Some(Ok(state)) => Some(state),
            Some(Err(problem)) => return Err(undecodable_state(cursor, record, &problem)),
        };
        let origin = Origin { partition: cursor.partition, offset: record.offset, version: log.version(record.offset) };
        let (claim, source_seq) = (change.claim.clone(), change.source_seq);
        let outcome = decide(&cursor.entity, state, change, origin);
        self.state_bytes.clear();
        if let Some(state) = &outcome.state {
            encode_state(&cursor.entity, state, &mut self.state_bytes);
        }
        let mut kind = outcome.kind;
        let bytes = record.key.len() + self.state_bytes.len();
        if bytes > RECORD_BYTES_MAX {
            // The log would refuse the whole batch by it, each time anew.
            self.state_bytes.clear();
            let detail = format!("the record would have {bytes} bytes then; {RECORD_BYTES_MAX} is the most");
            kind = Kind::Rejected { reason: "row_too_large", detail };
        }
        if !self.state_bytes.is_empty() {
            running.overlays.put(place.seed, record.key, &self.state_bytes);
            let bytes = &self.state_bytes;
            self.append.record(&place.state_topic, cursor.partition, record.key, |out| out.extend_from_slice(bytes));
            self.last_state[cursor_index] = Some(self.append.len() - 1);
        }
        self.decided += 1;
        if let Kind::Rejected { reason, detail } = &kind {
            self.rejected += 1;
            if claim.is_empty() {
                self.bury(pipeline, cursor, record, reason, detail);
            } else {
                let rejection = Rejection {
                    index: 0,
                    key: Some(String::from_utf8_lossy(record.key).into_owned()),
                    reason: (*reason).to_owned(),
                    detail: detail.clone(),
                };
                put_rejection(&mut self.append, &pipeline.topics, &claim, cursor.partition, source_seq, rejection);
            }
        }
        if !claim.is_empty() {
            running.ledger.count(&claim, cursor.partition, &kind);
        }
        Ok(())
    }

    fn bury(&mut self, pipeline: &Pipeline, cursor: &Cursor, record: RecordRef<'_>, reason: &str, detail: &str) {
        let refused = Refused {
            stage: CONSUMER,
            entity: &cursor.entity.name,
            topic: &cursor.topic,
            partition: cursor.partition,
            offset: record.offset,
            key: record.key,
            value: record.value,
        };
        dead_letters::put_open(&mut self.append, &pipeline.topics, refused, reason, detail);
        self.dead_letters += 1;
    }

    /// How far the state topics reach now that the append is committed at these offsets.
    pub(super) fn reached(&self, cursors: &Cursors, offsets: &[u64]) -> Vec<Reached> {
        let mut reached = Vec::new();
        for (cursor, last) in cursors.list.iter().zip(&self.last_state) {
            if let Some(last) = last {
                let next = offsets[*last] + 1;
                reached.push(Reached { entity: cursor.entity.name.clone(), partition: cursor.partition, next });
            }
        }
        reached
    }
}

/// A state that cannot be read must not be folded over: the change would be applied to nothing.
fn undecodable_state(cursor: &Cursor, record: RecordRef<'_>, problem: &DecodeError) -> Stopped {
    if let DecodeError::UnknownSchema(fingerprint) = problem {
        let text = format!(
            "the states of {} were written by schema {fingerprint:016x}, which this program does not know; \
             start the version that wrote them, or put its .avsc into the schema folder",
            cursor.entity.name
        );
        return Stopped::Failed(Failure::new(Class::Operator, text));
    }
    let text = format!(
        "the state of the key at {}/{} offset {} cannot be read: {problem}",
        cursor.topic, cursor.partition, record.offset
    );
    Stopped::Failed(Failure::new(Class::Operator, text))
}

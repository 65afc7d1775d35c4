//! The second pass: records to changes, batch by batch, each batch with the claim's checkpoint in the same append.
//!
//! Guarantees: a record's number is the claim's first plus its index, also after a restart; what is rejected here stands on the
//! receipts topic by the same append; the last batch says whether the bytes were those of the first pass. Pure but for reading
//! the file. Bounded by records and bytes.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use tidemark_connector_core::progress;
use tidemark_connector_core::receipt::{Rejection, rejection_key};
use tidemark_log::{Append, Log, LogError, Topics, partition};
use tidemark_schemas::change::event_id;
use tidemark_schemas::{Change, Entity, codec, row};

use crate::claim::{Claim, SOURCE, Stage, hex};
use crate::forms::mapper::{Mapped, Mapper};
use crate::problem::{Problem, Rejected};
use crate::retried::Retried;
use crate::splitter::{Event, RECORD_BYTES_MAX, SplitError, Splitter};

/// Records of a batch: enough that a commit's cost does not count.
const BATCH_RECORDS_MAX: usize = 4_000;
/// Bytes of a batch. Two of them are in memory, one being made and one being appended.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// Who signs the connector's own rejections, where the fold's have their partition.
pub(crate) const OWN_PARTITION: &str = "c";

/// The pass under way.
#[derive(Debug)]
pub(crate) struct Publication {
    splitter: Splitter<File>,
    mapper: Mapper,
    pub(crate) claim: Claim,
    topics: Topics,
    changes: Arc<str>,
    partitions: u32,
    /// Only these, where others were decided before.
    only: Option<Retried>,
    begun: bool,
}

/// A batch that is ready to be appended.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) append: Append,
    /// The claim as of this batch.
    pub(crate) claim: Claim,
    /// Whether it was the last.
    pub(crate) last: bool,
    /// Place in the file.
    pub(crate) offset: u64,
    /// Records looked at, changes and rejections in it.
    pub(crate) read: u64,
    pub(crate) published: u64,
    pub(crate) rejected: u64,
}

impl Publication {
    /// Starts (or goes on) at the claim's next record.
    pub(crate) fn new(
        mut file: File,
        mapper: Mapper,
        claim: Claim,
        topics: &Topics,
        partitions: u32,
        only: Option<Retried>,
    ) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut mapper = mapper;
        mapper.notes = claim.counts.notes.clone();
        let changes = topics.changes(&mapper.form().entity.name);
        let begun = claim.counts.next > 0;
        let splitter = Splitter::with_size(file, claim.signature.size);
        Ok(Self { splitter, mapper, claim, topics: topics.clone(), changes, partitions, only, begun })
    }

    /// Reads which records the next batch may hold; before each batch.
    pub(crate) async fn prepare(&mut self, log: &dyn Log) -> Result<(), LogError> {
        match &mut self.only {
            Some(only) => only.fill(log, &self.topics).await,
            None => Ok(()),
        }
    }

    /// Maps the next batch. `now` is UTC microseconds. After a failure, which is one of reading, this pass is of no use any more.
    pub(crate) fn batch(&mut self, now: i64) -> std::io::Result<Batch> {
        let mut append = Append::default();
        if !self.begun {
            // Where an append is not one transaction, the numbers must be known before the first record that carries one.
            progress::put(&mut append, &self.topics, &self.claim.key(), &self.claim);
            self.begun = true;
        }
        let before = (self.claim.counts.read, self.claim.counts.rejected);
        let mut looked_at = 0;
        let last = loop {
            let full = append.len() >= BATCH_RECORDS_MAX || append.bytes() >= BATCH_BYTES_MAX;
            if full || looked_at >= 4 * BATCH_RECORDS_MAX || self.only.as_ref().is_some_and(Retried::is_dry) {
                break false;
            }
            looked_at += 1;
            match self.record(&mut append, now) {
                Ok(true) => {}
                Ok(false) => break true,
                Err(SplitError::Read(error)) => return Err(error),
                Err(SplitError::NotUtf8 { .. } | SplitError::Malformed { .. }) => {
                    // It was well-formed in the first pass.
                    self.claim.changed = true;
                    break true;
                }
            }
        };
        self.claim.counts.notes = self.mapper.notes.clone();
        if last {
            self.claim.stage = Stage::Published;
        }
        progress::put(&mut append, &self.topics, &self.claim.key(), &self.claim);
        let (read, rejected) = (self.claim.counts.read - before.0, self.claim.counts.rejected - before.1);
        let offset = self.splitter.offset();
        Ok(Batch { append, claim: self.claim.clone(), last, offset, read, published: read - rejected, rejected })
    }

    /// One record; false at the end of the file.
    fn record(&mut self, append: &mut Append, now: i64) -> Result<bool, SplitError> {
        let next = self.claim.counts.next;
        let wanted = |index: u64, only: &mut Option<Retried>| index >= next && only.as_mut().is_none_or(|only| only.takes(index));
        match self.splitter.next_event()? {
            Event::Envelope { .. } => Ok(true),
            // Numbers from here on are the next claim's.
            Event::TooLarge { index, .. } | Event::Record { index, .. } if index >= self.claim.numbers => {
                self.claim.changed = true;
                Ok(false)
            }
            Event::End => {
                let (sha256, _) = self.splitter.digest();
                self.claim.changed |= hex(&sha256) != self.claim.sha256;
                Ok(false)
            }
            Event::TooLarge { index, length, .. } => {
                if wanted(index, &mut self.only) {
                    let detail = format!("the record has {length} bytes; {RECORD_BYTES_MAX} is the most");
                    let problem = Problem::new("record_too_large", detail);
                    reject(&self.topics, &mut self.claim, append, index, Rejected { key: None, problem });
                }
                self.pass(index);
                Ok(true)
            }
            Event::Record { index, bytes, .. } => {
                if wanted(index, &mut self.only) {
                    let text = std::str::from_utf8(bytes).expect("the splitter checked every chunk to be UTF-8");
                    match self.mapper.map(text) {
                        Err(rejected) => reject(&self.topics, &mut self.claim, append, index, rejected),
                        Ok(mapped) => {
                            let entity = &self.mapper.form().entity;
                            let partition = partition_of(entity, &mapped, self.partitions);
                            write_change(entity, mapped, &mut self.claim, (append, &self.changes, partition), index, now);
                        }
                    }
                }
                self.pass(index);
                Ok(true)
            }
        }
    }

    fn pass(&mut self, index: u64) {
        self.claim.counts.next = self.claim.counts.next.max(index + 1);
    }
}

fn partition_of(entity: &Entity, mapped: &Mapped<'_>, partitions: u32) -> u32 {
    let named = entity.partition_by.as_ref().zip(mapped.row.as_ref()).and_then(|(path, row)| path.get(row).as_text());
    partition::of(named.unwrap_or(&mapped.key).as_bytes(), partitions)
}

fn write_change(
    entity: &Entity,
    mapped: Mapped<'_>,
    claim: &mut Claim,
    (append, topic, partition): (&mut Append, &Arc<str>, u32),
    index: u64,
    now: i64,
) {
    let source_seq = claim.first + index;
    let operation = claim.envelope.parsed().unwrap_or(tidemark_schemas::Operation::Insert);
    let id = claim.id();
    let change = Change {
        key: mapped.key.into(),
        tenant: mapped.tenant.map(Into::into),
        operation,
        mask: mapped.mask,
        row_hash: mapped.row.as_ref().map_or(0, |cells| row::hash(&entity.record, cells)),
        row: mapped.row,
        source: SOURCE.into(),
        source_seq,
        snapshot: claim.initial,
        occurred_at: claim.envelope.occurred_at,
        ingested_at: now,
        event_id: event_id(SOURCE, source_seq),
        claim: id.into(),
    };
    append.record(topic, partition, change.key.as_bytes(), |out| codec::encode_change(entity, &change, out));
    *claim.counts.published.entry(partition).or_default() += 1;
    claim.counts.read += 1;
}

fn reject(topics: &Topics, claim: &mut Claim, append: &mut Append, index: u64, rejected: Rejected) {
    let key = rejection_key(&claim.id(), OWN_PARTITION, index);
    let Rejected { key: record_key, problem } = rejected;
    let rejection = Rejection { index, key: record_key, reason: problem.reason.to_owned(), detail: problem.detail };
    append.record(&topics.receipts, 0, key.as_bytes(), |out| {
        serde_json::to_writer(out, &rejection).expect("rejections are plain data and a Vec takes every write");
    });
    claim.counts.rejected += 1;
    claim.counts.read += 1;
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tidemark_schemas::{Catalog, Operation};

    use super::*;
    use crate::forms::Forms;

    #[test]
    fn a_disk_that_does_not_answer_is_no_change_of_the_file() {
        // A file whose first page nobody can read.
        let file = File::open("/proc/self/mem").unwrap();
        let forms = Forms::new(&Catalog::built_in());
        let form = Arc::clone(forms.of_file("customers_add.json").unwrap());
        let mapper = Mapper::new(form, Operation::Insert, None, TimeZone::UTC);
        let claim = Claim { numbers: 3, ..Claim::default() };
        let mut publication = Publication::new(file, mapper, claim, &Topics::new("t"), 1, None).unwrap();
        assert!(publication.batch(0).is_err());
        assert!(!publication.claim.changed);
    }
}

//! What the fold remembers beside the states: high-water marks and the receipts of claims.
//!
//! Both are on compacted topics and are written in the fold's own transaction, so after a failure they are simply read again;
//! what a failed batch had changed in memory goes with this object.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_connector_core::progress::{self, Mark};
use tidemark_connector_core::receipt::{Receipt, Rejection, index_of, receipt_key, rejection_key};
use tidemark_log::{Append, Log, LogError, ReadLimit, Topics};

use super::decide::Kind;
use crate::engine::cursors::Cursors;

/// Claims whose counts are kept in memory. A source decides or closes one claim before it begins the next, so a claim that this
/// many others came after gets no more records; a larger number only costs memory (about 150 bytes each).
const CLAIMS_MAX: usize = 20_000;
/// How much of the receipts is read at once.
const LOAD_LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20 };

/// Marks and receipts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By cursor: the highest number applied of each source. In order, so that the same batch always writes them in the same one.
    marks: Vec<BTreeMap<String, SourceMark>>,
    claims: HashMap<String, Vec<Counts>>,
    batch: u64,
}

#[derive(Debug)]
struct SourceMark {
    source_seq: u64,
    dirty: bool,
}

#[derive(Debug)]
struct Counts {
    partition: u32,
    receipt: Receipt,
    dirty: bool,
    /// Number of the batch that touched it last.
    touched: u64,
}

impl Ledger {
    /// Reads what the fold has committed. All partition numbers write to the same topics, so what a former owner of ours committed
    /// may stand behind what another number's owner has under way.
    pub(super) async fn load(log: &dyn Log, topics: &Topics, cursors: &Cursors) -> Result<Self, LogError> {
        for topic in [&topics.progress, &topics.receipts] {
            log.include_pending(topic, 0).await?;
        }
        let mut ledger = Self { marks: cursors.list.iter().map(|_| BTreeMap::new()).collect(), ..Self::default() };
        for (key, text) in progress::load(log, topics, "mark|").await? {
            let mut parts = key.splitn(4, '|').skip(1);
            let (Some(source), Some(topic), Some(partition)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let Ok(mark) = serde_json::from_str::<Mark>(&text) else { continue };
            let stands =
                |cursor: &crate::engine::cursors::Cursor| *cursor.topic == *topic && partition.parse() == Ok(cursor.partition);
            if let Some(index) = cursors.list.iter().position(stands) {
                let mark = SourceMark { source_seq: mark.source_seq, dirty: false };
                ledger.marks[index].insert(source.to_owned(), mark);
            }
        }
        let numbers = cursors.list.iter().map(|cursor| cursor.partition).collect();
        ledger.load_receipts(log, &topics.receipts, &numbers).await?;
        Ok(ledger)
    }

    /// Reads the counts of these partition numbers.
    async fn load_receipts(&mut self, log: &dyn Log, topic: &str, numbers: &BTreeSet<u32>) -> Result<(), LogError> {
        let mut offset = log.bounds(topic, 0).await?.start;
        loop {
            let records = log.read(topic, 0, offset, LOAD_LIMIT).await?;
            let Some(next) = records.next_offset() else { return Ok(()) };
            for record in records.iter() {
                // `<claim>|<partition>`; what has more parts is a rejection, and partition `c` is the connector's own.
                let Ok(key) = std::str::from_utf8(record.key) else { continue };
                let Some((claim, partition)) = key.split_once('|') else { continue };
                let (Ok(partition), Ok(receipt)) = (partition.parse(), serde_json::from_slice(record.value)) else { continue };
                if !numbers.contains(&partition) {
                    continue;
                }
                self.batch += 1;
                *self.receipt(claim, partition) = receipt;
            }
            self.written();
            offset = next;
        }
    }

    /// Raises the mark of the source; `false` when it stands at or above the number already: a repeat.
    pub(super) fn raise(&mut self, cursor: usize, source: &str, source_seq: u64) -> bool {
        let marks = &mut self.marks[cursor];
        match marks.get_mut(source) {
            Some(mark) if mark.source_seq >= source_seq => return false,
            Some(mark) => {
                mark.source_seq = source_seq;
                mark.dirty = true;
            }
            None => _ = marks.insert(source.to_owned(), SourceMark { source_seq, dirty: true }),
        }
        true
    }

    /// Counts a decided change of a claim.
    pub(super) fn count(&mut self, claim: &str, partition: u32, kind: &Kind) {
        let receipt = self.receipt(claim, partition);
        match kind {
            Kind::Inserted => receipt.decided.inserted += 1,
            Kind::Updated => receipt.decided.updated += 1,
            Kind::Deleted => receipt.decided.deleted += 1,
            Kind::Unchanged { left_deleted } => {
                receipt.decided.unchanged += 1;
                receipt.left_deleted += u64::from(*left_deleted);
            }
            Kind::Rejected { .. } => receipt.decided.rejected += 1,
        }
    }

    fn receipt(&mut self, claim: &str, partition: u32) -> &mut Receipt {
        if !self.claims.contains_key(claim) {
            self.claims.insert(claim.to_owned(), Vec::new());
        }
        let counts = self.claims.get_mut(claim).expect("it was inserted above");
        let index = match counts.iter().position(|counts| counts.partition == partition) {
            Some(index) => index,
            None => {
                counts.push(Counts { partition, receipt: Receipt::default(), dirty: false, touched: 0 });
                counts.len() - 1
            }
        };
        let counts = &mut counts[index];
        counts.dirty = true;
        counts.touched = self.batch;
        &mut counts.receipt
    }

    /// Puts everything that the batch changed into its transaction; what is changed from here on belongs to the next one.
    pub(super) fn write(&mut self, append: &mut Append, topics: &Topics, cursors: &Cursors) {
        for (marks, cursor) in self.marks.iter().zip(&cursors.list) {
            for (source, mark) in marks.iter().filter(|(_, mark)| mark.dirty) {
                let key = progress::mark_key(source, &cursor.topic, cursor.partition);
                progress::put(append, topics, &key, &Mark { source_seq: mark.source_seq });
            }
        }
        // By name, so that the same batch always writes the same records in the same order.
        let dirty = |counts: &&Counts| counts.dirty;
        let mut claims: Vec<_> = self.claims.iter().filter(|(_, counts)| counts.iter().any(|counts| counts.dirty)).collect();
        claims.sort_unstable_by_key(|(claim, _)| claim.as_str());
        for (claim, counts) in claims {
            for counts in counts.iter().filter(dirty) {
                put(append, topics, &receipt_key(claim, counts.partition), &counts.receipt);
            }
        }
        self.written();
    }

    fn written(&mut self) {
        self.batch += 1;
        for mark in self.marks.iter_mut().flat_map(BTreeMap::values_mut) {
            mark.dirty = false;
        }
        for counts in self.claims.values_mut().flatten() {
            counts.dirty = false;
        }
        if self.claims.len() > CLAIMS_MAX {
            let touched = |counts: &Vec<Counts>| counts.iter().map(|counts| counts.touched).max().unwrap_or(0);
            let mut all: Vec<u64> = self.claims.values().map(touched).collect();
            let (_, median, _) = all.select_nth_unstable(CLAIMS_MAX / 2);
            let median = *median;
            self.claims.retain(|_, counts| touched(counts) >= median);
        }
    }
}

/// Puts the rejection of one record of a claim into the transaction.
pub(super) fn put_rejection(
    append: &mut Append,
    topics: &Topics,
    claim: &str,
    partition: u32,
    source_seq: u64,
    mut rejection: Rejection,
) {
    rejection.index = index_of(claim, source_seq).unwrap_or(source_seq);
    let key = rejection_key(claim, &partition.to_string(), rejection.index);
    put(append, topics, &key, &rejection);
}

fn put(append: &mut Append, topics: &Topics, key: &str, value: &impl serde::Serialize) {
    append.record(&topics.receipts, 0, key.as_bytes(), |out| {
        serde_json::to_writer(out, value).expect("receipts are plain data and a Vec takes every write");
    });
}

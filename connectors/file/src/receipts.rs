//! The fold's answers about one claim: counts as they come in, and all rejections in the order of the file.
//!
//! Reads the receipts topic from where it stood when the claim was made. The merge holds one small batch for each partition, not
//! the rejections, however many there are.

use std::collections::{BTreeMap, VecDeque};

use tidemark_connector_core::receipt::{Receipt, Rejection};
use tidemark_log::{Log, LogError, ReadLimit, Topics};

use crate::claim::Claim;
use crate::publish::OWN_PARTITION;

const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 256 * 1024 };

/// The counts of one claim so far.
#[derive(Debug)]
pub(crate) struct Answers {
    prefix: String,
    offset: u64,
    pub(crate) by_partition: BTreeMap<u32, Receipt>,
}

impl Answers {
    /// None yet.
    pub(crate) fn new(claim: &Claim) -> Self {
        Self { prefix: format!("{}|", claim.id()), offset: claim.receipts_from, by_partition: BTreeMap::new() }
    }

    /// Reads on; true when every change that was published is decided.
    pub(crate) async fn complete(&mut self, log: &dyn Log, topics: &Topics, claim: &Claim) -> Result<bool, LogError> {
        while !self.decided(claim) {
            let batch = log.read(&topics.receipts, 0, self.offset, LIMIT).await?;
            let Some(next) = batch.next_offset() else { return Ok(false) };
            for record in batch.iter() {
                let Some(rest) = std::str::from_utf8(record.key).ok().and_then(|key| key.strip_prefix(&self.prefix)) else {
                    continue;
                };
                if let Ok(partition) = rest.parse()
                    && let Ok(receipt) = serde_json::from_slice(record.value)
                {
                    self.by_partition.insert(partition, receipt);
                }
            }
            self.offset = next;
        }
        Ok(true)
    }

    /// How far it has read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn decided(&self, claim: &Claim) -> bool {
        let of = |partition: &u32| self.by_partition.get(partition).map_or(0, |receipt| receipt.decided.total());
        claim.counts.published.iter().all(|(partition, published)| of(partition) >= *published)
    }
}

/// All rejections of a claim by index.
#[derive(Debug)]
pub(crate) struct Rejections {
    streams: Vec<Stream>,
}

/// Those of one partition (or the connector's own), which come in order.
#[derive(Debug)]
struct Stream {
    prefix: String,
    offset: u64,
    waiting: VecDeque<Rejection>,
    last: Option<u64>,
}

impl Rejections {
    /// From the start of the claim with this id, of the connector and of these partitions.
    pub(crate) fn new(id: &str, from: u64, partitions: impl Iterator<Item = u32>) -> Self {
        let names = std::iter::once(OWN_PARTITION.to_owned()).chain(partitions.map(|partition| partition.to_string()));
        let stream = |name| Stream { prefix: format!("{id}|{name}|"), offset: from, waiting: VecDeque::new(), last: None };
        Self { streams: names.map(stream).collect() }
    }

    /// The next by index.
    pub(crate) async fn next(&mut self, log: &dyn Log, topics: &Topics) -> Result<Option<Rejection>, LogError> {
        let mut first: Option<(u64, usize)> = None;
        for at in 0..self.streams.len() {
            self.streams[at].fill(log, topics).await?;
            if let Some(rejection) = self.streams[at].waiting.front()
                && first.is_none_or(|(index, _)| rejection.index < index)
            {
                first = Some((rejection.index, at));
            }
        }
        Ok(first.and_then(|(_, at)| self.streams[at].waiting.pop_front()))
    }
}

impl Stream {
    async fn fill(&mut self, log: &dyn Log, topics: &Topics) -> Result<(), LogError> {
        while self.waiting.is_empty() {
            let batch = log.read(&topics.receipts, 0, self.offset, LIMIT).await?;
            let Some(next) = batch.next_offset() else { return Ok(()) };
            for record in batch.iter() {
                if !record.key.starts_with(self.prefix.as_bytes()) {
                    continue;
                }
                let Ok(rejection) = serde_json::from_slice::<Rejection>(record.value) else { continue };
                // A batch that was repeated after an unknown outcome comes twice.
                if self.last.is_none_or(|last| rejection.index > last) {
                    self.last = Some(rejection.index);
                    self.waiting.push_back(rejection);
                }
            }
            self.offset = next;
        }
        Ok(())
    }
}

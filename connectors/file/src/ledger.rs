//! The ledger: what the progress topic says about files, kept in memory in about 200 bytes a file.
//!
//! Guarantees: a claim that is open comes back whole; numbers rise over everything that was ever given out; a content that was
//! taken in is known by its sha-256. Relies on claims being appended before (or with) what they speak of.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tidemark_connector_core::progress;
use tidemark_log::{Log, LogError, ReadLimit, Topics};

use crate::claim::{CLAIM_PREFIX, Claim, SOURCE, Stage};
use crate::options::Selection;
use crate::stats::Statistics;
use crate::tree::Signature;

/// What is known of a content that was dropped before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) first: u64,
    pub(crate) path: Box<str>,
    pub(crate) verdict: Verdict,
    /// Where its receipts begin.
    pub(crate) receipts_from: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything applied or unchanged.
    Whole,
    /// Some rejected.
    SomeRejected,
    /// The file failed.
    Failed,
}

/// What is known of an initial file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) first: u64,
    pub(crate) signature: Signature,
    pub(crate) sha256: Box<str>,
    pub(crate) derivation: u64,
    pub(crate) failed: bool,
    pub(crate) rejected: u64,
}

/// `scan-request|<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRequest {
    /// What to look through.
    pub selection: Selection,
}

/// `scan-answer|<id>`: what came of it, when everything was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanAnswer {
    /// Of the files that were read since the request.
    pub statistics: Statistics,
}

/// Key of a request.
pub fn request_key(id: &str) -> String {
    format!("{REQUEST}{id}")
}

/// Key of its answer.
pub fn answer_key(id: &str) -> String {
    format!("{ANSWER}{id}")
}

const REQUEST: &str = "scan-request|";
const ANSWER: &str = "scan-answer|";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Claims {
    Take,
    PassOver,
}

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    contents: HashMap<String, Past>,
    initial: HashMap<Box<str>, Remembered>,
    open: BTreeMap<u64, Claim>,
    /// Destinations of open claims → the claim's first number.
    reserved: HashMap<Box<str>, u64>,
    next: u64,
    read_to: u64,
    epoch: u64,
    requests: BTreeMap<String, ScanRequest>,
}

impl Ledger {
    /// Reads the progress topic from its start.
    pub(crate) async fn load(log: &dyn Log, topics: &Topics) -> Result<Self, LogError> {
        let mut ledger = Self::default();
        ledger.read(log, topics, Claims::Take).await?;
        Ok(ledger)
    }

    /// Reads what others appended since: requests, and a newer epoch. Claims are this instance's own and known.
    pub(crate) async fn catch_up(&mut self, log: &dyn Log, topics: &Topics) -> Result<(), LogError> {
        self.read(log, topics, Claims::PassOver).await
    }

    async fn read(&mut self, log: &dyn Log, topics: &Topics, claims: Claims) -> Result<(), LogError> {
        const LIMIT: ReadLimit = ReadLimit { records_max: 4_000, bytes_max: 2 << 20 };
        if self.read_to == 0 {
            self.read_to = log.bounds(&topics.progress, 0).await?.start;
        }
        loop {
            let batch = log.read(&topics.progress, 0, self.read_to, LIMIT).await?;
            let Some(next) = batch.next_offset() else { return Ok(()) };
            for record in batch.iter() {
                if let (Ok(key), Ok(value)) = (std::str::from_utf8(record.key), std::str::from_utf8(record.value)) {
                    self.take(key, value, claims);
                }
            }
            self.read_to = next;
        }
    }

    fn take(&mut self, key: &str, value: &str, claims: Claims) {
        if key.starts_with(CLAIM_PREFIX) {
            if claims == Claims::PassOver {
                return;
            }
            match serde_json::from_str::<Claim>(value) {
                Ok(claim) if claim.key() == key => self.put(claim),
                Ok(_) => {}
                Err(_) if !key.starts_with("claim|file-") => {}
                Err(error) => tracing::warn!(key, %error, "a claim on the progress topic cannot be read and is passed over"),
            }
        } else if let Some(id) = key.strip_prefix(REQUEST) {
            if let Ok(request) = serde_json::from_str(value) {
                self.requests.insert(id.to_owned(), request);
            }
        } else if let Some(id) = key.strip_prefix(ANSWER) {
            self.requests.remove(id);
        } else if key == progress::epoch_key(SOURCE)
            && let Ok(epoch) = serde_json::from_str::<progress::Epoch>(value)
        {
            self.epoch = self.epoch.max(epoch.epoch);
        }
    }

    /// The newest epoch that the log knows.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.epoch
    }

    /// The source starts a new epoch.
    pub(crate) fn start_epoch(&mut self, epoch: u64) {
        self.next = self.next.max(epoch << progress::EPOCH_SHIFT);
    }

    /// The first number that was never given out.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// A claim as it stands now.
    pub(crate) fn put(&mut self, claim: Claim) {
        self.next = self.next.max(claim.end());
        match claim.stage {
            Stage::Reading | Stage::Published => {
                if self.open.get(&claim.first).is_none_or(|known| known.destinations != claim.destinations) {
                    self.release(claim.first);
                    for place in claim.reserves() {
                        self.reserved.entry(place.into()).or_insert(claim.first);
                    }
                }
                self.open.insert(claim.first, claim);
            }
            Stage::Closed => {
                self.release(claim.first);
                self.open.remove(&claim.first);
                if !claim.changed {
                    self.remember(claim);
                }
            }
        }
    }

    /// The destinations of an open claim are nobody's any more.
    fn release(&mut self, first: u64) {
        let Some(known) = self.open.get(&first) else { return };
        for place in known.reserves() {
            if self.reserved.get(place) == Some(&first) {
                self.reserved.remove(place);
            }
        }
    }

    /// A claim that waited for its place may close after a newer one of the same file, which then stays what is known.
    fn remember(&mut self, claim: Claim) {
        if claim.initial {
            if self.is_superseded(&claim) {
                return;
            }
            let known = Remembered {
                first: claim.first,
                signature: claim.signature,
                sha256: claim.sha256.into(),
                derivation: claim.derivation,
                failed: claim.failed.is_some(),
                rejected: claim.rejected,
            };
            self.initial.insert(claim.path.into(), known);
        } else if !claim.sha256.is_empty() && claim.repeats_of.is_none() {
            let verdict = match (claim.failed.is_some(), claim.rejected) {
                (true, _) => Verdict::Failed,
                (false, 0) => Verdict::Whole,
                (false, _) => Verdict::SomeRejected,
            };
            let known = self.contents.get(&claim.sha256);
            if known.is_some_and(|known| known.first > claim.first) {
                return;
            }
            // It was taken in before: that it failed since, under a name that does not suit it, undoes nothing.
            if verdict == Verdict::Failed && known.is_some_and(|known| known.verdict != Verdict::Failed) {
                return;
            }
            let path = claim.destinations.original.unwrap_or(claim.path).into();
            self.contents.insert(claim.sha256, Past { first: claim.first, path, verdict, receipts_from: claim.receipts_from });
        }
    }

    /// What is known of a content (sha-256 in hex).
    pub(crate) fn content(&self, sha256: &str) -> Option<&Past> {
        self.contents.get(sha256)
    }

    /// What is known of an initial file.
    pub(crate) fn initial(&self, path: &str) -> Option<&Remembered> {
        self.initial.get(path)
    }

    /// Whether a newer reading of the same initial file is decided.
    pub(crate) fn is_superseded(&self, claim: &Claim) -> bool {
        claim.initial && self.initial.get(claim.path.as_str()).is_some_and(|known| known.first > claim.first)
    }

    /// Whether an open claim has this destination, written or not.
    pub(crate) fn is_reserved(&self, path: &str) -> bool {
        self.reserved.contains_key(path)
    }

    /// Claims that are not closed, in their order.
    pub(crate) fn open_claims(&self) -> impl Iterator<Item = &Claim> {
        self.open.values()
    }

    /// Requests without an answer.
    pub(crate) fn requests(&self) -> &BTreeMap<String, ScanRequest> {
        &self.requests
    }
}

//! A claim: one reading of one file, as it stands on the progress topic under `claim|<id>`.
//!
//! The record with its counts is appended together with the records that it speaks of, so a restart finds exactly how far the
//! file came and goes on with the same numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_connector_core::receipt::claim_id;

use crate::envelope::Envelope;
use crate::forms::notes::Notes;
use crate::tree::Signature;

/// Name of this source.
pub(crate) const SOURCE: &str = "file";

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Records are being published.
    #[default]
    Reading,
    /// All are; the fold decides, then the file goes to its place.
    Published,
    /// Done.
    Closed,
}

/// What became of the records, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Index of the next record.
    #[serde(default)]
    pub(crate) next: u64,
    /// Records that were to be read: all but those passed over in a second try.
    #[serde(default)]
    pub(crate) read: u64,
    /// Changes published, by partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) published: BTreeMap<u32, u64>,
    /// Rejected by the connector.
    #[serde(default)]
    pub(crate) rejected: u64,
    /// Remarks.
    #[serde(default)]
    pub(crate) notes: Notes,
}

/// Where everything goes; chosen before anything is moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destinations {
    /// The original; `None` = it stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<String>,
    /// The rejected records, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rejects: Option<String>,
    /// The result file.
    pub(crate) result: String,
}

/// One claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Path below the root when it was claimed.
    pub(crate) path: String,
    /// Hex; empty when the file could not be read.
    #[serde(default)]
    pub(crate) sha256: String,
    /// What the file looked like.
    pub(crate) signature: Signature,
    /// Number of its record 0.
    pub(crate) first: u64,
    /// Numbers that it holds.
    pub(crate) numbers: u64,
    /// An initial file.
    #[serde(default)]
    pub(crate) initial: bool,
    /// Initial files: what the reading depended on besides the file.
    #[serde(default)]
    pub(crate) derivation: u64,
    /// Envelope, or what stands for it.
    #[serde(default)]
    pub(crate) envelope: Envelope,
    /// Where its receipts begin.
    #[serde(default)]
    pub(crate) receipts_from: u64,
    /// Why the file failed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// Path of the file of which this is a repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repeats_of: Option<String>,
    /// Only what this claim (its first number) had rejected is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<u64>,
    /// Counts so far.
    #[serde(default)]
    pub(crate) counts: Counts,
    /// How far.
    pub(crate) stage: Stage,
    /// The file changed or vanished while it was read: what was published counts, the rest comes under a new claim.
    #[serde(default)]
    pub(crate) changed: bool,
    /// Closed: how many records were rejected, by the connector or the fold.
    #[serde(default)]
    pub(crate) rejected: u64,
    /// Destinations.
    #[serde(default)]
    pub(crate) destinations: Destinations,
}

impl Claim {
    /// The claim's id: `file-<first>`.
    pub(crate) fn id(&self) -> String {
        claim_id(SOURCE, self.first)
    }

    /// The number after its last.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.numbers
    }

    /// Key on the progress topic.
    pub(crate) fn key(&self) -> String {
        format!("{CLAIM_PREFIX}{}", self.id())
    }

    /// File name without folders.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The names that no other claim may take. All readings of an initial file have the same result file.
    pub(crate) fn reserves(&self) -> impl Iterator<Item = &str> {
        let Destinations { original, rejects, result } = &self.destinations;
        let result = (!self.initial).then_some(result);
        original.iter().chain(rejects).chain(result).map(String::as_str)
    }

    /// The names of what is written for it, if it is.
    pub(crate) fn written(&self) -> impl Iterator<Item = &String> {
        self.destinations.rejects.iter().chain([&self.destinations.result])
    }

    /// What a closed claim must be remembered by: the rest would only fill the log.
    pub(crate) fn closed(mut self, rejected: u64) -> Self {
        self.stage = Stage::Closed;
        self.rejected = rejected;
        self.counts = Counts { read: self.counts.read, next: self.counts.next, ..Counts::default() };
        self
    }
}

/// Start of the keys of claims.
pub(crate) const CLAIM_PREFIX: &str = "claim|";

/// A claim's record for a log whose receipts lie at other offsets: `moved` says where those from an offset on begin there. `None`
/// where the record is no claim of this source, and good as it is.
pub fn with_receipts_moved(value: &[u8], moved: impl FnOnce(u64) -> u64) -> Option<Vec<u8>> {
    let claim: Claim = serde_json::from_slice(value).ok()?;
    let claim = Claim { receipts_from: moved(claim.receipts_from), ..claim };
    Some(serde_json::to_vec(&claim).expect("a claim is plain data"))
}

/// Bytes as hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! Receipts: what became of the records of a claim, written by the fold in its own transaction.
//!
//! Keys on the receipts topic: `<claim>|<partition>` for the cumulative counts, `<claim>|<partition>|<index>` for each rejection.
//! A claim's id holds no `|`. Rejections that the connector itself makes (mapping) stand there too, with partition `c`, so that
//! all that is known about a claim is in one place.

use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What was decided of records, counted. Each record counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Keys that came to be.
    pub inserted: u64,
    /// Keys that changed.
    pub updated: u64,
    /// Keys that went.
    pub deleted: u64,
    /// Changes that changed nothing (of these, `deleted_key` met a deleted key).
    pub unchanged: u64,
    /// Changes that were rejected.
    pub rejected: u64,
}

impl Decided {
    /// What ended well: all but the rejected.
    pub fn accepted(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.unchanged
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.accepted() + self.rejected
    }
}

impl AddAssign for Decided {
    fn add_assign(&mut self, other: Self) {
        let Self { inserted, updated, deleted, unchanged, rejected } = other;
        self.inserted += inserted;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
        self.rejected += rejected;
    }
}

/// Cumulative counts of one claim on one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of its changes.
    #[serde(flatten)]
    pub decided: Decided,
    /// Snapshot rows of deleted keys, left deleted: counted in `unchanged`, shown as a warning.
    pub left_deleted: u64,
}

impl Sum for Receipt {
    fn sum<I: Iterator<Item = Self>>(receipts: I) -> Self {
        let mut sum = Self::default();
        for receipt in receipts {
            sum.decided += receipt.decided;
            sum.left_deleted += receipt.left_deleted;
        }
        sum
    }
}

/// One rejected record of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Index of the record in its file, from 0: source_seq − the claim's first.
    pub index: u64,
    /// Record key, where it has one.
    pub key: Option<String>,
    /// Short code: `unknown_key`, `bad_amount` …
    pub reason: String,
    /// For a person.
    pub detail: String,
}

/// Key of the counts.
pub fn receipt_key(claim: &str, partition: u32) -> String {
    format!("{claim}|{partition}")
}

/// Key of a rejection by the fold. The fold knows the index as `source_seq` masked by [`index_of`].
pub fn rejection_key(claim: &str, partition: &str, index: u64) -> String {
    format!("{claim}|{partition}|{index}")
}

/// A claim's id carries its first source number: `<source>-<first source_seq>[-…]`, so that the fold can say the index.
pub fn claim_id(source: &str, first_seq: u64) -> String {
    format!("{source}-{first_seq}")
}

/// The index of a change in its claim; `None` for a foreign claim id.
pub fn index_of(claim: &str, source_seq: u64) -> Option<u64> {
    let first: u64 = claim.rsplit('-').next()?.parse().ok()?;
    source_seq.checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::{Decided, Receipt, claim_id, index_of};

    #[test]
    fn the_index_comes_from_the_claim() {
        let first = 7 << 40;
        assert_eq!(index_of(&claim_id("file", first), first + 12), Some(12));
        assert_eq!(index_of(&claim_id("xiaoe-order", first), first), Some(0));
        for foreign in ["", "file", "file-x", "file-99"] {
            assert_eq!(index_of(foreign, 5), None, "{foreign}");
        }
    }

    #[test]
    fn left_deleted_is_counted_once() {
        let decided = Decided { inserted: 1, updated: 2, deleted: 3, unchanged: 4, rejected: 5 };
        let receipt = Receipt { decided, left_deleted: 4 };
        assert_eq!((receipt.decided.accepted(), receipt.decided.total()), (10, 15));
        let sum: Receipt = [receipt, receipt, Receipt::default()].into_iter().sum();
        assert_eq!((sum.decided.total(), sum.left_deleted), (30, 8));
    }

    /// As it stands on the log, and as older versions of this program wrote it.
    #[test]
    fn a_receipt_is_flat() {
        let text = r#"{"inserted":1,"updated":2,"deleted":3,"unchanged":4,"rejected":5,"left_deleted":4}"#;
        let receipt: Receipt = serde_json::from_str(text).unwrap();
        assert_eq!((receipt.decided.rejected, receipt.left_deleted), (5, 4));
        assert_eq!(serde_json::to_string(&receipt).unwrap(), text);
    }
}

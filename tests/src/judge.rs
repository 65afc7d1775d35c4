//! Judging a run: folds the dropped files through the oracle and holds result files and stores against it.

use std::collections::{BTreeMap, BTreeSet};

use crate::generator::rounds::Drop;
use crate::oracle::compare;
use crate::oracle::{Fate, Oracle};
use crate::place::Place;
use crate::readers::Readers;
use crate::results::{self, Counts};

/// The source name of files.
pub const FILES: &str = "file";

/// What the result file of a drop must say.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its path when it was dropped.
    pub path: String,
    /// Hash of its bytes.
    pub sha256: String,
    /// Its counts.
    pub counts: Counts,
    /// Index and, where it is certain, reason of each refusal.
    pub rejections: Vec<(u64, Option<&'static str>)>,
    /// Keys that no form knows.
    pub unknown_keys: BTreeSet<String>,
    /// It repeats a file of which everything was applied.
    pub repeats: bool,
}

/// An oracle that remembers the files it has seen.
#[derive(Debug, Default)]
pub struct Judge {
    /// The current state.
    pub oracle: Oracle,
    /// Hash of an incremental file → indices that were refused when it was read last.
    seen: BTreeMap<String, Vec<usize>>,
    /// Hash → result files of it so far.
    results: BTreeMap<String, usize>,
}

impl Judge {
    /// Folds the drops, which stand in reading order.
    pub fn fold(&mut self, drops: &[Drop]) -> Vec<Expected> {
        drops.iter().map(|drop| self.fold_one(drop)).collect()
    }

    fn fold_one(&mut self, drop: &Drop) -> Expected {
        let sha256 = results::sha256(&drop.bytes);
        let before = if drop.operation.is_some() { self.seen.get(&sha256).cloned() } else { None };
        let repeats = before.as_ref().is_some_and(Vec::is_empty);
        let mut expected = Expected {
            path: drop.path.clone(),
            sha256: sha256.clone(),
            counts: Counts::default(),
            rejections: Vec::new(),
            unknown_keys: BTreeSet::new(),
            repeats,
        };
        let tried = |index: &usize| before.as_ref().is_none_or(|refused| refused.contains(index));
        let mut refused = Vec::new();
        for (index, sample) in drop.samples.iter().enumerate().filter(|(index, _)| tried(index)) {
            let fate = self.oracle.take(FILES, drop.operation.is_none(), &sample.event);
            fate.count(&mut expected.counts);
            expected.unknown_keys.extend(sample.unknown_keys.iter().cloned());
            if let Fate::Rejected(reason) = fate {
                expected.rejections.push((index as u64, reason));
                refused.push(index);
            }
        }
        if drop.operation.is_some() {
            self.seen.insert(sha256, refused);
        }
        expected
    }

    /// Holds the result files of a run against what they must say: one more for every file, with these counts.
    ///
    /// # Panics
    /// At the first difference.
    pub fn check_results(&mut self, place: &Place, expected: &[Expected]) {
        let found = results::by_hash(&place.import());
        for expected in expected {
            let all = found.get(&expected.sha256).map_or(&[][..], Vec::as_slice);
            let before = self.results.entry(expected.sha256.clone()).or_default();
            // An initial file that is read again writes its result anew.
            let result = if expected.path.starts_with("initial/") { all.last() } else { all.get(*before) };
            let result = result.unwrap_or_else(|| panic!("{}: {before} results before, now {all:#?}", expected.path));
            *before += 1;
            assert!(result.document["failed"].is_null(), "{}: {}", expected.path, result.document);
            assert_eq!(result.counts, expected.counts, "{}: {:#}", expected.path, result.document);
            let rejections = result.rejections();
            assert_eq!(rejections.len(), expected.rejections.len(), "{}: {:#}", expected.path, result.document);
            for ((index, reason), (expected_index, expected_reason)) in rejections.iter().zip(&expected.rejections) {
                assert_eq!(index, expected_index, "{}: {:#}", expected.path, result.document);
                if let Some(expected_reason) = expected_reason {
                    assert_eq!(reason, expected_reason, "{}: record {index}: {:#}", expected.path, result.document);
                }
            }
            let repeats = !result.document["repeats_of"].is_null();
            assert_eq!(repeats, expected.repeats, "{}: {:#}", expected.path, result.document);
            for key in &expected.unknown_keys {
                assert!(
                    result.document["unknown_keys"].to_string().contains(key.as_str()),
                    "{}: {:#}",
                    expected.path,
                    result.document
                );
            }
        }
        for expected in expected.iter().filter(|expected| !expected.path.starts_with("initial/")) {
            let (all, wanted) = (&found[&expected.sha256], self.results[&expected.sha256]);
            assert_eq!(all.len(), wanted, "{}: results of these bytes: {all:#?}", expected.path);
        }
    }

    /// Holds `state` and all four stores against the oracle.
    ///
    /// # Panics
    /// At the first difference.
    pub fn check_stores(&self, place: &Place, stores: &Readers) {
        compare::everything(place, stores, &self.oracle);
    }
}

//! What is remarked about a file without rejecting anything: warnings by kind, and keys that no form knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A code that its vocabulary does not know; it is kept as it stands.
pub const UNKNOWN_CODE: &str = "unknown_code";

/// Unknown keys that are counted by name; what comes beyond is counted under `…`. They stand in every checkpoint.
const NAMES_MAX: usize = 100;
const NAME_CHARACTERS_MAX: usize = 64;

/// Remarks about one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Kind → how often.
    pub warnings: BTreeMap<String, u64>,
    /// Path of the key → how often.
    pub unknown_keys: BTreeMap<String, u64>,
}

impl Notes {
    /// One more warning of a kind.
    pub fn warn(&mut self, kind: &str) {
        count(&mut self.warnings, kind);
    }

    /// One more key that is not known.
    pub fn unknown_key(&mut self, path: &str) {
        if self.unknown_keys.len() >= NAMES_MAX && !self.unknown_keys.contains_key(path) {
            return count(&mut self.unknown_keys, "…");
        }
        match path.char_indices().nth(NAME_CHARACTERS_MAX) {
            Some((end, _)) => count(&mut self.unknown_keys, &path[..end]),
            None => count(&mut self.unknown_keys, path),
        }
    }

    /// All warnings.
    pub fn warning_count(&self) -> u64 {
        self.warnings.values().sum()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

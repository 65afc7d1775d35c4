//! Where files go when they are decided: names that are free, and that mean the same when the file is dropped again.

use sha2::{Digest, Sha256};

use crate::claim::{Claim, Destinations, hex};
use crate::forms::file_stem;
use crate::ledger::Ledger;
use crate::scan::{Candidate, Place};
use crate::tree::{Tree, split};

const PROCESSED: &str = "incremental/processed";
const FAILED: &str = "incremental/failed";

/// Longest name of a file in bytes, on every file system in use.
const NAME_BYTES_MAX: usize = 255;

/// The names that are taken: what stands somewhere, and where an open claim will put something.
pub(crate) struct Places<'p> {
    pub(crate) tree: &'p Tree,
    pub(crate) ledger: &'p Ledger,
}

impl Places<'_> {
    /// Chooses the destinations of a claim. `today` is `YYYY-MM-DD`.
    pub(crate) fn choose(&self, candidate: &Candidate, failed: bool, today: &str) -> Destinations {
        let name = candidate.name();
        let date = match &candidate.place {
            Place::Incremental { date } => date,
            Place::Initial { .. } | Place::Misplaced { .. } => today,
        };
        let folder_of_failed = format!("{FAILED}/{date}");
        if candidate.is_initial() {
            let rejects = (!failed).then(|| self.free(&folder_of_failed, &initial_rejects(candidate)));
            return Destinations { original: None, rejects, result: result_of(&candidate.path) };
        }
        let folder = if failed { folder_of_failed.clone() } else { format!("{PROCESSED}/{date}") };
        let (original, result) = self.free_with_result(&folder, name);
        let rejects = (!failed).then(|| self.free(&folder_of_failed, name));
        Destinations { original: Some(original), rejects, result }
    }

    /// Nothing can be moved or copied any more; the result stands among those of failed files.
    pub(crate) fn choose_for_vanished(&self, claim: &mut Claim) {
        let (folder, _) = split(&claim.destinations.result);
        let result = match folder.strip_prefix(PROCESSED) {
            Some(date) => numbered(claim.file_name())
                .map(|name| result_of(&format!("{FAILED}{date}/{name}")))
                .find(|path| self.is_free(path))
                .expect("there are more numbers than names are taken"),
            None => claim.destinations.result.clone(),
        };
        claim.destinations = Destinations { original: None, rejects: None, result };
    }

    /// Another name for the one that was taken.
    pub(crate) fn choose_again(&self, claim: &mut Claim, taken: &str) {
        let destinations = &mut claim.destinations;
        let (folder, name) = split(taken);
        if destinations.rejects.as_deref() == Some(taken) {
            destinations.rejects = Some(self.free(folder, name));
        } else if destinations.result == taken {
            destinations.result = self.free(folder, name);
        } else if destinations.original.as_deref() == Some(taken) {
            let (original, result) = self.free_with_result(folder, name);
            destinations.original = Some(original);
            destinations.result = result;
        }
    }

    fn is_free(&self, path: &str) -> bool {
        !self.ledger.is_reserved(path) && !self.tree.exists(path)
    }

    fn free(&self, folder: &str, name: &str) -> String {
        numbered(name)
            .map(|name| format!("{folder}/{name}"))
            .find(|path| self.is_free(path))
            .expect("there are more numbers than names are taken")
    }

    /// Both names must be free, so that the result stands beside its file.
    fn free_with_result(&self, folder: &str, name: &str) -> (String, String) {
        numbered(name)
            .map(|name| format!("{folder}/{name}"))
            .map(|path| (result_of(&path), path))
            .find(|(result, path)| self.is_free(path) && self.is_free(result))
            .map(|(result, path)| (path, result))
            .expect("there are more numbers than names are taken")
    }
}

/// The result file of a file, beside it.
fn result_of(path: &str) -> String {
    let (folder, name) = split(path);
    format!("{folder}/{}", fitted(name, ".result.json"))
}

/// A name made of two parts. One that no file system would take is cut, keeps its end, and carries a hash of all that it should
/// have been, so that two long names stay two. What it starts with, and so what it holds, can still be read from it; an
/// operation cannot, which the envelope says anyhow.
fn fitted(stem: &str, end: &str) -> String {
    let whole = format!("{stem}{end}");
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    let hash = hex(&Sha256::digest(&whole)[..8]);
    let room = NAME_BYTES_MAX.saturating_sub(end.len() + 1 + hash.len());
    format!("{}~{hash}{end}", &stem[..stem.floor_char_boundary(room)])
}

/// `a.json`, `a-2.json`, `a-3.json` … : the stem and the hint stay what they were.
fn numbered(name: &str) -> impl Iterator<Item = String> {
    let (stem, end) = match name.strip_suffix(".result.json") {
        Some(stem) => (stem, ".result.json"),
        None => (file_stem(name), ".json"),
    };
    std::iter::once(name.to_owned()).chain((2_u64..).map(move |number| fitted(&format!("{stem}-{number}"), end)))
}

/// The rejects of an initial file: its stem, so that it is known again; its institution, so that two do not meet; an insert.
fn initial_rejects(candidate: &Candidate) -> String {
    let stem = file_stem(candidate.name());
    match &candidate.place {
        Place::Initial { institution: Some(code) } => fitted(&format!("{stem}_{code}"), "_add.json"),
        _ => fitted(stem, "_add.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, fitted, numbered, result_of};
    use crate::forms::hint;
    use tidemark_schemas::Operation;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = |count: usize| format!("customers_{}", "长".repeat(count));
        assert_eq!(fitted(&long(78), ".json"), format!("{}.json", long(78)));
        let names: Vec<String> = numbered(&format!("{}_add.json", long(78))).take(200).collect();
        let others: Vec<String> = numbered(&format!("{}.json", long(79))).take(200).collect();
        let results: Vec<String> = names.iter().map(|name| result_of(&format!("f/{name}"))).collect();
        let all: std::collections::HashSet<&String> = names.iter().chain(&others).chain(&results).collect();
        assert_eq!(all.len(), 600);
        for name in all {
            let name = name.trim_start_matches("f/");
            assert!(name.len() <= NAME_BYTES_MAX && name.starts_with("customers_长") && name.ends_with(".json"), "{name}");
            assert!(hint(name).is_none_or(|operation| operation == Operation::Insert), "{name}");
        }
        assert!(results.iter().all(|name| name.ends_with(".result.json")));
        assert_eq!(results[0], result_of(&format!("f/{}", names[0])), "the same each time");
    }

    #[test]
    fn numbers_keep_stem_and_hint() {
        let names: Vec<String> = numbered("customers_update.json").take(3).collect();
        assert_eq!(names, ["customers_update.json", "customers_update-2.json", "customers_update-3.json"]);
        assert!(names.iter().all(|name| hint(name) == hint("customers_update.json")));
        assert_eq!(numbered("a.json.result.json").nth(1).unwrap(), "a.json-2.result.json");
    }
}

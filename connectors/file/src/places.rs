//! Where files go when they are decided: names that are free, and that mean the same when the file is dropped again.

use crate::claim::{Claim, Destinations};
use crate::forms::file_stem;
use crate::ledger::Ledger;
use crate::scan::{Candidate, Place};
use crate::tree::Tree;

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
        let folder_of_failed = format!("incremental/failed/{date}");
        if candidate.is_initial() {
            let rejects = (!failed).then(|| self.free(&folder_of_failed, &initial_rejects(candidate)));
            return Destinations { original: None, rejects, result: result_of(&candidate.path) };
        }
        let folder = if failed { folder_of_failed.clone() } else { format!("incremental/processed/{date}") };
        let (original, result) = self.free_with_result(&folder, name);
        let rejects = (!failed).then(|| self.free(&folder_of_failed, name));
        Destinations { original: Some(original), rejects, result }
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

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The result file of a file, beside it.
fn result_of(path: &str) -> String {
    format!("{path}.result.json")
}

/// `a.json`, `a-2.json`, `a-3.json` … : the stem and the hint stay what they were.
fn numbered(name: &str) -> impl Iterator<Item = String> {
    let (stem, end) = match name.strip_suffix(".result.json") {
        Some(stem) => (stem, ".result.json"),
        None => (file_stem(name), ".json"),
    };
    std::iter::once(name.to_owned()).chain((2_u64..).map(move |number| format!("{stem}-{number}{end}")))
}

/// The rejects of an initial file: its stem, so that it is known again; its institution, so that two do not meet; an insert.
fn initial_rejects(candidate: &Candidate) -> String {
    let stem = file_stem(candidate.name());
    match &candidate.place {
        Place::Initial { institution: Some(code) } => format!("{stem}_{code}_add.json"),
        _ => format!("{stem}_add.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;
    use crate::forms::hint;

    #[test]
    fn numbers_keep_stem_and_hint() {
        let names: Vec<String> = numbered("customers_update.json").take(3).collect();
        assert_eq!(names, ["customers_update.json", "customers_update-2.json", "customers_update-3.json"]);
        assert!(names.iter().all(|name| hint(name) == hint("customers_update.json")));
        assert_eq!(numbered("a.json.result.json").nth(1).unwrap(), "a.json-2.result.json");
    }
}

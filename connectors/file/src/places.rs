//! Where files go when they are decided: names that are free, and that mean the same when the file is dropped again.

use crate::claim::{Claim, Destinations};
use crate::forms::file_stem;
use crate::scan::{Candidate, Place};
use crate::tree::Tree;

/// Chooses the destinations of a claim. `today` is `YYYY-MM-DD`.
pub(crate) fn choose(tree: &Tree, candidate: &Candidate, failed: bool, today: &str) -> Destinations {
    let name = candidate.name();
    let date = match &candidate.place {
        Place::Incremental { date } => date,
        Place::Initial { .. } | Place::Misplaced { .. } => today,
    };
    if candidate.is_initial() {
        let rejects = (!failed).then(|| free(tree, &format!("incremental/failed/{date}"), &initial_rejects(candidate)));
        return Destinations { original: None, rejects, result: format!("{}.result.json", candidate.path) };
    }
    let folder = if failed { format!("incremental/failed/{date}") } else { format!("incremental/processed/{date}") };
    // Both names must be free, so that the result stands beside its file.
    let original = numbered(name)
        .map(|name| format!("{folder}/{name}"))
        .find(|path| !tree.exists(path) && !tree.exists(&format!("{path}.result.json")));
    let original = original.unwrap_or_default();
    let result = format!("{original}.result.json");
    let rejects = (!failed).then(|| free(tree, &format!("incremental/failed/{date}"), name));
    Destinations { original: Some(original), rejects, result }
}

/// Another name for the one that was taken.
pub(crate) fn choose_again(tree: &Tree, claim: &mut Claim, taken: &str) {
    let again = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        free(tree, folder, name)
    };
    let destinations = &mut claim.destinations;
    if destinations.rejects.as_deref() == Some(taken) {
        destinations.rejects = Some(again(taken));
    } else if destinations.result == taken {
        destinations.result = again(taken);
    } else if destinations.original.as_deref() == Some(taken) {
        destinations.original = Some(again(taken));
        if let Some(original) = &destinations.original {
            let (folder, name) = original.rsplit_once('/').unwrap_or(("", original));
            destinations.result = free(tree, folder, &format!("{name}.result.json"));
        }
    }
}

fn free(tree: &Tree, folder: &str, name: &str) -> String {
    let found = numbered(name).map(|name| format!("{folder}/{name}")).find(|path| !tree.exists(path));
    found.unwrap_or_default()
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

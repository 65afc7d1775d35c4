//! A dry run: everything is read and mapped as it would be, nothing is published, moved or remembered.
//!
//! What only the fold knows (unknown keys, unchanged rows) is not foreseen: a record that maps counts as one that would be
//! published, whatever it would come to. Files that were read before are looked at like new ones.

use std::path::Path;
use std::sync::Arc;

use tidemark_connector_core::receipt::Rejection;
use tidemark_schemas::{Catalog, Operation};

use crate::forms::Forms;
use crate::forms::mapper::Mapper;
use crate::inspect::Inspection;
use crate::options::FileOptions;
use crate::scan::{self, Candidate};
use crate::splitter::{Event, Splitter};
use crate::stats::{FileReport, Statistics};
use crate::tree::Tree;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// The import root cannot be looked through.
    #[error("the import root {root} cannot be looked through")]
    Root {
        /// Which.
        root: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The task that read the files ended early.
    #[error("the dry run broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
}

/// Rejections that are kept of one file.
const REJECTIONS_MAX: usize = 100;

/// Reads what the options select and says what would be rejected.
pub async fn dry_run(options: FileOptions, catalog: Arc<Catalog>) -> Result<Statistics, DryRunError> {
    tokio::task::spawn_blocking(move || run(&options, &catalog)).await.map_err(DryRunError::BrokeOff)?
}

fn run(options: &FileOptions, catalog: &Catalog) -> Result<Statistics, DryRunError> {
    let mut statistics = Statistics { dry_run: true, ..Statistics::default() };
    if !Path::new(&options.root).exists() {
        return Ok(statistics);
    }
    let refused = |cause| DryRunError::Root { root: options.root.display().to_string(), cause };
    let tree = Tree::look_into(&options.root).map_err(refused)?;
    let forms = Forms::new(catalog);
    for candidate in scan::list(&tree, &forms, &options.selection).map_err(refused)? {
        let kind = forms.of_file(candidate.name()).map_or("", |form| form.kind.as_str()).to_owned();
        let mut report = FileReport { path: candidate.path.clone(), kind, ..FileReport::default() };
        if let Err(problem) = read(&tree, &forms, options, &candidate, &mut report) {
            report = FileReport { path: report.path, kind: report.kind, failed: Some(problem), ..FileReport::default() };
        }
        statistics.add(report);
    }
    Ok(statistics)
}

fn read(tree: &Tree, forms: &Forms, options: &FileOptions, candidate: &Candidate, report: &mut FileReport) -> Result<(), String> {
    if let Some(problem) = scan::refusal(candidate, forms) {
        return Err(problem);
    }
    let open = || tree.open_file(&candidate.path).map_err(|error| format!("{} cannot be read: {error}", candidate.name()));
    let inspected = Inspection::new(open()?, candidate.signature.size, options.zone.clone())
        .advance(u64::MAX)
        .map_err(|error| error.to_string())?;
    let Some(inspected) = inspected else { return Err("the first pass did not end".to_owned()) };
    let envelope = scan::envelope_of(candidate, inspected.outline, &inspected.envelope)?;
    let operation = envelope.parsed().unwrap_or(Operation::Insert);
    let Some(form) = forms.of_file(candidate.name()).cloned() else { return Ok(()) };
    let mut mapper = Mapper::new(form, operation, envelope.institution, options.zone.clone());
    mapper.notes = inspected.notes;
    let mut splitter = Splitter::new(open()?);
    loop {
        let (index, problem) = match splitter.next_event().map_err(|error| error.to_string())? {
            Event::Envelope { .. } => continue,
            Event::End => break,
            Event::TooLarge { index, length, .. } => {
                (index, Some((None, "record_too_large".to_owned(), format!("the record has {length} bytes"))))
            }
            Event::Record { index, bytes, .. } => {
                let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
                let rejected = mapper.map(text).err();
                (index, rejected.map(|rejected| (rejected.key, rejected.problem.reason.to_owned(), rejected.problem.detail)))
            }
        };
        report.read += 1;
        match problem {
            Some((key, reason, detail)) => {
                report.decided.rejected += 1;
                if report.rejections.len() < REJECTIONS_MAX {
                    report.rejections.push(Rejection { index, key, reason, detail });
                }
            }
            None => report.publishable += 1,
        }
    }
    report.warnings = mapper.notes.warning_count();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tidemark_schemas::Catalog;

    use super::dry_run;
    use crate::FileOptions;

    #[tokio::test]
    async fn it_says_what_would_be_rejected_and_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pending = folder.path().join("incremental/pending/2026-01-15");
        fs::create_dir_all(&pending).unwrap();
        let data = r#"{"operation": "INSERT", "data": [{"project_code": "A", "name": "a"}, {"name": "b"}]}"#;
        fs::write(pending.join("projects_add.json"), data).unwrap();
        fs::write(pending.join("projects_broken.json"), "[").unwrap();
        let statistics = dry_run(FileOptions::new(folder.path().to_owned()), Arc::new(Catalog::built_in())).await.unwrap();
        assert_eq!((statistics.errors, statistics.totals["projects"]), (2, 1), "{statistics}");
        assert_eq!(statistics.files[0].rejections[0].reason, "missing_key");
        assert!(statistics.files[1].failed.as_ref().unwrap().contains("ends too early"));
        assert!(statistics.to_string().contains("record 1: missing_key"), "{statistics}");
        // Whether it would be new is not known here, and not said.
        assert_eq!((statistics.files[0].publishable, statistics.files[0].decided.inserted), (1, 0));
        assert!(statistics.to_string().contains("read 2, would be published 1, rejected 1"), "{statistics}");
        assert_eq!(fs::read_dir(pending).unwrap().count(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no folder is made");
        assert_eq!(fs::read_dir(folder.path().join("incremental")).unwrap().count(), 1);
    }
}

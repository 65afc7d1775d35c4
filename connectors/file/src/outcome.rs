//! Result files: what became of one input file, for a person and for programs. The rejections are streamed into the file.

use std::io::{self, Write};

use serde::Serialize;
use tidemark_connector_core::receipt::{Receipt, Rejection};

use crate::claim::Claim;
use crate::stats::FileReport;

/// Fewest records of a file of which more than half must be rejected to be remarked as `mostly_rejected`.
const MOSTLY_RECORDS_MIN: u64 = 10;

/// Everything about a claim that is decided.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) report: FileReport,
    head: Head,
}

#[derive(Debug, Clone, Serialize)]
struct Head {
    file: String,
    sha256: String,
    read: u64,
    inserted: u64,
    updated: u64,
    deleted: u64,
    unchanged: u64,
    rejected: u64,
    warnings: std::collections::BTreeMap<String, u64>,
    unknown_keys: std::collections::BTreeMap<String, u64>,
    repeats_of: Option<String>,
    failed: Option<String>,
}

impl Outcome {
    /// From the claim and the sum of the fold's answers.
    pub(crate) fn new(claim: &Claim, kind: &str, answers: &Receipt) -> Self {
        let rejected = claim.counts.rejected + answers.rejected;
        let read = answers.decided() + claim.counts.rejected;
        let mut warnings = claim.counts.notes.warnings.clone();
        if answers.left_deleted > 0 {
            warnings.insert("left_deleted".to_owned(), answers.left_deleted);
        }
        if read >= MOSTLY_RECORDS_MIN && rejected * 2 > read {
            warnings.insert("mostly_rejected".to_owned(), 1);
        }
        let report = FileReport {
            path: claim.path.clone(),
            kind: kind.to_owned(),
            read,
            inserted: answers.inserted,
            updated: answers.updated,
            deleted: answers.deleted,
            unchanged: answers.unchanged,
            rejected,
            warnings: warnings.values().sum(),
            repeats_of: claim.repeats_of.clone(),
            failed: claim.failed.clone(),
            ..FileReport::default()
        };
        let head = Head {
            file: claim.path.clone(),
            sha256: claim.sha256.clone(),
            read,
            inserted: answers.inserted,
            updated: answers.updated,
            deleted: answers.deleted,
            unchanged: answers.unchanged,
            rejected,
            warnings,
            unknown_keys: claim.counts.notes.unknown_keys.clone(),
            repeats_of: claim.repeats_of.clone(),
            failed: claim.failed.clone(),
        };
        Self { report, head }
    }

    /// Starts the result file.
    pub(crate) fn start(&self, out: &mut impl Write) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.head)?;
        let open = text.strip_suffix("\n}").expect("a pretty object ends with its brace on a line of its own");
        write!(out, "{open},\n  \"rejections\": [")
    }

    /// One more rejection; `first` = no comma before it.
    pub(crate) fn rejection(out: &mut impl Write, rejection: &Rejection, first: bool) -> io::Result<()> {
        out.write_all(if first { b"\n    " } else { b",\n    " })?;
        serde_json::to_writer(&mut *out, rejection)?;
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(out: &mut impl Write, any: bool) -> io::Result<()> {
        out.write_all(if any { b"\n  ]\n}\n" } else { b"]\n}\n" })
    }
}

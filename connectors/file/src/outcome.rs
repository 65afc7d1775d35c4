//! Result files: what became of one input file, for a person and for programs. The rejections are streamed into the file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use tidemark_connector_core::receipt::{Decided, Receipt, Rejection};

use crate::claim::Claim;
use crate::stats::FileReport;

/// Fewest records of a file of which more than half must be rejected to be remarked as `mostly_rejected`.
const MOSTLY_RECORDS_MIN: u64 = 10;

/// Everything about a claim that is decided.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) report: FileReport,
    sha256: String,
    warnings: BTreeMap<String, u64>,
    unknown_keys: BTreeMap<String, u64>,
}

/// What stands in a result file before the rejections, in this order.
#[derive(Serialize)]
struct Head<'o> {
    file: &'o str,
    sha256: &'o str,
    read: u64,
    #[serde(flatten)]
    decided: Decided,
    warnings: &'o BTreeMap<String, u64>,
    unknown_keys: &'o BTreeMap<String, u64>,
    repeats_of: Option<&'o str>,
    failed: Option<&'o str>,
}

impl Outcome {
    /// From the claim and the sum of the fold's answers.
    pub(crate) fn new(claim: &Claim, kind: String, answers: &Receipt) -> Self {
        let mut decided = answers.decided;
        decided.rejected += claim.counts.rejected;
        let read = decided.total();
        let mut warnings = claim.counts.notes.warnings.clone();
        if answers.left_deleted > 0 {
            warnings.insert("left_deleted".to_owned(), answers.left_deleted);
        }
        if read >= MOSTLY_RECORDS_MIN && decided.rejected * 2 > read {
            warnings.insert("mostly_rejected".to_owned(), 1);
        }
        let report = FileReport {
            path: claim.path.clone(),
            kind,
            read,
            decided,
            warnings: warnings.values().sum(),
            repeats_of: claim.repeats_of.clone(),
            failed: claim.failed.clone(),
            ..FileReport::default()
        };
        Self { report, sha256: claim.sha256.clone(), warnings, unknown_keys: claim.counts.notes.unknown_keys.clone() }
    }

    /// Starts the result file.
    pub(crate) fn start(&self, out: &mut impl Write) -> io::Result<()> {
        let report = &self.report;
        let head = Head {
            file: &report.path,
            sha256: &self.sha256,
            read: report.read,
            decided: report.decided,
            warnings: &self.warnings,
            unknown_keys: &self.unknown_keys,
            repeats_of: report.repeats_of.as_deref(),
            failed: report.failed.as_deref(),
        };
        let text = serde_json::to_string_pretty(&head)?;
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

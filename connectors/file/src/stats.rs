//! Statistics: what came of the files, by kind and by file, for people and for programs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tidemark_connector_core::receipt::{Decided, Rejection};

/// Files whose counts are kept one by one; of more, only the last ones. A line costs about 200 bytes.
const FILES_MAX: usize = 10_000;

/// The lines that always stand in the block, in its order; others follow.
const KINDS: [&str; 7] = ["institutions", "doctors", "projects", "products", "customers", "consumption_records", "relations"];

/// What came of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Path below the root, as it was dropped.
    pub path: String,
    /// `customers`; empty when the name said nothing.
    pub kind: String,
    /// Records that were looked at: all that were decided or, of a dry run, would be.
    pub read: u64,
    /// What became of them.
    #[serde(flatten)]
    pub decided: Decided,
    /// Of a dry run: records that would be published. Whether they insert, update or change nothing, only the fold can say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub publishable: u64,
    /// Warnings of all kinds.
    pub warnings: u64,
    /// The file that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats_of: Option<String>,
    /// Why it failed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Of a dry run, the first rejections; otherwise they stand in the result file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<Rejection>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Of one pass, or since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Kind → records that ended well: inserted, updated, deleted or unchanged.
    pub totals: BTreeMap<String, u64>,
    /// Records rejected and files failed.
    pub errors: u64,
    /// Files that ended.
    pub files_read: u64,
    /// Initial files that were not read, because neither they nor what they are read by changed.
    #[serde(default)]
    pub files_unchanged: u64,
    /// Those of them that failed whole when they were read, and will until somebody mends them.
    #[serde(default)]
    pub files_unchanged_failed: u64,
    /// Those of them that had records rejected then. Whether these came in by another file since is not known here.
    #[serde(default)]
    pub files_unchanged_rejected: u64,
    /// Nothing was published: the totals are what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// The last of them.
    pub files: VecDeque<FileReport>,
}

/// Files that were passed over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unchanged {
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
}

impl Statistics {
    pub(crate) fn add(&mut self, report: FileReport) {
        let well = report.decided.accepted() + report.publishable;
        if !report.kind.is_empty() {
            *self.totals.entry(report.kind.clone()).or_default() += well;
        }
        self.errors += report.decided.rejected + u64::from(report.failed.is_some());
        self.files_read += 1;
        if self.files.len() == FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back(report);
    }

    /// Whether nothing that was looked at has to be mended.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.files_unchanged_failed == 0
    }

    pub(crate) fn pass_over(&mut self, files: Unchanged) {
        self.files_unchanged = files.count;
        self.files_unchanged_failed = files.failed;
        self.files_unchanged_rejected = files.rejected;
    }

    /// The sum over the files that are kept one by one.
    pub fn sum(&self) -> FileReport {
        let mut sum = FileReport::default();
        for file in &self.files {
            sum.read += file.read;
            sum.decided += file.decided;
            sum.publishable += file.publishable;
            sum.warnings += file.warnings;
        }
        sum
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RULE: &str = "==================================================";
        writeln!(out, "{RULE}\n导入统计:\n{RULE}")?;
        let others = self.totals.keys().map(String::as_str).filter(|kind| !KINDS.contains(kind));
        for kind in KINDS.into_iter().chain(others) {
            writeln!(out, "  ✅ {kind}: {}", self.totals.get(kind).copied().unwrap_or(0))?;
        }
        let sign = if self.errors == 0 { "✅" } else { "❌" };
        writeln!(out, "  {sign} errors: {}", self.errors)?;
        if self.files_unchanged > 0 {
            let sign = if self.files_unchanged_failed == 0 { "✅" } else { "❌" };
            write!(out, "  {sign} unchanged files: {}", self.files_unchanged)?;
            if self.files_unchanged_failed > 0 {
                write!(out, ", of which failed as they stand: {}", self.files_unchanged_failed)?;
            }
            if self.files_unchanged_rejected > 0 {
                write!(out, ", with rejected records (see their result files): {}", self.files_unchanged_rejected)?;
            }
            writeln!(out)?;
        }
        if self.files_read == 0 && self.files_unchanged == 0 {
            writeln!(
                out,
                "  no file was waiting; what a running `tidemark up` has taken in stands in the .result.json beside it"
            )?;
        }
        writeln!(out, "{RULE}")?;
        for file in &self.files {
            write!(out, "  {}: read {}, ", Printable(&file.path), file.read)?;
            let Decided { inserted, updated, deleted, unchanged, rejected } = file.decided;
            if self.dry_run {
                write!(out, "would be published {}", file.publishable)?;
            } else {
                write!(out, "inserted {inserted}, updated {updated}, deleted {deleted}, unchanged {unchanged}")?;
            }
            write!(out, ", rejected {rejected}, warnings {}", file.warnings)?;
            match (&file.failed, &file.repeats_of) {
                (Some(failed), _) => writeln!(out, "; failed: {}", Printable(failed))?,
                (None, Some(first)) => writeln!(out, "; repeats {}: nothing changed", Printable(first))?,
                (None, None) => writeln!(out)?,
            }
            for rejection in &file.rejections {
                let key = Printable(rejection.key.as_deref().unwrap_or(""));
                writeln!(out, "    record {}: {} {key} {}", rejection.index, rejection.reason, Printable(&rejection.detail))?;
            }
        }
        Ok(())
    }
}

/// A text from outside, made fit for a terminal: what would move its cursor is shown as an escape.
struct Printable<'t>(&'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() { write!(out, "{}", character.escape_default())? } else { write!(out, "{character}")? }
        }
        Ok(())
    }
}

/// The file being read, for progress bars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurrentFile {
    /// Path below the root; empty when none is.
    pub path: String,
    /// 1 = checking, 2 = publishing.
    pub pass: u8,
    /// Bytes done in this pass.
    pub bytes_done: u64,
    /// Size.
    pub bytes_total: u64,
}

/// A look at the connector from another task.
#[derive(Debug, Clone, Default)]
pub struct StatisticsHandle {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    statistics: Statistics,
    current: CurrentFile,
}

impl StatisticsHandle {
    /// Since the connector was made.
    pub fn snapshot(&self) -> Statistics {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).statistics.clone()
    }

    /// What is being read.
    pub fn current(&self) -> CurrentFile {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    pub(crate) fn add(&self, report: FileReport) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).statistics.add(report);
    }

    pub(crate) fn pass_over(&self, files: Unchanged) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).statistics.pass_over(files);
    }

    pub(crate) fn working_on(&self, path: &str, pass: u8, bytes_done: u64, bytes_total: u64) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.current.path != path {
            path.clone_into(&mut shared.current.path);
        }
        shared.current.pass = pass;
        shared.current.bytes_done = bytes_done;
        shared.current.bytes_total = bytes_total;
    }
}

#[cfg(test)]
mod tests {
    use super::{Decided, FileReport, Statistics};

    #[test]
    fn the_block_of_the_guide() {
        let mut statistics = Statistics::default();
        statistics.add(FileReport {
            path: "a".into(),
            kind: "institutions".into(),
            read: 2,
            decided: Decided { inserted: 2, ..Decided::default() },
            ..FileReport::default()
        });
        statistics.add(FileReport {
            path: "b".into(),
            kind: "relations".into(),
            read: 3,
            decided: Decided { unchanged: 1, rejected: 2, ..Decided::default() },
            ..FileReport::default()
        });
        statistics.add(FileReport { path: "客\u{1b}[2J\n".into(), failed: Some("empty".into()), ..FileReport::default() });
        insta::assert_snapshot!(statistics, @r"
        ==================================================
        导入统计:
        ==================================================
          ✅ institutions: 2
          ✅ doctors: 0
          ✅ projects: 0
          ✅ products: 0
          ✅ customers: 0
          ✅ consumption_records: 0
          ✅ relations: 1
          ❌ errors: 3
        ==================================================
          a: read 2, inserted 2, updated 0, deleted 0, unchanged 0, rejected 0, warnings 0
          b: read 3, inserted 0, updated 0, deleted 0, unchanged 1, rejected 2, warnings 0
          客\u{1b}[2J\n: read 0, inserted 0, updated 0, deleted 0, unchanged 0, rejected 0, warnings 0; failed: empty
        ");
        assert_eq!(statistics.sum().read, 5);
    }
}

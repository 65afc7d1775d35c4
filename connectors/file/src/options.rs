//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Settings of the file connector. [`FileOptions::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Import root; made when missing. Nothing outside of it is ever read or written.
    pub root: PathBuf,
    /// Zone of time stamps without one, and of the dates in `processed/` and `failed/`. Default Asia/Shanghai.
    pub zone: TimeZone,
    /// How often the tree is looked through whatever the watcher says (events get lost). Default 2 s.
    pub scan_interval: Duration,
    /// A file whose end nobody announced counts as complete when unchanged for so long. Default 2 s. Shorter reads half files.
    pub settle: Duration,
    /// A file that does not parse fails only when unchanged for so long. Default 5 s.
    pub broken_after: Duration,
    /// Intake pauses while less is free on the disks of `disk_paths`. Default 256 MiB; 0 never pauses.
    pub disk_free_min: u64,
    /// Whose disks are watched besides the root's: the data folder.
    pub disk_paths: Vec<PathBuf>,
    /// Days that `processed/` (with its result files) is kept. Default `None`: for ever.
    pub processed_days: Option<u32>,
    /// What is read.
    pub selection: Selection,
    /// Whether the tree is watched; `import` only scans. Default true.
    pub watch: bool,
}

impl FileOptions {
    /// The defaults for an import root.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            zone: TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC),
            scan_interval: Duration::from_secs(2),
            settle: Duration::from_secs(2),
            broken_after: Duration::from_secs(5),
            disk_free_min: 256 << 20,
            disk_paths: Vec::new(),
            processed_days: None,
            selection: Selection::default(),
            watch: true,
        }
    }
}

/// Which files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Which part of the tree.
    pub part: Part,
    /// Also what is known: unchanged initial files, and incremental files that were dropped before.
    pub again: bool,
}

/// A part of the import tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Everything.
    #[default]
    All,
    /// `initial/`.
    Initial,
    /// `incremental/pending/`.
    Incremental {
        /// Only the folder of this date, `YYYY-MM-DD`.
        date: Option<String>,
    },
}

impl Selection {
    /// Whether a file at this path (below the root) is meant.
    pub fn takes(&self, path: &str) -> bool {
        match &self.part {
            Part::All => true,
            Part::Initial => path.starts_with("initial/"),
            Part::Incremental { date: None } => path.starts_with("incremental/pending/"),
            Part::Incremental { date: Some(date) } => path
                .strip_prefix("incremental/pending/")
                .and_then(|rest| rest.strip_prefix(date.as_str()))
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }
}

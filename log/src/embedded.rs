//! The embedded log: one SQLite file.

use std::path::{Path, PathBuf};

use crate::port::LogError;

/// Where the file is and how it behaves.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// `<data>/log.db`.
    pub path: PathBuf,
}

/// The embedded log.
#[derive(Debug)]
pub struct EmbeddedLog {}

impl EmbeddedLog {
    /// Opens the log, making it if it is not there. Checks header, version and tail.
    pub async fn open(options: EmbeddedOptions) -> Result<Self, LogError> {
        let _ = options;
        todo!()
    }

    /// A consistent copy into `directory` (`log.db` and `backup.json`), while others read and write.
    pub async fn backup(&self, directory: &Path) -> Result<(), LogError> {
        let _ = directory;
        todo!()
    }
}

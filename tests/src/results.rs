//! Result files: what became of each input file, found anywhere in the import tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The counts of a result file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of the file that were looked at.
    pub read: u64,
    /// Keys that came to be.
    pub inserted: u64,
    /// Keys that changed.
    pub updated: u64,
    /// Keys that went.
    pub deleted: u64,
    /// Records that changed nothing.
    pub unchanged: u64,
    /// Records that were refused.
    pub rejected: u64,
}

/// One result file.
#[derive(Debug, Clone)]
pub struct ResultFile {
    /// Where it stands.
    pub path: PathBuf,
    /// When it was written.
    pub written: SystemTime,
    /// Its counts.
    pub counts: Counts,
    /// The whole document.
    pub document: Value,
}

impl Counts {
    /// The five that must add up to `read`.
    pub fn decided(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.unchanged + self.rejected
    }

    /// Adds another file's.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
    }
}

impl ResultFile {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a result file is text");
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()));
        let count =
            |name: &str| document[name].as_u64().unwrap_or_else(|| panic!("{}: no count `{name}` in {text}", path.display()));
        let counts = Counts {
            read: count("read"),
            inserted: count("inserted"),
            updated: count("updated"),
            deleted: count("deleted"),
            unchanged: count("unchanged"),
            rejected: count("rejected"),
        };
        assert_eq!(counts.read, counts.decided(), "{}: the counts do not add up: {text}", path.display());
        let written = fs::metadata(path).and_then(|facts| facts.modified()).expect("a file's time");
        Self { path: path.to_owned(), written, counts, document }
    }

    /// The text member `name`, where it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.document[name].as_str()
    }

    /// (index, reason) of each rejection, in order of index.
    pub fn rejections(&self) -> Vec<(u64, String)> {
        let list = self.document["rejections"].as_array().expect("a list of rejections");
        let mut found: Vec<(u64, String)> = list
            .iter()
            .map(|one| (one["index"].as_u64().expect("an index"), one["reason"].as_str().expect("a reason").to_owned()))
            .collect();
        found.sort();
        found
    }
}

/// All result files below the import root, oldest first.
pub fn all(import: &Path) -> Vec<ResultFile> {
    let mut found: Vec<ResultFile> = files_below(import)
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".result.json"))
        .map(|path| ResultFile::read(&path))
        .collect();
    found.sort_by(|one, other| one.written.cmp(&other.written).then(one.path.cmp(&other.path)));
    found
}

/// The newest result whose file name starts with `stem`, such as `customers_add.json`.
///
/// # Panics
/// When there is none.
pub fn newest(import: &Path, stem: &str) -> ResultFile {
    let all = all(import);
    let found = all.iter().rfind(|result| result.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stem)));
    found.unwrap_or_else(|| panic!("no result file of {stem} in {:#?}", files_below(import))).clone()
}

/// The results by the hash of the file that they speak of, newest last.
pub fn by_hash(import: &Path) -> BTreeMap<String, Vec<ResultFile>> {
    let mut found: BTreeMap<String, Vec<ResultFile>> = BTreeMap::new();
    for result in all(import) {
        let hash = result.text("sha256").expect("a result file names the hash").to_owned();
        found.entry(hash).or_default().push(result);
    }
    found
}

/// Hexadecimal sha-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All files below a folder, sorted; links are not followed.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A file may be moved away while this looks on; what is gone is not there.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

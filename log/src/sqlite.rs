//! What everybody who keeps an SQLite file must know of it: which file it is, and what its errors mean. The log's and the
//! stores'; in plain numbers, so that no type of SQLite's crate is seen.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

/// Which file it is, whatever its name points to later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Of the file that the path leads to now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may pass, or be mended from outside: a lock, a full or failing disk, a file that cannot be opened.
    Passing,
    /// The file itself is at fault.
    Damaged,
    /// Anything else; an error that does not come from SQLite is one too.
    Other,
}

impl ErrorClass {
    /// Of an (extended) result code of SQLite.
    pub fn of(result_code: i32) -> Self {
        match ffi::Error::new(result_code).code {
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted => Self::Passing,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorClass, FileIdentity};

    #[test]
    fn codes_have_their_class_also_when_they_are_extended() {
        // SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_BUSY_SNAPSHOT, SQLITE_READONLY_DBMOVED
        assert!([13, 778, 517, 1032].into_iter().all(|code| ErrorClass::of(code) == ErrorClass::Passing));
        // SQLITE_CORRUPT, SQLITE_NOTADB
        assert!([11, 26].into_iter().all(|code| ErrorClass::of(code) == ErrorClass::Damaged));
        // SQLITE_ERROR, SQLITE_CONSTRAINT_UNIQUE
        assert!([1, 2067].into_iter().all(|code| ErrorClass::of(code) == ErrorClass::Other));
    }

    #[test]
    fn another_file_of_the_same_name_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        std::fs::write(&one, "").unwrap();
        std::fs::write(&other, "").unwrap();
        let before = FileIdentity::of(&one).unwrap();
        std::fs::rename(&other, &one).unwrap();
        assert_ne!(FileIdentity::of(&one).unwrap(), before);
        assert!(FileIdentity::of(&other).is_err());
    }
}

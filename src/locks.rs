//! Stage locks: one process runs a stage on a data folder.
//!
//! Guarantees: while a [`StageLock`] lives no other process has it; the operating system lets go of it when the process ends,
//! however it ends. The file under `<data>/locks` says who holds it, for people; what counts is the lock (`flock`), not the text.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct StageLock {
    /// Holds the lock as long as it is open.
    _file: File,
}

/// What came of the attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is ours.
    Held(StageLock),
    /// Somebody else has it: process id and command, as far as known.
    Taken(String),
}

/// Tries to take the lock of a stage.
pub(crate) fn acquire(data: &Path, stage: &str) -> Result<Attempt> {
    let path = path_of(data, stage);
    let folder = data.join("locks");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let holder = format!("{} {}\n", std::process::id(), command_line());
            let written =
                file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(holder.as_bytes()));
            written.with_context(|| format!("writing {}", path.display()))?;
            Ok(Attempt::Held(StageLock { _file: file }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // A holder that has just taken it may not have written yet; the lock is what counts.
            let _ = file.read_to_string(&mut holder);
            let (process, command) = holder.trim().split_once(' ').unwrap_or(("unknown", "unknown"));
            Ok(Attempt::Taken(format!("process {process} (`{command}`)")))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

fn path_of(data: &Path, stage: &str) -> PathBuf {
    data.join("locks").join(format!("{stage}.lock"))
}

/// The command without what may be private: the program and its first two words.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).take(2).filter(|word| !word.starts_with('-')).collect();
    format!("tidemark {}", words.join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once_and_names_its_holder() {
        let data = tempfile::tempdir().unwrap();
        let Attempt::Held(held) = acquire(data.path(), "fold").unwrap() else { panic!("nobody holds it") };
        let Attempt::Taken(holder) = acquire(data.path(), "fold").unwrap() else { panic!("it is held") };
        assert!(holder.starts_with(&format!("process {} (`tidemark", std::process::id())), "{holder}");
        assert!(matches!(acquire(data.path(), "sink.graph").unwrap(), Attempt::Held(_)), "another stage is free");
        drop(held);
        assert!(matches!(acquire(data.path(), "fold").unwrap(), Attempt::Held(_)), "given back");
    }
}

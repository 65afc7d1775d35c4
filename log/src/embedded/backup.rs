//! A consistent copy of the log while it runs, and the way back.
//!
//! Guarantees: the copy is what one moment of the log was; it gets its name only after every record of it was read back and
//! synced, so a directory with `backup.json` holds a whole backup. A restored log has the same id and a higher generation than
//! the backup, than any earlier restore of it, and than all that the caller's stores have seen: they notice, whatever their
//! offsets say. A backup holds personal data: its files are readable by their owner alone, and so is a directory made for it.
//! On failure: nothing has its final name; drafts of an interrupted run are removed by the next.
//! Deliberately not here: moving a log away that is in place. A person does that, knowing what for.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::{deep, describe};
use super::connection::{open, open_reader};
use super::place::{Place, classify, damaged, file_error};
use super::schema::{beside, check_header, put_in_place, remove_draft, sync_directory};
use crate::blocking::blocking;
use crate::port::{LogError, LogIdentity};

/// The copy's name in a backup.
pub const LOG_FILE: &str = "log.db";
/// The description's name in a backup.
pub const BACKUP_FILE: &str = "backup.json";
const CACHE_KIB: i64 = 2 * 1024;

/// `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Id of the log.
    pub log_id: Uuid,
    /// Its generation.
    pub generation: u32,
    /// When, UTC microseconds.
    pub taken_at: i64,
    /// Where each partition ends in the copy.
    pub topics: Vec<TopicEnd>,
    /// The generation of the last log that was restored from this backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_as: Option<u32>,
}

/// The end of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicEnd {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset of its next record.
    pub end: u64,
}

pub(super) fn take(place: &Place, directory: &Path, taken_at: i64) -> Result<Backup, LogError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| file_error("making the backup's directory", directory, error))?;
    let (log, description) = (directory.join(LOG_FILE), directory.join(BACKUP_FILE));
    for taken in [&log, &description] {
        if taken.exists() {
            return Err(refused(taken, "there is a backup already; name another directory"));
        }
    }
    let draft = beside(&log, ".partial");
    remove_draft(&draft)?;
    let name = draft.to_str().ok_or_else(|| refused(&draft, "the path is not UTF-8; name another directory"))?;
    // SQLite takes an empty file for the copy, and leaves its mode alone
    private_file(&draft).map_err(|error| file_error("making the copy", &draft, error))?;
    let copied = open_reader(place).and_then(|connection| {
        // VACUUM counts as writing although it leaves the source alone
        connection
            .pragma_update(None, "query_only", false)
            .and_then(|()| connection.execute("VACUUM INTO ?", [name]))
            .map(drop)
            .map_err(|error| place.classify(format!("copying to {name}"), error))
    });
    let taken = copied.and_then(|()| inspect(&draft)).and_then(|(identity, topics)| {
        let LogIdentity { id: log_id, generation } = identity;
        let backup = Backup { log_id, generation, taken_at, topics, restored_as: None };
        put_in_place(&draft, &log)?;
        write(&description, &backup)?;
        Ok(backup)
    });
    remove_draft(&draft)?;
    taken
}

/// Puts the backup in `directory` in place as the log `target`, which must not be there. `seen` are the logs that stores and
/// caches were filled from: where one of them is this log, the new generation is above its. Returns the new identity.
pub async fn restore(directory: &Path, target: &Path, seen: &[LogIdentity]) -> Result<LogIdentity, LogError> {
    let (directory, target, seen) = (directory.to_owned(), target.to_owned(), seen.to_owned());
    blocking("restoring a backup", move || put_back(&directory, &target, &seen)).await
}

fn put_back(directory: &Path, target: &Path, seen: &[LogIdentity]) -> Result<LogIdentity, LogError> {
    for suffix in ["", "-wal", "-shm"] {
        let taken = beside(target, suffix);
        if taken.exists() {
            return Err(refused(&taken, "a log is there; stop tidemark and move it away first, with its -wal and -shm"));
        }
    }
    let (log, description) = (directory.join(LOG_FILE), directory.join(BACKUP_FILE));
    let mut backup = read(&description)?;
    let used = LogIdentity { id: backup.log_id, generation: backup.generation.max(backup.restored_as.unwrap_or(0)) };
    let Some(identity) = used.raised_above(seen) else {
        return Err(refused(target, "the log was restored so often that its versions are used up"));
    };
    let draft = beside(target, ".restoring");
    remove_draft(&draft)?;
    let copied = fs::copy(&log, &draft).map(drop).map_err(|error| file_error("copying the backup", &log, error));
    let restored = copied.and_then(|()| {
        let (found, topics) = inspect(&draft)?;
        if (found.id, found.generation) != (backup.log_id, backup.generation) || topics != backup.topics {
            return Err(damaged(&log, format!("it is not the log that {} describes", description.display())));
        }
        // first in the backup, so that a second restore takes another generation whatever happens to this one
        backup.restored_as = Some(identity.generation);
        write(&description, &backup)?;
        let connection = open(&draft, CACHE_KIB)?;
        raise(&connection, identity.generation)
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| classify(&draft, "raising the generation", error))?;
        put_in_place(&draft, target)?;
        Ok(identity)
    });
    remove_draft(&draft)?;
    restored
}

/// Reads a copy whole; returns which log it is and where its partitions end.
fn inspect(copy: &Path) -> Result<(LogIdentity, Vec<TopicEnd>), LogError> {
    let place = Place::of(copy)?;
    let connection = open(copy, CACHE_KIB)?;
    let identity = check_header(&place, &connection)?;
    deep(&place)?;
    let ends = describe(&place, &connection)?;
    let ends = ends.into_iter().map(|found| TopicEnd { topic: found.topic, partition: found.number, end: found.next }).collect();
    connection.close().map_err(|(_, error)| place.classify("closing", error))?;
    Ok((identity, ends))
}

fn raise(connection: &Connection, generation: u32) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = ? WHERE name = 'generation'", [generation.to_string()]).map(drop)
}

fn read(description: &Path) -> Result<Backup, LogError> {
    let text = match fs::read(description) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refused(description, "it is missing, so this is no whole backup; name another directory"));
        }
        Err(error) => return Err(file_error("reading the backup's description", description, error)),
    };
    serde_json::from_slice(&text).map_err(|error| damaged(description, format!("the description is not readable ({error})")))
}

fn write(description: &Path, backup: &Backup) -> Result<(), LogError> {
    let draft = beside(description, ".partial");
    let text = serde_json::to_vec_pretty(backup).expect("a backup's description is plain data");
    private_file(&draft)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, description))
        .and_then(|()| sync_directory(description))
        .map_err(|error| file_error("writing the backup's description", description, error))
}

/// An empty file that its owner alone may read, whatever was there.
fn private_file(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn refused(path: &Path, why: &str) -> LogError {
    LogError::Fatal { step: format!("{}: refused", path.display()), cause: why.into() }
}

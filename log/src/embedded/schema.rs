//! The file's tables, how a new log comes to be, and whether a file is one that this program may use.
//!
//! A new log is made under another name and linked into place whole, so there is never a half-made one, two processes that start
//! at once agree on one log, and an empty `log.db` can only be a damaged one.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::place::{Place, classify, damaged, file_error};
use crate::port::{LogError, LogIdentity};

/// "TdMk": what `file` and SQLite's own tools show for this file.
const APPLICATION_ID: i32 = 0x5464_4d6b;
/// Rises when an older program could no longer use the file.
const FORMAT_VERSION: i32 = 1;
/// Larger pages hold more records each and need fewer frames in the WAL; one record in a commit writes at least one page.
const PAGE_BYTES: i32 = 8192;

const TABLES: &str = "
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE topic (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL,
        retention TEXT NOT NULL,
        age_micros INTEGER
    );
    CREATE TABLE partition (
        id INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL REFERENCES topic (id),
        number INTEGER NOT NULL,
        next INTEGER NOT NULL,
        last_time INTEGER NOT NULL,
        compacted_to INTEGER NOT NULL DEFAULT 0,
        compacted_kept INTEGER NOT NULL DEFAULT 0,
        UNIQUE (topic, number)
    );
    CREATE TABLE position (
        consumer TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        next INTEGER NOT NULL,
        PRIMARY KEY (consumer, topic, partition)
    ) WITHOUT ROWID;
";

/// The table of a partition's records: the row id is the offset, so appending is adding at the right edge.
pub(super) fn records_table(partition_id: i64) -> String {
    format!(
        "CREATE TABLE r{partition_id} (
            offset INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL,
            crc INTEGER NOT NULL
        )"
    )
}

/// Fails when there is no log.
pub(super) fn require(path: &Path) -> Result<(), LogError> {
    if is_there(path)? {
        return Ok(());
    }
    Err(LogError::Unavailable {
        step: format!("opening {}", path.display()),
        cause: "there is no log yet; `tidemark up` or `tidemark init` makes it".into(),
    })
}

/// Makes a new log when there is none.
pub(super) fn create_if_missing(path: &Path) -> Result<(), LogError> {
    if is_there(path)? {
        return Ok(());
    }
    let identity = LogIdentity { id: Uuid::new_v4(), generation: 0 };
    let draft = beside(path, &format!(".new-{}", identity.id));
    let made = create(&draft, identity).and_then(|()| match put_in_place(&draft, path) {
        // another process was faster: its log is the log
        Err(LogError::Unavailable { cause, .. })
            if cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::AlreadyExists) =>
        {
            Ok(())
        }
        other => other,
    });
    remove_draft(&draft)?;
    made
}

/// `log.db` + `-wal` → `log.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Gives a finished, closed and synced file its name; fails when the name is taken.
pub(super) fn put_in_place(draft: &Path, path: &Path) -> Result<(), LogError> {
    File::open(draft)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::hard_link(draft, path))
        .and_then(|()| sync_directory(path))
        .map_err(|error| file_error("putting the log in place", path, error))
}

/// Removes a draft and what SQLite put beside it, whatever of it is there.
pub(super) fn remove_draft(draft: &Path) -> Result<(), LogError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = beside(draft, suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(file_error("removing a draft", &path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the entry of `path` in its directory durable.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Turns on the write-ahead log; it stays on in the file.
pub(super) fn use_wal(path: &Path, connection: &Connection) -> Result<(), LogError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| classify(path, "turning the write-ahead log on", error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(LogError::Fatal {
        step: format!("{}: turning the write-ahead log on", path.display()),
        cause: "the file system has no shared memory for it; put the data folder on a local disk".into(),
    })
}

/// Whose file this is, of which version, and which log.
pub(super) fn check_header(place: &Place, connection: &Connection) -> Result<LogIdentity, LogError> {
    let failed = |error| place.classify("reading the header", error);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let application = number("application_id")?;
    if application != APPLICATION_ID {
        return Err(place.damaged("this is not a Tidemark log (its application id is another one)"));
    }
    let version = number("user_version")?;
    if version > FORMAT_VERSION {
        return Err(LogError::Damaged(format!(
            "{}: the log has format {version}, this program knows up to {FORMAT_VERSION}; use the newer tidemark that wrote it",
            place.path().display()
        )));
    }
    if version < FORMAT_VERSION {
        return Err(place.damaged(format!("the log says that it has format {version}, which never was")));
    }
    use_wal(place.path(), connection)?;
    let meta = |name: &str| {
        connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get::<_, String>(0)).map_err(|error| {
            match error {
                rusqlite::Error::QueryReturnedNoRows => place.damaged(format!("the log has no {name}")),
                other => failed(other),
            }
        })
    };
    let id = Uuid::parse_str(&meta("log_id")?).map_err(|_| place.damaged("the log's id is not readable"))?;
    let generation = meta("generation")?.parse().map_err(|_| place.damaged("the log's generation is not readable"))?;
    Ok(LogIdentity { id, generation })
}

fn is_there(path: &Path) -> Result<bool, LogError> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let wal = beside(path, "-wal");
            if wal.exists() {
                return Err(damaged(path, format!("the log is missing while {} is there", wal.display())));
            }
            return Ok(false);
        }
        Err(error) => return Err(file_error("opening", path, error)),
    };
    if size == 0 {
        return Err(damaged(path, "the log is empty (0 bytes)"));
    }
    Ok(true)
}

fn create(draft: &Path, identity: LogIdentity) -> Result<(), LogError> {
    // before SQLite, which would have fewer words for a folder that is missing or cannot be written
    File::create_new(draft).map_err(|error| file_error("making a new log", draft, error))?;
    let connection = super::connection::open(draft, 1024)?;
    let failed = |error| classify(draft, "making a new log", error);
    connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    use_wal(draft, &connection)?;
    let filled = connection.execute_batch(TABLES).and_then(|()| {
        connection.execute(
            "INSERT INTO meta (name, value) VALUES ('log_id', ?), ('generation', ?)",
            params![identity.id.to_string(), identity.generation.to_string()],
        )?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", FORMAT_VERSION)
    });
    filled.map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))
}

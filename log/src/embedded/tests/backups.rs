//! Backups are consistent while others write, and a restored log cannot be taken for the one before.

use std::fs;

use super::super::schema::beside;
use super::super::{BACKUP_FILE, Backup, LOG_FILE, restore};
use super::{ALL, Place, assert_damaged, numbered, position};
use crate::embedded::EmbeddedLog;
use crate::port::{Log, LogError, LogIdentity, Retention};

fn assert_refused<T: std::fmt::Debug>(found: &Result<T, LogError>, what: &str) {
    let Err(LogError::Fatal { cause, .. }) = found else { panic!("{found:?}") };
    assert!(cause.to_string().contains(what), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_of_the_log() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 3_000)).await.unwrap();
    let directory = place.directory.path().join("backup");
    let appends = async {
        for round in 0..200 {
            // records and position of one append must not be torn apart
            let mut append = numbered(3_000 + round * 10, 10);
            append.position(position(round, round + 1).positions()[0].clone());
            log.append(append).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (backup, ()) = tokio::join!(log.backup(&directory), appends);
    let backup = backup.unwrap();
    let end = backup.topics[0].end;
    assert!((3_000..=5_000).contains(&end), "{end}");
    assert_eq!((backup.log_id, backup.generation), (log.identity().id, 0));
    assert_eq!(serde_json::from_slice::<Backup>(&fs::read(directory.join(BACKUP_FILE)).unwrap()).unwrap(), backup);

    let copy = EmbeddedLog::open(place.options_at(&directory.join(LOG_FILE))).await.unwrap();
    assert_eq!(copy.check_deep().await.unwrap().records, end);
    assert_eq!(copy.read("t", 0, 0, ALL).await.unwrap().next_offset(), Some(end));
    let moved = copy.positions("fold").await.unwrap().first().map_or(0, |(_, _, next)| *next);
    assert_eq!(3_000 + moved * 10, end, "records and positions are of the same moment");
    assert_refused(&log.backup(&directory).await, "there is a backup already");
}

#[tokio::test]
async fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 10)).await.unwrap();
    let directory = place.directory.path().join("backups").join("monday");
    log.backup(&directory).await.unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let modes = [mode(&directory), mode(&directory.join(LOG_FILE)), mode(&directory.join(BACKUP_FILE))];
    assert_eq!(modes, [0o700, 0o600, 0o600]);
    // The description is written anew by a restore.
    restore(&directory, &place.directory.path().join("restored.db"), &[]).await.unwrap();
    assert_eq!(mode(&directory.join(BACKUP_FILE)), 0o600);
}

#[tokio::test]
async fn an_interrupted_backup_does_not_stand_in_the_way() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 10)).await.unwrap();
    let directory = place.directory.path().join("backup");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("log.db.partial"), "half a file").unwrap();
    log.backup(&directory).await.unwrap();
    let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [BACKUP_FILE, LOG_FILE]);
}

#[tokio::test]
async fn a_restored_log_has_a_generation_of_its_own() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 10)).await.unwrap();
    log.append(position(0, 7)).await.unwrap();
    let id = log.identity().id;
    let directory = place.directory.path().join("backup");
    log.backup(&directory).await.unwrap();
    log.append(numbered(10, 5)).await.unwrap();

    assert_refused(&restore(&directory, &place.path(), &[]).await, "move it away first");
    drop(log);
    fs::rename(place.path(), place.directory.path().join("old.db")).unwrap();
    let restored = restore(&directory, &place.path(), &[]).await.unwrap();
    assert_eq!((restored.id, restored.generation), (id, 1));
    let log = place.open().await;
    assert_eq!(log.identity(), restored);
    assert_eq!(log.bounds("t", 0).await.unwrap().end, 10);
    assert_eq!(log.positions("fold").await.unwrap(), [("t".to_owned(), 0, 7)]);
    assert_eq!(log.append(numbered(10, 1)).await.unwrap(), [10]);
    drop(log);

    // from the same backup once more, and above what a store has seen
    for (above, expected) in [(0, 2), (7, 8), (3, 9)] {
        fs::remove_file(place.path()).unwrap();
        let seen = [LogIdentity { id, generation: above }, LogIdentity { id: uuid::Uuid::nil(), generation: 70 }];
        assert_eq!(restore(&directory, &place.path(), &seen).await.unwrap().generation, expected);
    }
}

#[tokio::test]
async fn a_damaged_backup_is_not_put_in_place() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, 500)).await.unwrap();
    let directory = place.directory.path().join("backup");
    log.backup(&directory).await.unwrap();
    let copy = directory.join(LOG_FILE);
    let whole = fs::read(&copy).unwrap();
    let target = place.directory.path().join("restored.db");

    let at = whole.windows(13).position(|window| window == b"value 100 val").unwrap();
    let mut flipped = whole.clone();
    flipped[at + 50] ^= 1;
    fs::write(&copy, &flipped).unwrap();
    assert_damaged(&restore(&directory, &target, &[]).await, &beside(&target, ".restoring"), "t/0/100 does not match");

    fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(restore(&directory, &target, &[]).await, Err(LogError::Damaged(_))));

    fs::write(&copy, &whole).unwrap();
    let other = Place::new();
    drop(other.with_topic(Retention::Keep).await);
    fs::copy(other.path(), &copy).unwrap();
    assert_damaged(&restore(&directory, &target, &[]).await, &copy, "is not the log that");

    fs::remove_file(directory.join(BACKUP_FILE)).unwrap();
    assert_refused(&restore(&directory, &target, &[]).await, "no whole backup");
    let names: Vec<_> = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().starts_with("restored")), "nothing is left: {names:?}");
}

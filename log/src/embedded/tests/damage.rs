//! A file that is not what was written is refused, with a text that helps.

use std::fs;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use super::super::schema::beside;
use super::{ALL, Place, assert_damaged, numbered, position};
use crate::embedded::EmbeddedLog;
use crate::port::{Log, LogError, Retention};

async fn filled(count: u64) -> Place {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    log.append(numbered(0, count)).await.unwrap();
    drop(log);
    assert!(!beside(&place.path(), "-wal").exists(), "the last handle leaves one file");
    place
}

/// Turns over one byte.
fn flip(place: &Place, at: u64) {
    let file = fs::File::options().read(true).write(true).open(place.path()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], at).unwrap();
}

/// Where `text` stands in the file.
fn find(place: &Place, text: &str) -> u64 {
    let bytes = fs::read(place.path()).unwrap();
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() as u64
}

async fn open(place: &Place) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(place.options()).await
}

#[tokio::test]
async fn a_broken_header_is_refused() {
    let place = filled(10).await;
    flip(&place, 3);
    assert_damaged(&open(&place).await, &place.path(), "tidemark restore");
}

#[tokio::test]
async fn foreign_files_are_refused() {
    let place = Place::new();
    fs::write(place.path(), "a letter, not a log".repeat(1000)).unwrap();
    assert_damaged(&open(&place).await, &place.path(), "not a database");
    fs::write(place.path(), "").unwrap();
    assert_damaged(&open(&place).await, &place.path(), "empty");
    fs::remove_file(place.path()).unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE bill (id); PRAGMA user_version = 1").unwrap();
    drop(other);
    assert_damaged(&open(&place).await, &place.path(), "not a Tidemark log");
}

#[tokio::test]
async fn a_newer_log_is_refused_and_left_alone() {
    let place = filled(10).await;
    Connection::open(place.path()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let before = fs::read(place.path()).unwrap();
    assert_damaged(&open(&place).await, &place.path(), "format 2, this program knows up to 1");
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_flipped_byte_in_a_record_is_found_where_it_lies() {
    let place = filled(5_000).await;
    flip(&place, find(&place, "value 1234 value") + 200);
    let log = open(&place).await.unwrap();
    assert_eq!(log.read("t", 0, 1_235, ALL).await.unwrap().len(), 3_765, "what is whole can be read");
    assert_damaged(&log.read("t", 0, 0, ALL).await, &place.path(), "t/0/1234 does not match its checksum");
    assert_damaged(&log.check_deep().await, &place.path(), "t/0/1234 does not match its checksum");
    assert_damaged(&log.backup(&place.directory.path().join("backup")).await, &place.directory.path().join("backup"), "t/0/1234");
}

#[tokio::test]
async fn a_flipped_byte_in_the_last_record_is_found_at_open() {
    let place = filled(500).await;
    flip(&place, find(&place, "value 499 value") + 200);
    assert_damaged(&open(&place).await, &place.path(), "t/0/499 does not match its checksum");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let place = filled(5_000).await;
    let size = fs::metadata(place.path()).unwrap().len();
    for part in [3, 2] {
        fs::File::options().write(true).open(place.path()).unwrap().set_len(size / 8192 * part / 4 * 8192).unwrap();
        assert_damaged(&open(&place).await, &place.path(), "tidemark restore");
    }
}

#[tokio::test]
async fn records_cut_from_the_end_are_missed_at_open() {
    let place = filled(500).await;
    let edit = Connection::open(place.path()).unwrap();
    edit.execute("DELETE FROM r1 WHERE offset > 480", []).unwrap();
    drop(edit);
    assert_damaged(&open(&place).await, &place.path(), "t/0 says that it ends at 500, its last record is 480");
}

#[tokio::test]
async fn records_cut_from_the_middle_are_missed_by_the_deep_check() {
    let place = filled(500).await;
    let edit = Connection::open(place.path()).unwrap();
    edit.execute("DELETE FROM r1 WHERE offset BETWEEN 100 AND 110", []).unwrap();
    drop(edit);
    let log = open(&place).await.unwrap();
    assert_damaged(&log.check_deep().await, &place.path(), "t/0 has lost the records 100 to 110");
}

#[tokio::test]
async fn a_position_beyond_the_end_is_found_by_the_deep_check() {
    let place = filled(5).await;
    let log = open(&place).await.unwrap();
    log.append(position(0, 5)).await.unwrap();
    assert_eq!(log.check_deep().await.unwrap().records, 5);
    log.append(position(5, 6)).await.unwrap();
    assert_damaged(&log.check_deep().await, &place.path(), "fold stands at 6 on t/0");
}

#[tokio::test]
async fn a_log_that_is_replaced_while_in_use_takes_no_more() {
    let place = filled(5).await;
    let log = open(&place).await.unwrap();
    log.append(numbered(5, 1)).await.unwrap();
    let elsewhere = place.directory.path().join("moved.db");
    fs::rename(place.path(), &elsewhere).unwrap();
    assert_damaged(&log.append(numbered(6, 1)).await, &place.path(), "removed or replaced");
    fs::copy(&elsewhere, place.path()).unwrap();
    assert_damaged(&log.append(numbered(6, 1)).await, &place.path(), "removed or replaced");
    assert_damaged(&log.read("t", 0, 0, ALL).await, &place.path(), "removed or replaced");
    fs::rename(&elsewhere, place.path()).unwrap();
    assert_eq!(log.append(numbered(6, 1)).await.unwrap(), [6], "put back, it goes on");
}

#[tokio::test]
async fn a_missing_log_beside_its_wal_is_not_made_anew() {
    let place = filled(5).await;
    fs::rename(place.path(), beside(&place.path(), "-wal")).unwrap();
    assert_damaged(&open(&place).await, &place.path(), "is missing while");
}

#[tokio::test]
async fn a_look_makes_no_log() {
    let place = Place::new();
    let found = EmbeddedLog::open_existing(place.options()).await;
    assert!(matches!(found, Err(LogError::Unavailable { .. })), "{found:?}");
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    drop(place.open().await);
    EmbeddedLog::open_existing(place.options()).await.unwrap();
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1, "no draft is left of making a log");
}

#[tokio::test]
async fn a_log_held_by_a_long_transaction_is_unavailable_and_comes_back() {
    let place = filled(5).await;
    let log = open(&place).await.unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = log.append(numbered(5, 1)).await;
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    assert_eq!(log.read("t", 0, 0, ALL).await.unwrap().len(), 5, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(log.append(numbered(5, 1)).await.unwrap(), [5]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_unavailable() {
    let place = Place::new();
    let found = EmbeddedLog::open(place.options_at(&place.directory.path().join("nowhere/log.db"))).await;
    let Err(LogError::Unavailable { step, .. }) = found else { panic!("{found:?}") };
    assert!(step.contains("nowhere"), "{step}");
}

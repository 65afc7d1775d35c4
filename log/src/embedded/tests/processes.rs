//! Real second processes: this test binary starts itself, with the log's path in the environment.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;

use super::{ALL, Place, numbered, position};
use crate::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::port::{Log, Retention};

const PATH: &str = "TIDEMARK_TEST_LOG";
const COUNT: &str = "TIDEMARK_TEST_APPENDS";
const DEADLINE: Duration = Duration::from_secs(30);

/// Not a test of its own: what the second process does. It appends, and says which offset it was given.
#[tokio::test]
async fn second_process() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let appends: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions::new(PathBuf::from(path))).await.unwrap();
    let start = log.positions("fold").await.unwrap().first().map_or(0, |(_, _, next)| *next);
    for number in start..start + appends {
        let mut append = numbered(number, 3);
        append.position(position(number, number + 1).positions()[0].clone());
        let offsets = log.append(append).await.unwrap();
        println!("acknowledged {} {}", number + 1, offsets[2]);
    }
}

fn start(place: &Place, appends: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "embedded::tests::processes::second_process"])
        .env(PATH, place.path())
        .env(COUNT, appends.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Offsets and positions that the child said were durable.
fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_once("acknowledged ")?.1.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_append_and_follow() {
    let place = Place::new();
    let log = place.with_topic(Retention::Keep).await;
    let mut appended = log.appended();
    let mut child = start(&place, 200);
    let follow = async {
        let (mut next, mut from_child) = (0, 0);
        while from_child < 600 {
            let batch = log.read("t", 0, next, ALL).await.unwrap();
            if batch.is_empty() {
                appended.changed().await.unwrap();
                continue;
            }
            for record in batch.iter() {
                assert_eq!(record.offset, next, "no gap and nothing twice");
                next += 1;
                from_child += u32::from(record.key != b"key 999999");
            }
            // and one of ours between theirs
            log.append(numbered(999_999, 1)).await.unwrap();
        }
    };
    timeout(DEADLINE, follow).await.unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(log.positions("fold").await.unwrap(), [("t".to_owned(), 0, 200)]);
    log.check_deep().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let place = Place::new();
    drop(place.with_topic(Retention::Keep).await);
    for kill_after in [1, 20, 57, 110] {
        let mut child = start(&place, 1_000_000);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut seen = 0;
        for line in lines {
            let Some(said) = acknowledged(&line.unwrap()) else { continue };
            last = Some(said);
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let (position, offset) = last.unwrap();
        let log = place.open().await;
        let bounds = log.bounds("t", 0).await.unwrap();
        let stored = log.positions("fold").await.unwrap()[0].2;
        assert!(bounds.end > offset && stored >= position, "{bounds:?} {stored} after {position} {offset}");
        assert_eq!(bounds.end, stored * 3, "records and positions of an append are both there or both not");
        assert_eq!(log.check_deep().await.unwrap().records, bounds.end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_make_one_log() {
    let place = Place::new();
    let opened = (0..8).map(|_| tokio::spawn(EmbeddedLog::open(place.options())));
    let opened: Vec<_> = opened.collect();
    let mut identities = Vec::new();
    for log in opened {
        identities.push(log.await.unwrap().unwrap().identity());
    }
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
    assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 1);
}

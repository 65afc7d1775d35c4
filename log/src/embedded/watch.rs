//! Notices what other processes append, so that whoever follows the log wakes up for that too.
//!
//! One thread asks SQLite a few dozen times a second whether the file has changed, which costs some microseconds; within this
//! process the writer tells at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::connection::open_reader;
use super::place::{Place, file_error};
use crate::port::LogError;

/// How late another process's append may be noticed. Shorter costs idle CPU.
const INTERVAL: Duration = Duration::from_millis(25);

/// The thread and what it tells.
#[derive(Debug)]
pub(super) struct Watcher {
    appended: watch::Sender<u64>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(place: &Place, appended: watch::Sender<u64>) -> Result<Self, LogError> {
        let connection = open_reader(place)?;
        let (stop, stopped) = mpsc::channel();
        let path = place.path().to_owned();
        let sender = appended.clone();
        let thread = thread::Builder::new()
            .name("log-watcher".to_owned())
            .spawn(move || run(&connection, &sender, &stopped))
            .map_err(|error| file_error("starting the watcher", &path, error))?;
        Ok(Self { appended, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's watcher thread had panicked");
        }
    }
}

fn run(connection: &Connection, appended: &watch::Sender<u64>, stopped: &mpsc::Receiver<()>) {
    let mut known = None;
    let mut failing = false;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
        match look(connection, &mut known) {
            Ok(Some(total)) => {
                appended.send_if_modified(|seen| {
                    let more = total > *seen;
                    *seen = total.max(*seen);
                    more
                });
                failing = false;
            }
            Ok(None) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot see what other processes append to the log; trying on");
                }
                failing = true;
            }
        }
    }
}

/// The number of records ever appended, when anything has changed since the last look.
fn look(connection: &Connection, known: &mut Option<i64>) -> rusqlite::Result<Option<u64>> {
    let version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
    if *known == Some(version) {
        return Ok(None);
    }
    let total = connection.prepare_cached("SELECT coalesce(sum(next), 0) FROM partition")?.query_row([], |row| row.get(0))?;
    *known = Some(version);
    Ok(Some(total))
}

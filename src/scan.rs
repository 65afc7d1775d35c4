//! Asks the process that runs the file connector to look through the import root, and waits for its answer.
//!
//! Both travel on the progress topic. The answer comes when everything that was found is decided.

use std::time::Duration;

use anyhow::{Context, Result};
use tidemark_connector_core::progress;
use tidemark_connector_file::{ScanAnswer, ScanRequest, answer_key, request_key};
use tidemark_connector_file::{Selection, Statistics};
use tidemark_log::{Append, ReadLimit};
use tokio::time::Instant;

use crate::exit::UnavailableError;
use crate::session::Session;
use crate::stages;

const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };

/// Asks and waits. An error of unavailability when nothing at all moves on the log for `patience`.
pub(crate) async fn ask(session: &Session, selection: Selection, patience: Duration) -> Result<Statistics> {
    let (log, topics) = (&session.pipeline.log, &session.pipeline.topics);
    let id = uuid::Uuid::new_v4().to_string();
    let mut append = Append::default();
    progress::put(&mut append, topics, &request_key(&id), &ScanRequest { selection });
    let offsets = log.append(append).await.context("asking for a scan")?;
    let mut offset = offsets.first().copied().unwrap_or_default() + 1;
    let wanted = answer_key(&id);
    let mut appended = log.appended();
    let mut moved = Instant::now();
    loop {
        appended.mark_unchanged();
        let batch = log.read(&topics.progress, 0, offset, LIMIT).await.context("waiting for the answer to a scan")?;
        if let Some(record) = batch.iter().find(|record| record.key == wanted.as_bytes()) {
            let answer: ScanAnswer = serde_json::from_slice(record.value).context("reading the answer to a scan")?;
            return Ok(answer.statistics);
        }
        if let Some(next) = batch.next_offset() {
            offset = next;
            continue;
        }
        match tokio::time::timeout_at(moved + patience, appended.changed()).await {
            Ok(changed) => {
                changed.context("the log was closed")?;
                moved = Instant::now();
            }
            Err(_) => {
                let holder = session.claims.others.iter().find(|(stage, _)| *stage == stages::CONNECTOR);
                let holder = holder.map_or("nobody", |(_, holder)| holder.as_str());
                return Err(UnavailableError(format!("`{}`, run by {holder}, does not answer", stages::CONNECTOR)).into());
            }
        }
    }
}

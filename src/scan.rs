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
use crate::workplace::extent;
use crate::{quiet, stages};

const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };

/// Asks and waits. An error of unavailability when nothing at all moves on the log, or it is away, for `patience`.
pub(crate) async fn ask(session: &Session, selection: Selection, patience: Duration) -> Result<Statistics> {
    let (log, topics) = (&session.pipeline.log, &session.pipeline.topics);
    let id = uuid::Uuid::new_v4().to_string();
    let mut append = Append::default();
    progress::put(&mut append, topics, &request_key(&id), &ScanRequest { selection });
    let offsets = log.append(append).await.context("asking for a scan")?;
    let mut offset = offsets.first().copied().unwrap_or_default() + 1;
    let wanted = answer_key(&id);
    let mut appended = log.appended();
    let mut last = (0, Instant::now());
    loop {
        appended.mark_unchanged();
        let moved = match step(session, &mut offset, &wanted).await {
            Ok(Step::Answered(statistics)) => return Ok(statistics),
            Ok(Step::Further) => continue,
            Ok(Step::AtEnd(extent)) => extent != std::mem::replace(&mut last.0, extent),
            Err(error) if quiet::is_away(&error) => false,
            Err(error) => return Err(error),
        };
        if moved {
            last.1 = Instant::now();
        }
        match tokio::time::timeout_at(last.1 + patience, appended.changed()).await {
            Ok(changed) => changed.context("the log was closed")?,
            Err(_) => {
                let holder = session.claims.others.iter().find(|(stage, _)| *stage == stages::CONNECTOR);
                let holder = holder.map_or("nobody", |(_, holder)| holder.as_str());
                return Err(UnavailableError(format!("`{}`, run by {holder}, does not answer", stages::CONNECTOR)).into());
            }
        }
    }
}

/// What one read came to.
enum Step {
    Answered(Statistics),
    /// There may be more.
    Further,
    /// Not there yet; how much the log holds in all.
    AtEnd(u64),
}

async fn step(session: &Session, offset: &mut u64, wanted: &str) -> Result<Step> {
    let (log, topics) = (&session.pipeline.log, &session.pipeline.topics);
    let batch = log.read(&topics.progress, 0, *offset, LIMIT).await.context("waiting for the answer to a scan")?;
    if let Some(record) = batch.iter().find(|record| record.key == wanted.as_bytes()) {
        let answer: ScanAnswer = serde_json::from_slice(record.value).context("reading the answer to a scan")?;
        return Ok(Step::Answered(answer.statistics));
    }
    match batch.next_offset() {
        Some(next) => {
            *offset = next;
            Ok(Step::Further)
        }
        // Not by what wakes us: on Kafka that is a clock, too.
        None => Ok(Step::AtEnd(extent(&**log).await?)),
    }
}

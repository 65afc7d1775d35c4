//! Waiting until stages have passed a fixed point of the log.

use std::sync::Arc;

use tidemark_log::LogError;

use super::Pipeline;
use super::cursors::{Cursors, Side};
use crate::fold::stage::CONSUMER;
use crate::status::StagePosition;

/// See [`Pipeline::caught_up`].
pub(super) async fn wait(pipeline: &Pipeline, stages: &[&str]) -> Result<bool, LogError> {
    if stages.contains(&CONSUMER) {
        let ends = ends_of(pipeline, Side::Changes).await?;
        let mut appended = pipeline.log.appended();
        loop {
            appended.borrow_and_update();
            let positions = pipeline.log.positions(CONSUMER).await?;
            let next = |topic: &str, partition: u32| {
                let find = |known: &&(String, u32, u64)| *known.0 == *topic && known.1 == partition;
                positions.iter().find(find).map_or(0, |(_, _, next)| *next)
            };
            if ends.iter().all(|(topic, partition, end)| next(topic, *partition) >= *end) {
                break;
            }
            tokio::select! {
                biased;
                () = pipeline.shutdown.cancelled() => return Ok(false),
                changed = appended.changed() => if changed.is_err() { return Ok(false) },
            }
        }
    }
    let ends = ends_of(pipeline, Side::State).await?;
    let mut positions = pipeline.board.positions();
    for stage in stages.iter().filter(|stage| **stage != CONSUMER) {
        let passed = positions.wait_for(|all| all.get(*stage).is_some_and(|stands| all_passed(stands, &ends)));
        tokio::select! {
            biased;
            () = pipeline.shutdown.cancelled() => return Ok(false),
            passed = passed => if passed.is_err() { return Ok(false) },
        }
    }
    Ok(true)
}

fn all_passed(stands: &[StagePosition], ends: &[StagePosition]) -> bool {
    ends.iter().all(|(topic, partition, end)| {
        *end == 0 || stands.iter().any(|(at, number, next)| at == topic && number == partition && next >= end)
    })
}

async fn ends_of(pipeline: &Pipeline, side: Side) -> Result<Vec<StagePosition>, LogError> {
    let cursors = Cursors::of(pipeline, side).await?;
    let mut ends = Vec::with_capacity(cursors.list.len());
    for cursor in &cursors.list {
        let end = pipeline.log.bounds(&cursor.topic, cursor.partition).await?.end;
        ends.push((Arc::clone(&cursor.topic), cursor.partition, end));
    }
    Ok(ends)
}

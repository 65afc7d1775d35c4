//! Waiting until stages have passed a fixed point of the log.

use std::sync::Arc;
use std::time::Duration;

use tidemark_log::{LogError, Share};

use super::Pipeline;
use super::cursors::{Cursors, Side};
use crate::fold::stage::CONSUMER;
use crate::status::StagePosition;

/// How often the positions of a fold in another process are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// See [`Pipeline::caught_up`].
pub(super) async fn wait(pipeline: &Pipeline, stages: &[&str]) -> Result<bool, LogError> {
    if stages.contains(&CONSUMER) {
        let ends = ends_of(pipeline, Side::Changes).await?;
        // An append of positions alone wakes no reader of the log, so the board is watched for this process's own fold, and
        // the log is looked at now and then for one elsewhere.
        let mut positions_of_own = pipeline.board.positions();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            positions_of_own.borrow_and_update();
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
                _ = positions_of_own.changed() => {}
                _ = looks.tick() => {}
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

/// Whether a stage has passed the ends on the partition numbers that it holds; other workers pass the rest.
fn all_passed(stands: &[StagePosition], ends: &[StagePosition]) -> bool {
    let held = |partition: &u32| stands.iter().any(|(_, number, _)| number == partition);
    ends.iter().filter(|(_, partition, _)| held(partition)).all(|(topic, partition, end)| {
        *end == 0 || stands.iter().any(|(at, number, next)| at == topic && number == partition && next >= end)
    })
}

async fn ends_of(pipeline: &Pipeline, side: Side) -> Result<Vec<StagePosition>, LogError> {
    let cursors = Cursors::of(pipeline, side, &Share::All).await?;
    let ends = cursors.ends(&*pipeline.log).await?;
    let places = cursors.list.iter().map(|cursor| (Arc::clone(&cursor.topic), cursor.partition));
    Ok(places.zip(ends).map(|((topic, partition), end)| (topic, partition, end)).collect())
}

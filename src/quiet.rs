//! When is everything done? What `up --once` and `import` wait for.
//!
//! Done = the connector has nothing to do and all that it took in is decided; then the fold has passed every change that the log
//! held at that moment, then every sink every state; and the connector still has nothing to do. Stages of another process are asked
//! through the log and through their stores. Only the stage that does the work says how far it is, so nothing is done too early.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tidemark_pipelines::status::StageState;
use tokio::time::Instant;

use crate::exit::UnavailableError;
use crate::session::Session;
use crate::{stages, stores};

/// Between two looks at the board or at another process's store.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until everything is done. `patience` = how long a part may stay unavailable.
pub(crate) async fn wait(session: &Session, patience: Duration) -> Result<()> {
    tokio::select! {
        done = everything(session, patience) => done,
        given_up = unavailable(session, patience) => given_up,
    }
}

async fn everything(session: &Session, patience: Duration) -> Result<()> {
    let claims = &session.claims;
    loop {
        if claims.runs(stages::CONNECTOR) {
            connector_quiet(session).await;
        }
        let appended = *session.pipeline.log.appended().borrow();
        let mut waited_for = claims.own.clone();
        waited_for.retain(|stage| *stage != stages::CONNECTOR);
        // The fold's positions are in the log, whoever runs it.
        if !waited_for.contains(&stages::FOLD) {
            waited_for.push(stages::FOLD);
        }
        session.pipeline.caught_up(&waited_for).await.context("waiting for fold and sinks")?;
        others_caught_up(session, patience).await?;
        let unchanged = *session.pipeline.log.appended().borrow() == appended;
        if unchanged && (!claims.runs(stages::CONNECTOR) || is_quiet(session)) {
            return Ok(());
        }
    }
}

fn is_quiet(session: &Session) -> bool {
    session.pipeline.board.lines().get(stages::CONNECTOR).is_some_and(|line| line.quiet && line.state == StageState::Running)
}

async fn connector_quiet(session: &Session) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    while !is_quiet(session) {
        looks.tick().await;
    }
}

/// Waits until the stores that other processes fill hold everything.
async fn others_caught_up(session: &Session, patience: Duration) -> Result<()> {
    let log = &session.pipeline.log;
    let topics = log.topics().await?;
    for (stage, holder) in &session.claims.others {
        let Some(role) = stages::role_of(stage) else { continue };
        let sink = stores::sink(&session.workplace, role)?;
        let mut ends = Vec::new();
        for entity in session.workplace.catalog.entities() {
            let topic = session.workplace.topics.state(&entity.name);
            let partitions = topics.iter().find(|(name, _)| *name == *topic).map_or(0, |(_, count)| *count);
            for partition in 0..partitions {
                ends.push((entity.name.clone(), partition, log.bounds(&topic, partition).await?.end));
            }
        }
        let (mut last, mut since) = (0, Instant::now());
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let positions =
                sink.positions().await.with_context(|| format!("asking the {} store where it stands", role.name()))?;
            let next = |entity: &str, partition: u32| {
                let found = positions.iter().find(|position| position.entity == entity && position.partition == partition);
                found.map_or(0, |position| position.next)
            };
            if ends.iter().all(|(entity, partition, end)| next(entity, *partition) >= *end) {
                break;
            }
            let total: u64 = positions.iter().map(|position| position.next).sum();
            if total != last {
                (last, since) = (total, Instant::now());
            } else if since.elapsed() > patience {
                return Err(UnavailableError(format!("`{stage}`, run by {holder}, does not move")).into());
            }
        }
    }
    Ok(())
}

/// Returns when a stage of ours has been degraded for longer than `patience`.
async fn unavailable(session: &Session, patience: Duration) -> Result<()> {
    let mut since: BTreeMap<String, Instant> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL * 10);
    loop {
        looks.tick().await;
        for (stage, line) in session.pipeline.board.lines() {
            let StageState::Degraded(why) = line.state else {
                since.remove(&stage);
                continue;
            };
            if since.entry(stage.clone()).or_insert_with(Instant::now).elapsed() >= patience {
                return Err(UnavailableError(format!("`{stage}` stayed unavailable: {why}")).into());
            }
        }
    }
}

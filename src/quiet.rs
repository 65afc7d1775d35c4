//! When is everything done? What `up --once` and `import` wait for.
//!
//! Done = the connector has nothing to do and all that it took in is decided; then the fold has passed every change that the log
//! held at that moment, then every sink every state; and the connector still has nothing to do. Stages of another process are asked
//! through the log and through their stores. Only the stage that does the work says how far it is, so nothing is done too early.
//!
//! Given up at once when a stage of ours fails by what waiting does not mend; after the patience that is allowed when one stays
//! unavailable, or the log does, or when one of another process has work and does not move.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tidemark_log::LogError;
use tidemark_pipelines::status::{StageState, StatusBoard};
use tidemark_sink_core::{Role, SinkError};
use tokio::time::{Instant, Interval};

use crate::configuration::stores::Store;
use crate::exit::UnavailableError;
use crate::session::Session;
use crate::workplace::{extent, partitions_of};
use crate::{stages, stores};

/// Between two looks at the board or at another process's store.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Between two looks at a store on a server, each of which connects to it.
const SERVER_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until everything is done. `patience` = how long a part may stay unavailable.
pub(crate) async fn wait(session: &Session, patience: Duration) -> Result<()> {
    tokio::select! {
        done = everything(session, patience) => done,
        given_up = unavailable(session, patience) => given_up,
    }
}

/// Looks again from the start when the log was away for a while.
async fn everything(session: &Session, patience: Duration) -> Result<()> {
    loop {
        match all_passed(session, patience).await {
            Err(error) if is_away(&error) => log_back(session, patience, error).await?,
            ended => return ended,
        }
    }
}

/// Waits until the log answers again; the error where it does not for longer than `patience`.
async fn log_back(session: &Session, patience: Duration, error: anyhow::Error) -> Result<()> {
    let since = Instant::now();
    let mut looks = tokio::time::interval(LOOK_INTERVAL * 10);
    while extent(&*session.pipeline.log).await.is_err() {
        if since.elapsed() > patience {
            return Err(error);
        }
        looks.tick().await;
    }
    Ok(())
}

/// Whether the log is the cause, and may come back.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.chain().find_map(|cause| cause.downcast_ref()), Some(LogError::Unavailable { .. }))
}

async fn all_passed(session: &Session, patience: Duration) -> Result<()> {
    let claims = &session.claims;
    loop {
        if claims.runs(stages::CONNECTOR) {
            connector_quiet(session).await;
        }
        let before = extent(&*session.pipeline.log).await?;
        let mut waited_for = claims.own.clone();
        waited_for.retain(|stage| *stage != stages::CONNECTOR);
        // The fold's positions are in the log, whoever runs it.
        if !waited_for.contains(&stages::FOLD) {
            waited_for.push(stages::FOLD);
        }
        session.pipeline.caught_up(&waited_for).await.context("waiting for fold and sinks")?;
        others_caught_up(session, patience).await?;
        if extent(&*session.pipeline.log).await? == before && (!claims.runs(stages::CONNECTOR) || is_quiet(session)) {
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

/// Waits until the stores that other processes fill, or help to fill, hold everything.
async fn others_caught_up(session: &Session, patience: Duration) -> Result<()> {
    for (stage, holder) in shared_with_others(session) {
        let Some(role) = stages::role_of(stage) else { continue };
        let sink = stores::sink(&session.workplace, role)?;
        let ends = ends_of(session, |entity| session.workplace.topics.state(entity)).await?;
        let mut movement = Movement::new(stage, holder, patience);
        let on_server = is_on_server(session, role);
        let mut looks = looks_at(session, role);
        loop {
            looks.tick().await;
            let positions = match sink.positions().await {
                Ok(positions) => positions,
                // It may come back, for as long as we have patience.
                Err(SinkError::Unavailable { .. }) if on_server => {
                    movement.stands_still()?;
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("asking the {} store where it stands", role.name())),
            };
            let next = |end: &End| {
                let found =
                    positions.iter().find(|position| position.entity == end.entity && position.partition == end.partition);
                found.map_or(0, |position| position.next)
            };
            if ends.iter().all(|end| next(end) >= end.offset) {
                break;
            }
            movement.stands_at(positions.iter().map(|position| position.next).sum())?;
        }
    }
    Ok(())
}

fn is_on_server(session: &Session, role: Role) -> bool {
    !matches!(session.workplace.configuration.store(role), Store::Sqlite(_))
}

/// When to look into this role's store, which somebody else may be filling.
pub(crate) fn looks_at(session: &Session, role: Role) -> Interval {
    tokio::time::interval(if is_on_server(session, role) { SERVER_LOOK_INTERVAL } else { LOOK_INTERVAL })
}

/// The stages that others run, with who that is; on Kafka others may have a part of each of ours, too.
pub(crate) fn shared_with_others(session: &Session) -> Vec<(&'static str, &str)> {
    let claims = &session.claims;
    let mut shared: Vec<_> = claims.others.iter().map(|(stage, holder)| (*stage, holder.as_str())).collect();
    if session.log.embedded.is_none() {
        // What a worker keeps in a file of its own holds its own part alone.
        let has_own_file = |stage: &&str| stages::role_of(stage).is_some_and(|role| !is_on_server(session, role));
        let with_workers = claims.own.iter().filter(|stage| !has_own_file(stage));
        shared.extend(with_workers.map(|stage| (*stage, "the workers that share its partitions")));
    }
    shared
}

/// Returns when a stage of ours has been degraded for longer than `patience`, or by what waiting does not mend, or another
/// process's fold does not move.
async fn unavailable(session: &Session, patience: Duration) -> Result<()> {
    tokio::select! {
        given_up = own_degraded(session, patience) => given_up,
        given_up = fold_elsewhere_stuck(session, patience) => given_up,
    }
}

fn needs_a_person(stage: &str, why: &str) -> anyhow::Error {
    anyhow!("`{stage}` cannot go on: {why}; put that right and run this again, what was done stays done")
}

/// Why a stage of ours fails by what waiting does not mend, if one does.
pub(crate) fn cannot_go_on(board: &StatusBoard) -> Option<anyhow::Error> {
    board.lines().into_iter().find_map(|(stage, line)| match line.state {
        StageState::Degraded(why) if line.needs_a_person => Some(needs_a_person(&stage, &why)),
        _ => None,
    })
}

/// Returns when a stage of ours has been degraded for longer than `patience`, or by what waiting does not mend.
pub(crate) async fn own_degraded(session: &Session, patience: Duration) -> Result<()> {
    let mut since: BTreeMap<String, Instant> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL * 10);
    loop {
        looks.tick().await;
        for (stage, line) in session.pipeline.board.lines() {
            let StageState::Degraded(why) = line.state else {
                since.remove(&stage);
                continue;
            };
            if line.needs_a_person {
                return Err(needs_a_person(&stage, &why));
            }
            if since.entry(stage.clone()).or_insert_with(Instant::now).elapsed() >= patience {
                return Err(UnavailableError(format!("`{stage}` stayed unavailable: {why}")).into());
            }
        }
    }
}

/// Returns when the fold of another process has changes to pass and moves on none; on Kafka also that of workers elsewhere, on the
/// partitions that are theirs. The connector waits for its receipts as the sinks do for its states, so it is watched all the time.
async fn fold_elsewhere_stuck(session: &Session, patience: Duration) -> Result<()> {
    let shared = shared_with_others(session);
    let Some((stage, holder)) = shared.into_iter().find(|(stage, _)| *stage == stages::FOLD) else {
        return pending().await;
    };
    let held = session.pipeline.board.positions();
    let mut movement = Movement::new(stage, holder, patience);
    let mut looks = tokio::time::interval(LOOK_INTERVAL * 10);
    loop {
        looks.tick().await;
        let asked = async {
            let mut ends = ends_of(session, |entity| session.workplace.topics.changes(entity)).await?;
            let positions = session.pipeline.log.positions(stages::FOLD).await.context("asking where the fold stands")?;
            // Its own part is watched by its state: while it reads its cache anew, it does not move either.
            let own = held.borrow().get(stages::FOLD).cloned().unwrap_or_default();
            ends.retain(|end| !own.iter().any(|(_, partition, _)| *partition == end.partition));
            anyhow::Ok((ends, positions))
        };
        let (ends, positions) = match asked.await {
            Err(error) if is_away(&error) => {
                movement.stands_still()?;
                continue;
            }
            asked => asked?,
        };
        let next = |end: &End| {
            let found = positions.iter().find(|(topic, partition, _)| **topic == *end.topic && *partition == end.partition);
            found.map_or(0, |(_, _, next)| *next)
        };
        if ends.iter().all(|end| next(end) >= end.offset) {
            movement = Movement::new(stage, holder, patience);
        } else {
            movement.stands_at(ends.iter().map(next).sum())?;
        }
    }
}

/// Where a partition of an entity's topic ends.
struct End {
    entity: String,
    topic: Arc<str>,
    partition: u32,
    offset: u64,
}

/// The ends of every entity's topic, as they are now.
async fn ends_of(session: &Session, topic_of: impl Fn(&str) -> Arc<str>) -> Result<Vec<End>> {
    let log = &session.pipeline.log;
    let topics = log.topics().await?;
    let mut ends = Vec::new();
    for entity in session.workplace.catalog.entities() {
        let topic = topic_of(&entity.name);
        for partition in 0..partitions_of(&topics, &topic) {
            ends.push(End { entity: entity.name.clone(), topic: Arc::clone(&topic), partition, offset: 0 });
        }
    }
    let places: Vec<_> = ends.iter().map(|end| (Arc::clone(&end.topic), end.partition)).collect();
    for (end, offset) in ends.iter_mut().zip(log.ends(&places).await?) {
        end.offset = offset;
    }
    Ok(ends)
}

/// Whether a stage of another process moves while it has something to do.
pub(crate) struct Movement<'s> {
    stage: &'s str,
    holder: &'s str,
    patience: Duration,
    last: u64,
    since: Instant,
}

impl<'s> Movement<'s> {
    pub(crate) fn new(stage: &'s str, holder: &'s str, patience: Duration) -> Self {
        Self { stage, holder, patience, last: 0, since: Instant::now() }
    }

    /// The sum of its positions; an error once that has been the same for longer than is allowed.
    pub(crate) fn stands_at(&mut self, total: u64) -> Result<()> {
        if total != self.last {
            (self.last, self.since) = (total, Instant::now());
        }
        self.stands_still()
    }

    /// It could not be asked, or is where it was.
    pub(crate) fn stands_still(&self) -> Result<()> {
        if self.since.elapsed() > self.patience {
            return Err(UnavailableError(format!("`{}`, run by {}, does not move", self.stage, self.holder)).into());
        }
        Ok(())
    }
}

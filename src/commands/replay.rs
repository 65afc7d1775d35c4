//! `replay ROLE`: empties the store of a role and fills it again from the state topics.
//!
//! Where nobody runs the store's stage on this data folder, this process does until the store is filled. Where another one does, it
//! notices on the log what is asked for; this one watches the store. Either way the wish is durable: whatever ends this command, the
//! next start of the stage or the next `replay` goes on.

use std::sync::Arc;

use anyhow::{Context, Result};
use tidemark_replay::{Replay, ReplayError, Stand, Wish};
use tidemark_sink_core::report::grouped;
use tidemark_sink_core::{Role, Sink, SinkError};
use tokio::time::Instant;

use crate::arguments::{self, Common};
use crate::commands::print_line;
use crate::exit::Exit;
use crate::meter::Meter;
use crate::quiet::{self, Movement};
use crate::session::Session;
use crate::signals::Signals;
use crate::stages::{self, Claims};
use crate::stores;
use crate::view::View;
use crate::workplace::Workplace;

/// Runs it.
pub(crate) async fn run(common: &Common, command: &arguments::Replay, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let stage = stages::named(&workplace.configuration, &[format!("sink.{}", command.role)])?[0];
    let role = stages::role_of(stage).context("a sink's stage has a role")?;
    let mut signals = Signals::catch()?;
    let claims = Claims::take(&workplace, &[stage])?;
    let mut session = Session::open_existing(workplace, claims, view).await?;
    let outcome = tokio::select! {
        () = signals.next() => None,
        outcome = rebuild(&mut session, stage, role, command, view) => Some(outcome),
    };
    let closed = tokio::select! {
        closed = session.close() => closed,
        () = signals.end_at_next() => Ok(()),
    };
    let Some(passed) = outcome else {
        view.say(&format!("interrupted: the next `tidemark up` or `tidemark replay {}` goes on with it", role.name()));
        return Ok(Exit::Interrupted);
    };
    let passed = passed?;
    closed?;
    print_line(&format!("{:11} emptied and filled again, {} offsets of the log", role.name(), grouped(passed)))?;
    Ok(Exit::Done)
}

/// Asks for the replay and waits for its end; how many offsets the store has passed.
async fn rebuild(session: &mut Session, stage: &str, role: Role, command: &arguments::Replay, view: &View) -> Result<u64> {
    let sink = stores::sink(&session.workplace, role)?;
    let replay = ask(session, &*sink, command).await?;
    let (number, store) = (replay.number(), session.workplace.configuration.store(role));
    let begins = if replay.was_open() { "goes on with" } else { "begins" };
    view.say(&format!("{begins} build {number} of the {} store, {store}", role.name()));
    match session.claims.others.first() {
        Some((stage, holder)) => view.say(&format!("{stage} is run by {holder}, which does the work")),
        None => session.start_stages(None)?,
    }
    let mut tasks = std::mem::take(&mut session.tasks);
    let rebuilt = tokio::select! {
        biased;
        given_up = quiet::own_degraded(session, command.patience.timeout) => given_up.map(|()| 0),
        failed = tasks.failed(&session.pipeline.board) => failed.map(|()| 0),
        filled = filled(session, stage, &replay, &*sink, command, view) => filled,
    };
    session.tasks = tasks;
    rebuilt
}

/// Writes down what is wanted, as soon as the store says where it stands, if that must be known.
async fn ask(session: &Session, sink: &dyn Sink, command: &arguments::Replay) -> Result<Replay> {
    let (workplace, role) = (&session.workplace, sink.role());
    let name = stores::name(workplace, role)?;
    let wish = if command.restart { Wish::BeginAnew } else { Wish::GoOn };
    let started = Instant::now();
    let mut looks = quiet::looks_at(session, role);
    loop {
        looks.tick().await;
        match Replay::ask(Arc::clone(&session.builds), &workplace.catalog, name.clone(), sink, wish).await {
            Err(ReplayError::Store(SinkError::Unavailable { .. })) if started.elapsed() < command.patience.timeout => {}
            asked => return asked.with_context(|| format!("asking for a replay of the {} store", role.name())),
        }
    }
}

/// Watches the store until it is filled.
async fn filled(
    session: &Session,
    stage: &str,
    replay: &Replay,
    sink: &dyn Sink,
    command: &arguments::Replay,
    view: &View,
) -> Result<u64> {
    let mut meter = Meter::new(view, stage, "offsets");
    // A stage of ours says by itself what it lacks; of others only the store tells.
    let others = quiet::shared_with_others(session);
    let mut movement = others
        .iter()
        .find(|(other, _)| *other == stage)
        .map(|(_, holder)| Movement::new(stage, holder, command.patience.timeout));
    let mut looks = quiet::looks_at(session, sink.role());
    loop {
        looks.tick().await;
        let done = match replay.look(sink).await {
            Ok(Stand::Filled { total }) => {
                meter.stands_at(total, total);
                replay.close().await?;
                return Ok(total);
            }
            Ok(Stand::Filling { done, total }) => {
                meter.stands_at(done, total);
                Some(done)
            }
            Ok(Stand::Asked) | Err(ReplayError::Store(SinkError::Unavailable { .. })) => None,
            Err(error) => {
                return Err(error).with_context(|| format!("looking how far the {} store is", sink.role().name()));
            }
        };
        match (&mut movement, done) {
            (Some(movement), Some(done)) => movement.stands_at(done)?,
            (Some(movement), None) => movement.stands_still()?,
            (None, _) => {}
        }
    }
}

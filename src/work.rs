//! Stages from their start to their drained end: the one sequence behind `up`, `run` and `import`.
//!
//! Whatever ends the wait (everything done, a signal, a fault, patience at its end), the stages are drained before this returns; a
//! second signal ends the process meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tidemark_connector_file::{Selection, Statistics};
use tidemark_pipelines::status::StageStatus;
use tidemark_sink_core::report::grouped;

use crate::exit::Exit;
use crate::session::Session;
use crate::signals::Signals;
use crate::stages::{self, Claims};
use crate::view::View;
use crate::workplace::Workplace;
use crate::{http, quiet, scan, stores};

/// When the stages are to end, besides at a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// Not by themselves.
    Interrupted,
    /// When all that is selected is decided and in every store; a part may stay unavailable for so long.
    Done(Duration),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// A signal came before the end.
    pub(crate) interrupted: bool,
    /// What was done with the files, by us or by the process that takes them in; `None` when nobody was asked.
    pub(crate) statistics: Option<Statistics>,
}

/// Runs the claimed stages over what is selected.
pub(crate) async fn run(
    workplace: Workplace,
    claims: Claims,
    selection: Selection,
    until: Until,
    view: &View,
) -> Result<Outcome> {
    let mut signals = Signals::catch()?;
    let metrics = http::install_metrics()?;
    let mut session = Session::open(workplace, claims, view).await?;
    let address = session.serve_http(metrics, matches!(until, Until::Interrupted)).await?;
    let own = session.claims.runs(stages::CONNECTOR);
    let source = own.then(|| stores::file_source(&session, selection.clone())).transpose()?;
    let own_statistics = source.as_ref().map(|source| source.statistics.clone());
    say_what_runs(&session, address, view);
    session.start(source)?;
    let mut tasks = std::mem::take(&mut session.tasks);
    let done = async {
        match until {
            Until::Interrupted => std::future::pending().await,
            Until::Done(patience) => finish(&session, selection, patience).await,
        }
    };
    let ended = tokio::select! {
        () = signals.next() => Ok(None),
        failed = tasks.failed(&session.pipeline.board) => failed.map(|()| None),
        done = done => done.map(Some),
    };
    session.tasks = tasks;
    let lines = session.pipeline.board.lines();
    let closed = tokio::select! {
        closed = session.close() => closed,
        () = signals.end_at_next() => Ok(()),
    };
    let ended = ended?;
    closed?;
    say_what_was_done(&lines, view);
    let interrupted = ended.is_none();
    let statistics = ended.flatten().or_else(|| own_statistics.map(|statistics| statistics.snapshot()));
    Ok(Outcome { interrupted, statistics })
}

/// Says that a command was broken off that would have ended by itself: its statistics would pass for those of the whole.
pub(crate) fn interrupted(view: &View) -> Exit {
    view.say("interrupted: what was taken in so far counts, the rest is taken in the next time");
    Exit::Interrupted
}

/// Waits until everything is done; what another process answers that takes in the files.
async fn finish(session: &Session, selection: Selection, patience: Duration) -> Result<Option<Statistics>> {
    let asked = session.claims.others.iter().any(|(stage, _)| *stage == stages::CONNECTOR);
    let answer = if asked { Some(scan::ask(session, selection, patience).await?) } else { None };
    quiet::wait(session, patience).await?;
    Ok(answer)
}

fn say_what_runs(session: &Session, address: Option<SocketAddr>, view: &View) {
    let configuration = &session.workplace.configuration;
    let mut line = format!("tidemark runs {} with the log {}", own_text(session), configuration.log.place);
    if let Some(file) = configuration.file.as_ref().filter(|_| session.claims.runs(stages::CONNECTOR)) {
        line.push_str(&format!(", takes files from {}", file.root.display()));
    }
    if let Some(address) = address {
        line.push_str(&format!(", answers on http://{address}"));
    }
    view.say(&line);
    let mut left: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (stage, holder) in &session.claims.others {
        left.entry(holder).or_default().push(stage);
    }
    for (holder, stages) in left {
        view.say(&format!("{} left to {holder}", stages.join(", ")));
    }
}

fn say_what_was_done(lines: &BTreeMap<String, StageStatus>, view: &View) {
    let rejected: u64 = lines.values().map(|line| line.rejected).sum();
    let applied: Vec<String> = lines.iter().map(|(stage, line)| format!("{stage} {}", grouped(line.applied))).collect();
    if !applied.is_empty() {
        view.say(&format!("drained; applied: {}; rejected: {}", applied.join(", "), grouped(rejected)));
    }
}

fn own_text(session: &Session) -> String {
    if session.claims.own.is_empty() { "nothing itself".to_owned() } else { session.claims.own.join(", ") }
}

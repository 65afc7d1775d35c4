//! `up` and `run`: stages in this process until a signal, or with `--once` until everything is done.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tidemark_connector_file::{Selection, Statistics};
use tidemark_pipelines::status::StageStatus;

use crate::arguments::{Common, Run, Up};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::session::Session;
use crate::signals::Signals;
use crate::stages::{self, Claims};
use crate::view::{View, grouped};
use crate::workplace::Workplace;
use crate::{http, quiet, sample, scan, stores};

/// Runs `up`.
pub(crate) async fn up(common: &Common, command: &Up, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let wanted = stages::configured(&workplace.configuration);
    let claims = Claims::take(&workplace, &wanted)?;
    let claims = if command.once { claims } else { claims.all_or_error()? };
    if command.sample {
        let root = workplace.configuration.file.as_ref().map(|file| file.root.clone());
        let root = root.ok_or_else(|| UsageError("--sample needs connectors.file, which is switched off".to_owned()))?;
        let files = sample::write(&root).context("writing the sample")?;
        view.say(&format!("{files} sample files are in {}", root.display()));
    }
    run_stages(workplace, claims, command.once.then_some(command.patience.timeout), view).await
}

/// Runs `run`.
pub(crate) async fn run(common: &Common, command: &Run, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let wanted = stages::named(&workplace.configuration, &command.stages)?;
    let claims = Claims::take(&workplace, &wanted)?.all_or_error()?;
    run_stages(workplace, claims, None, view).await
}

/// Runs the claimed stages: until a signal, or (`once`, with its patience) until everything is done.
async fn run_stages(workplace: Workplace, claims: Claims, once: Option<Duration>, view: &View) -> Result<Exit> {
    let mut signals = Signals::catch()?;
    let metrics = http::install_metrics()?;
    let mut session = Session::open(workplace, claims, view).await?;
    let address = session.serve_http(metrics, once.is_none()).await?;
    let own = session.claims.runs(stages::CONNECTOR);
    let source = own.then(|| stores::file_source(&session, Selection::default(), true)).transpose()?;
    say_what_runs(&session, address, view);
    let statistics = source.as_ref().map(|source| source.statistics.clone());
    session.start(source)?;
    let ended = match once {
        None => tokio::select! {
            () = signals.next() => Ok(None),
            failed = session.failed() => failed.map(|()| None),
        },
        Some(patience) => tokio::select! {
            () = signals.next() => Ok(None),
            done = finish(&session, patience) => done,
        },
    };
    let lines = session.pipeline.board.lines();
    let closed = tokio::select! {
        closed = session.close() => closed,
        () = signals.end_at_next() => Ok(()),
    };
    let answer = ended?;
    closed?;
    say_what_was_done(&lines, view);
    if once.is_some()
        && let Some(statistics) = answer.or_else(|| statistics.map(|statistics| statistics.snapshot()))
    {
        print_line(statistics.to_string().trim_end())?;
    }
    Ok(Exit::Done)
}

/// Waits until everything is done; what another process answers that takes in the files.
async fn finish(session: &Session, patience: Duration) -> Result<Option<Statistics>> {
    let asked = session.claims.others.iter().any(|(stage, _)| *stage == stages::CONNECTOR);
    let answer = if asked { Some(scan::ask(session, Selection::default(), patience).await?) } else { None };
    quiet::wait(session, patience).await?;
    Ok(answer)
}

fn say_what_runs(session: &Session, address: Option<SocketAddr>, view: &View) {
    let configuration = &session.workplace.configuration;
    let mut line = format!("tidemark runs {} with the log {}", own_text(session), configuration.log.path.display());
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

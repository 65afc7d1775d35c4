//! `init`: creates log, stores and import folders; with `--force-rebuild` empties the stores first, so that the next `up` fills them anew.

use std::sync::Arc;

use anyhow::{Context, Result};
use tidemark_log::Share;
use tidemark_replay::{Replay, Wish};

use crate::arguments::{Common, Init};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::session::Session;
use crate::stages::{self, Claims};
use crate::view::View;
use crate::workplace::Workplace;
use crate::{missing_log, stores};

/// Runs it; the stores' stages must not run meanwhile.
pub(crate) async fn run(common: &Common, command: &Init, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    for role in &command.skip {
        if stages::role_of(&format!("sink.{role}")).is_none() {
            return Err(UsageError(format!("--skip {role}: there are relational, graph, vector, analytics")).into());
        }
    }
    let mut wanted = stages::configured(&workplace.configuration);
    wanted.retain(|stage| stages::role_of(stage).is_some_and(|role| !command.skip.iter().any(|skipped| skipped == role.name())));
    // To begin anew without the log that filled the stores must be asked for.
    if !command.force_rebuild {
        missing_log::refuse_loss(&workplace).await?;
    }
    let claims = Claims::take(&workplace, &wanted)?.all_or_error()?;
    if let Some(file) = &workplace.configuration.file {
        for folder in ["initial/common", "initial/institutions", "incremental/pending"] {
            let folder = file.root.join(folder);
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
    }
    let session = Session::open(workplace, claims, view).await?;
    session.pipeline.declare_schemas().await.context("registering the schemas of the log's records")?;
    let identity = session.pipeline.log.identity();
    print_line(&format!("log         {}", session.workplace.configuration.log.place))?;
    for stage in &session.claims.own {
        let Some(role) = stages::role_of(stage) else { continue };
        let mut sink = session.sink(role)?;
        if command.force_rebuild {
            let (builds, name) = (Arc::clone(&session.builds), stores::name(&session.workplace, role)?);
            let asked = Replay::ask(builds, &session.workplace.catalog, name, &*sink, Wish::BeginAnew).await;
            asked.with_context(|| format!("asking for the {} store to be emptied", role.name()))?;
        }
        sink.open(identity, &Share::All).await.with_context(|| format!("preparing the {} store", role.name()))?;
        sink.release().await.with_context(|| format!("preparing the {} store", role.name()))?;
        let done = if command.force_rebuild { "emptied; `tidemark up` fills it from the log" } else { "ready" };
        print_line(&format!("{:11} {done}", role.name()))?;
    }
    session.close().await?;
    Ok(Exit::Done)
}

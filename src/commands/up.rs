//! `up` and `run`: stages in this process until a signal, or with `--once` until everything is done.

use anyhow::{Context, Result};
use tidemark_connector_file::Selection;

use crate::arguments::{Common, Run, Up};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::stages::{self, Claims};
use crate::view::View;
use crate::work::{self, Until};
use crate::workplace::Workplace;
use crate::{missing_log, sample};

/// Runs `up`.
pub(crate) async fn up(common: &Common, command: &Up, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    missing_log::refuse_loss(&workplace).await?;
    let wanted = stages::configured(&workplace.configuration);
    let claims = Claims::take(&workplace, &wanted)?;
    let claims = if command.once { claims } else { claims.all_or_error()? };
    if command.sample {
        let root = workplace.configuration.file.as_ref().map(|file| file.root.clone());
        let root = root.ok_or_else(|| UsageError("--sample needs connectors.file, which is switched off".to_owned()))?;
        let files = sample::write(&root).context("writing the sample")?;
        view.say(&format!("{files} sample files are in {}", root.display()));
    }
    let until = if command.once { Until::Done(command.patience.timeout) } else { Until::Interrupted };
    let outcome = work::run(workplace, claims, Selection::default(), until, view).await?;
    if command.once && outcome.interrupted {
        return Ok(work::interrupted(view));
    }
    if let Some(statistics) = outcome.statistics.filter(|_| command.once) {
        print_line(statistics.to_string().trim_end())?;
    }
    Ok(Exit::Done)
}

/// Runs `run`.
pub(crate) async fn run(common: &Common, command: &Run, view: &View) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let wanted = stages::named(&workplace.configuration, &command.stages)?;
    missing_log::refuse_loss(&workplace).await?;
    let claims = Claims::take(&workplace, &wanted)?.all_or_error()?;
    work::run(workplace, claims, Selection::default(), Until::Interrupted, view).await?;
    Ok(Exit::Done)
}

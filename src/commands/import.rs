//! `import initial | incremental`: one pass over what lies there, then the statistics.
//!
//! Runs every stage that nobody holds. Where another process takes in files it is asked, through the log, to look through the same
//! folders, and its answer is printed.

use anyhow::Result;
use tidemark_connector_file::{Part, Selection, Statistics};

use crate::arguments::{Common, Import, ImportOptions, ImportPart};
use crate::commands::print_line;
use crate::exit::Exit;
use crate::stages::{self, Claims};
use crate::view::View;
use crate::work::{self, Until};
use crate::workplace::Workplace;
use crate::{missing_log, stores};

/// Runs it.
pub(crate) async fn run(common: &Common, command: &Import, view: &View) -> Result<Exit> {
    let (selection, options) = match &command.part {
        ImportPart::Initial(options) => (Selection { part: Part::Initial, again: false }, options),
        ImportPart::Incremental { date, again, options } => {
            let date = date.map(|date| date.to_string());
            (Selection { part: Part::Incremental { date }, again: *again }, options)
        }
    };
    let workplace = Workplace::load(common)?;
    let statistics = if options.dry_run {
        dry_run(&workplace, selection).await?
    } else {
        let Some(statistics) = import(workplace, selection, options, view).await? else { return Ok(work::interrupted(view)) };
        statistics
    };
    let text = if options.json { serde_json::to_string(&statistics)? } else { statistics.to_string().trim_end().to_owned() };
    print_line(&text)?;
    Ok(if statistics.is_clean() { Exit::Done } else { Exit::Findings })
}

async fn dry_run(workplace: &Workplace, selection: Selection) -> Result<Statistics> {
    let mut options = stores::file_options(workplace)?;
    options.selection = selection;
    Ok(tidemark_connector_file::dry_run(options, std::sync::Arc::clone(&workplace.catalog)).await?)
}

/// `None` = interrupted.
async fn import(workplace: Workplace, selection: Selection, options: &ImportOptions, view: &View) -> Result<Option<Statistics>> {
    // A switched-off connector is an error here, before anything is started.
    stores::file_options(&workplace)?;
    missing_log::refuse_loss(&workplace).await?;
    let claims = Claims::take(&workplace, &stages::configured(&workplace.configuration))?;
    let outcome = work::run(workplace, claims, selection, Until::Done(options.patience.timeout), view).await?;
    Ok((!outcome.interrupted).then(|| outcome.statistics.unwrap_or_default()))
}

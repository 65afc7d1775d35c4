//! `search COLLECTION TEXT`: the nearest points of the vector store, beside whatever else runs.

mod conditions;

use anyhow::{Context, Result};
use serde_json::json;
use tidemark_sink_core::search::Query;

use crate::arguments::{Common, Search};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::stores;
use crate::workplace::Workplace;

/// Runs it.
pub(crate) async fn run(common: &Common, command: &Search) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let search = stores::search(&workplace)?;
    let collections: Vec<&str> = workplace
        .catalog
        .entities()
        .iter()
        .filter_map(|entity| entity.vector.as_ref())
        .map(|vector| vector.collection.as_str())
        .collect();
    if !collections.contains(&command.collection.as_str()) {
        let text = format!("there is no collection `{}`; there are {}", command.collection, distinct(collections).join(", "));
        return Err(UsageError(text).into());
    }
    if command.text.trim().is_empty() {
        return Err(UsageError("the text to search for is empty".to_owned()).into());
    }
    let filters = conditions::resolve(&workplace.catalog, &command.collection, &command.conditions)?;
    let query =
        Query { collection: command.collection.clone(), text: command.text.clone(), limit: usize::from(command.limit), filters };
    let hits = search.search(query).await.context("searching")?;
    for hit in hits {
        print_line(&if command.json {
            json!({"entity": hit.entity, "key": hit.key, "score": hit.score, "payload": hit.payload}).to_string()
        } else {
            format!("{:.3}  {} {}  {}", hit.score, hit.entity, hit.key, hit.payload)
        })?;
    }
    Ok(Exit::Done)
}

fn distinct(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

//! `state ENTITY [KEY]`: current rows, beside whatever else runs.
//!
//! Reads the state topics up to where they ended at the start; the last record of a key is its row. Keeps the keys in memory, not
//! the rows.

use std::collections::HashMap;

use anyhow::{Result, bail};
use tidemark_log::{Log, ReadLimit};
use tidemark_schemas::json::{timestamp_text, write_row};
use tidemark_schemas::{Entity, State as Row, codec};
use tidemark_sink_core::batch::CONTROL_PREFIX;

use crate::arguments::{Common, State};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::workplace::{Workplace, partitions_of};

/// What one read takes: enough to be fast, little beside the keys.
const LIMIT: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20 };

/// Runs it.
pub(crate) async fn run(common: &Common, command: &State) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let entity = entity_of(&workplace, &command.entity)?.clone();
    let log = workplace.open_existing_log().await?.log;
    let topic = workplace.topics.state(&entity.name);
    let topics = log.topics().await?;
    let mut found = false;
    for partition in 0..partitions_of(&topics, &topic) {
        let bounds = log.bounds(&topic, partition).await?;
        let last = last_offsets(&*log, &topic, partition, bounds.end, command.key.as_deref()).await?;
        let mut offset = bounds.start;
        while offset < bounds.end {
            let batch = log.read(&topic, partition, offset, LIMIT).await?;
            let Some(next) = batch.next_offset() else { break };
            for record in batch.iter().filter(|record| last.get(record.key) == Some(&record.offset)) {
                let row = codec::decode_state(&workplace.catalog, &entity, record.value)?;
                if row.deleted && !command.deleted {
                    continue;
                }
                found = true;
                print_line(&if command.json { json_line(&entity, &row) } else { human_line(&entity, &row) })?;
            }
            offset = next;
        }
    }
    match &command.key {
        Some(key) if !found => bail!("there is no {} `{key}`; one that was deleted shows with --deleted", entity.name),
        _ => Ok(Exit::Done),
    }
}

/// The entity of this name, or an error that says which there are.
pub(crate) fn entity_of<'w>(workplace: &'w Workplace, name: &str) -> Result<&'w std::sync::Arc<Entity>> {
    match workplace.catalog.entity(name) {
        Some(entity) => Ok(entity),
        None => {
            let names: Vec<&str> = workplace.catalog.entities().iter().map(|entity| entity.name.as_str()).collect();
            Err(UsageError(format!("there is no entity `{name}`; there are {}", names.join(", "))).into())
        }
    }
}

async fn last_offsets(log: &dyn Log, topic: &str, partition: u32, end: u64, key: Option<&str>) -> Result<HashMap<Vec<u8>, u64>> {
    let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut offset = log.bounds(topic, partition).await?.start;
    while offset < end {
        let batch = log.read(topic, partition, offset, LIMIT).await?;
        let Some(next) = batch.next_offset() else { break };
        for record in batch.iter().filter(|record| record.offset < end) {
            // Control records are no rows.
            if record.key.starts_with(CONTROL_PREFIX) || key.is_some_and(|key| key.as_bytes() != record.key) {
                continue;
            }
            match last.get_mut(record.key) {
                Some(known) => *known = record.offset,
                None => drop(last.insert(record.key.to_vec(), record.offset)),
            }
        }
        offset = next;
    }
    Ok(last)
}

fn json_line(entity: &Entity, row: &Row<'_>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = format!(
        "{{\"entity\":{},\"key\":{},\"tenant\":{},\"version\":{},\"deleted\":{},\"changed_at\":{},\"row\":",
        text(&entity.name),
        text(&row.key),
        row.tenant.as_deref().map_or_else(|| "null".to_owned(), text),
        row.version,
        row.deleted,
        text(&timestamp_text(row.changed_at)),
    );
    write_row(&entity.record, &row.row, &mut line);
    line.push('}');
    line
}

fn human_line(entity: &Entity, row: &Row<'_>) -> String {
    let deleted = if row.deleted { "  deleted" } else { "" };
    let mut line = format!("{}  version {}  {}{deleted}  ", row.key, row.version, timestamp_text(row.changed_at));
    write_row(&entity.record, &row.row, &mut line);
    line
}

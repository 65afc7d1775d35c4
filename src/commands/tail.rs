//! `tail TOPIC`: the records of a topic, decoded, as they come.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidemark_log::{Log, ReadLimit, RecordRef};
use tidemark_pipelines::engine::schemas;
use tidemark_schemas::codec::DecodeError;
use tidemark_schemas::json::{row_to_json, timestamp_text};
use tidemark_schemas::{Change, Entity, Operation, State, codec};

use crate::arguments::{Common, Tail};
use crate::commands::print_line;
use crate::exit::{Exit, UsageError};
use crate::workplace::Workplace;

/// What one read takes.
const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };

/// Runs it: to the end with `--once`, else until interrupted.
pub(crate) async fn run(common: &Common, command: &Tail) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let log = workplace.open_existing_log().await?.log;
    let topics = log.topics().await?;
    let prefixed = format!("{}.{}", workplace.configuration.log.prefix, command.topic);
    let Some((topic, partitions)) = topics.iter().find(|(name, _)| *name == command.topic || *name == prefixed) else {
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        return Err(UsageError(format!("there is no topic `{}`; there are {}", command.topic, names.join(", "))).into());
    };
    let decoder = Decoder::new(&workplace, &*log, topic);
    let mut appended = log.appended();
    let mut offsets = Vec::new();
    for partition in 0..*partitions {
        offsets.push(start(&*log, topic, partition, &command.from).await?);
    }
    loop {
        appended.mark_unchanged();
        let mut any = false;
        for (partition, offset) in (0_u32..).zip(&mut offsets) {
            let batch = log.read(topic, partition, *offset, LIMIT).await?;
            for record in batch.iter() {
                print_line(&line_of(&decoder, topic, partition, record, command.json))?;
            }
            if let Some(next) = batch.next_offset() {
                (*offset, any) = (next, true);
            }
        }
        if any {
            continue;
        }
        if command.once {
            return Ok(Exit::Done);
        }
        tokio::select! {
            changed = appended.changed() => changed.context("the log was closed")?,
            interrupted = tokio::signal::ctrl_c() => return interrupted.map(|()| Exit::Done).context("waiting for Ctrl-C"),
        }
    }
}

async fn start(log: &dyn Log, topic: &str, partition: u32, from: &str) -> Result<u64> {
    let bounds = log.bounds(topic, partition).await?;
    Ok(match from {
        "earliest" => bounds.start,
        "latest" => bounds.end,
        other => match (other.parse::<u64>(), other.parse::<Timestamp>()) {
            (Ok(offset), _) => {
                if offset > bounds.end {
                    // Standard output is for records.
                    eprintln!("{topic}/{partition} ends at {}: nothing has offset {offset} yet", bounds.end);
                }
                offset
            }
            (_, Ok(time)) => log.offset_at(topic, partition, time.as_microsecond()).await?,
            _ => {
                let text = format!("--from {other}: write earliest, latest, an offset, or a time such as 2026-01-15T10:30:00Z");
                return Err(UsageError(text).into());
            }
        },
    })
}

/// How the values of a topic are read.
struct Decoder<'w> {
    workplace: &'w Workplace,
    log: &'w dyn Log,
    changes_of: Option<Arc<Entity>>,
    states_of: Option<Arc<Entity>>,
}

impl<'w> Decoder<'w> {
    fn new(workplace: &'w Workplace, log: &'w dyn Log, topic: &str) -> Self {
        let entities = workplace.catalog.entities();
        let changes_of = entities.iter().find(|entity| *workplace.topics.changes(&entity.name) == *topic).cloned();
        let states_of = entities.iter().find(|entity| *workplace.topics.state(&entity.name) == *topic).cloned();
        Self { workplace, log, changes_of, states_of }
    }

    fn read(&self, bytes: &[u8]) -> Value {
        let decoded = match self.decode(bytes) {
            Err(DecodeError::UnknownSchema(fingerprint))
                if schemas::learn_foreign(self.log, &self.workplace.catalog, fingerprint) =>
            {
                self.decode(bytes)
            }
            decoded => decoded,
        };
        decoded.unwrap_or_else(|error| json!({"undecodable": error.to_string(), "bytes": bytes.len()}))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        let catalog = &self.workplace.catalog;
        match (&self.changes_of, &self.states_of) {
            (Some(entity), _) => codec::decode_change(catalog, entity, bytes).map(|change| change_json(entity, &change)),
            (_, Some(entity)) => codec::decode_state(catalog, entity, bytes).map(|state| state_json(entity, &state)),
            _ => Ok(serde_json::from_slice(bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes)))),
        }
    }
}

fn line_of(decoder: &Decoder<'_>, topic: &str, partition: u32, record: RecordRef<'_>, as_json: bool) -> String {
    let (key, time) = (String::from_utf8_lossy(record.key), timestamp_text(record.timestamp));
    let value = decoder.read(record.value);
    if as_json {
        let offset = record.offset;
        json!({"topic": topic, "partition": partition, "offset": offset, "time": time, "key": key, "value": value}).to_string()
    } else {
        format!("{partition}:{}  {time}  {key}  {value}", record.offset)
    }
}

fn change_json(entity: &Entity, change: &Change<'_>) -> Value {
    let operation = match change.operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    };
    let fields: Vec<&str> = change.mask.iter().map(|number| field_name(entity, *number)).collect();
    json!({
        "op": operation,
        "tenant": change.tenant,
        "fields": fields,
        "row": change.row.as_ref().map(|row| row_to_json(&entity.record, row)),
        "source": change.source,
        "source_seq": change.source_seq,
        "snapshot": change.snapshot,
        "row_hash": format!("{:016x}", change.row_hash),
        "occurred_at": change.occurred_at.map(timestamp_text),
        "ingested_at": timestamp_text(change.ingested_at),
        "event_id": change.event_id.to_string(),
        "claim": change.claim,
    })
}

fn field_name(entity: &Entity, number: u32) -> &str {
    let column = entity.columns.iter().find(|column| column.number == number);
    column.map_or_else(|| entity.field(number).name.as_str(), |column| column.path.dotted.as_str())
}

fn state_json(entity: &Entity, state: &State<'_>) -> Value {
    let snapshots: Vec<Value> = state
        .snapshots
        .iter()
        .map(|memory| {
            let row = memory.row.as_ref().map(|row| row_to_json(&entity.record, row));
            json!({"source": memory.source, "hash": format!("{:016x}", memory.hash), "row": row})
        })
        .collect();
    json!({
        "tenant": state.tenant,
        "version": state.version,
        "deleted": state.deleted,
        "row": row_to_json(&entity.record, &state.row),
        "changed_at": timestamp_text(state.changed_at),
        "ingested_at": timestamp_text(state.ingested_at),
        "partition": state.position.0,
        "offset": state.position.1,
        "snapshots": snapshots,
    })
}

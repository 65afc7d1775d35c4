//! A second source for keys that also come from files: publishes straight to the embedded log, through its library, while no
//! `tidemark` runs.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::{Append, Log, Topics, partition};
use tidemark_schemas::{Catalog, Change, Entity, Operation, codec, json, row};

use crate::oracle::{Event, Meaning};

/// Name of the source.
pub const SOURCE: &str = "crm";

/// Publishes the events in order; `first_seq` must be above every number used before.
///
/// # Panics
/// When the log refuses.
pub fn publish(data: &Path, first_seq: u64, events: &[(Event, bool)]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(data.join("log.db"))).await.expect("the log opens");
        let catalog = Catalog::built_in();
        let topics = Topics::new("tidemark");
        let counts = log.topics().await.expect("the log lists its topics");
        let mut append = Append::default();
        for (number, (event, snapshot)) in events.iter().enumerate() {
            let entity = catalog.entity(event.entity).expect("a built-in entity");
            let topic = topics.changes(event.entity);
            let (_, partitions) = counts.iter().find(|(name, _)| **name == *topic).expect("the topic is there");
            let change = change_of(entity, event, *snapshot, first_seq + number as u64);
            let place = partition::of(event.key.as_bytes(), *partitions);
            append.record(&topic, place, event.key.as_bytes(), |out| codec::encode_change(entity, &change, out));
        }
        log.append(append).await.expect("the log takes the changes");
    });
}

/// Appends bytes that are no change, and that nobody can read, to the changes of an entity.
///
/// # Panics
/// When the log refuses.
pub fn publish_garbage(data: &Path, entity: &str, key: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(data.join("log.db"))).await.expect("the log opens");
        let mut append = Append::default();
        append.record(&Topics::new("tidemark").changes(entity), 0, key.as_bytes(), |out| out.extend_from_slice(b"no change"));
        log.append(append).await.expect("the log takes any bytes");
    });
}

fn change_of<'e>(entity: &Entity, event: &'e Event, snapshot: bool, source_seq: u64) -> Change<'e> {
    let (operation, given, mask) = match &event.meaning {
        Meaning::Row(row) => (Operation::Insert, Some(row.clone()), Vec::new()),
        Meaning::Patch(patch) => {
            let mut row = serde_json::json!({ &entity.key[0].dotted: event.key });
            for (path, value) in patch {
                let pointer: &mut Value = path.split('.').fold(&mut row, |place, name| &mut place[name]);
                *pointer = value.clone();
            }
            let mut mask: Vec<u32> = patch.keys().map(|path| number_of(entity, path)).collect();
            mask.sort_unstable();
            (Operation::Update, Some(row), mask)
        }
        Meaning::Gone => (Operation::Delete, None, Vec::new()),
        Meaning::Refused(_) => panic!("the second source sends nothing that must be refused"),
    };
    let row = given.map(|given| json::row_from_json(&entity.record, &given).expect("a canonical row"));
    Change {
        key: Cow::Borrowed(&event.key),
        tenant: row.as_ref().and_then(|row| entity.tenant_of(row)).map(|tenant| Cow::Owned(tenant.to_owned())),
        operation,
        mask,
        row_hash: row.as_ref().map_or(0, |row| row::hash(&entity.record, row)),
        row,
        source: Cow::Borrowed(SOURCE),
        source_seq,
        snapshot,
        occurred_at: None,
        ingested_at: 1_768_000_000_000_000,
        event_id: tidemark_schemas::change::event_id(SOURCE, source_seq),
        claim: Cow::Borrowed(""),
    }
}

/// The mask number of a dotted path.
fn number_of(entity: &Entity, path: &str) -> u32 {
    let mut record = &entity.record;
    let mut number = 0;
    for name in path.split('.') {
        let field = record.fields.iter().find(|field| field.name == name).expect("a field of the entity");
        number = field.number;
        if let tidemark_schemas::entity::FieldType::Record(nested) = &field.kind {
            record = nested;
        }
    }
    number
}

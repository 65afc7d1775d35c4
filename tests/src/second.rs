//! A second source for keys that also come from files: publishes straight to the log, through its library. The embedded log takes
//! that while no `tidemark` runs, Kafka at any time.

use std::path::Path;

use serde_json::Value;
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Append, Log, Topics, partition};
use tidemark_schemas::{Catalog, Change, Entity, Operation, codec, json};

use crate::change;
use crate::oracle::{Event, Meaning};
use crate::runtime::finish;

/// Name of the source.
pub const SOURCE: &str = "crm";

/// Which log.
#[derive(Debug, Clone, Copy)]
pub enum LogPlace<'a> {
    /// The one of a data folder.
    Embedded(&'a Path),
    /// On Kafka.
    Kafka {
        /// `host:port`.
        brokers: &'a str,
        /// Before its topics.
        prefix: &'a str,
    },
}

impl<'a> From<&'a Path> for LogPlace<'a> {
    fn from(data: &'a Path) -> Self {
        Self::Embedded(data)
    }
}

impl LogPlace<'_> {
    fn topics(&self) -> Topics {
        Topics::new(if let Self::Kafka { prefix, .. } = self { prefix } else { "tidemark" })
    }

    async fn open(&self) -> Box<dyn Log> {
        match self {
            Self::Embedded(data) => {
                Box::new(EmbeddedLog::open(EmbeddedOptions::new(data.join("log.db"))).await.expect("the log opens"))
            }
            Self::Kafka { brokers, prefix } => {
                Box::new(KafkaLog::open_existing(KafkaOptions::new(*brokers, *prefix)).await.expect("the log opens"))
            }
        }
    }
}

/// Publishes the events in order; `first_seq` must be above every number used before.
///
/// # Panics
/// When the log refuses.
pub fn publish<'a>(place: impl Into<LogPlace<'a>>, first_seq: u64, events: &[(Event, bool)]) {
    let place = place.into();
    let (catalog, topics) = (Catalog::built_in(), place.topics());
    finish(async {
        let log = place.open().await;
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
pub fn publish_garbage<'a>(place: impl Into<LogPlace<'a>>, entity: &str, key: &str) {
    let place = place.into();
    finish(async {
        let mut append = Append::default();
        append.record(&place.topics().changes(entity), 0, key.as_bytes(), |out| out.extend_from_slice(b"no change"));
        place.open().await.append(append).await.expect("the log takes any bytes");
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
    Change { operation, mask, snapshot, ..change::of(entity, &event.key, row, SOURCE, source_seq) }
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

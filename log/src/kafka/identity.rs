//! Which log this is: the first record of a compacted topic, made once.
//!
//! Every process that finds none writes one under its own random id and reads again: the first one wins for all, and since each
//! has a key of its own, compaction keeps them in that order. A raised generation is a record under the key `generation`.

use std::sync::Arc;

use uuid::Uuid;

use super::broker::Broker;
use super::lanes::Lanes;
use super::plain::PlainProducer;
use crate::blocking::blocking;
use crate::port::{LogError, LogIdentity, ReadLimit};
use crate::record::Append;

/// Key of the records that raise the generation.
const GENERATION: &str = "generation";
/// The topic has a handful of records; larger reads would change nothing.
const LIMIT: ReadLimit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20 };

/// `<prefix>.identity`.
pub(super) fn topic(prefix: &str) -> String {
    format!("{prefix}.identity")
}

/// The log's identity; made when there is none.
pub(super) async fn learn_or_make(
    broker: &Arc<Broker>,
    lanes: &Arc<Lanes>,
    producer: &Arc<PlainProducer>,
    prefix: &str,
) -> Result<LogIdentity, LogError> {
    if let Some(identity) = learn(broker, lanes, prefix).await? {
        return Ok(identity);
    }
    let mine = LogIdentity { id: Uuid::new_v4(), generation: 0 };
    put(producer, prefix, mine.id.to_string(), mine).await?;
    // somebody else may have been first
    learn(broker, lanes, prefix).await?.ok_or_else(|| LogError::Unavailable {
        step: format!("reading {}", topic(prefix)),
        cause: "the record that was just written is not there".into(),
    })
}

/// Writes the identity with a raised generation.
pub(super) async fn raise(producer: &Arc<PlainProducer>, prefix: &str, identity: LogIdentity) -> Result<(), LogError> {
    put(producer, prefix, GENERATION.to_owned(), identity).await
}

async fn put(producer: &Arc<PlainProducer>, prefix: &str, key: String, identity: LogIdentity) -> Result<(), LogError> {
    let mut append = Append::default();
    let text = serde_json::to_vec(&identity).expect("an identity is plain data");
    append.record(&topic(prefix).into(), 0, key.as_bytes(), |out| out.extend_from_slice(&text));
    let producer = Arc::clone(producer);
    blocking("writing the log's identity", move || producer.append(&append)).await.map(|_| ())
}

/// Reads the whole topic.
pub(super) async fn learn(broker: &Arc<Broker>, lanes: &Arc<Lanes>, prefix: &str) -> Result<Option<LogIdentity>, LogError> {
    let topic = topic(prefix);
    let (asked, of) = (Arc::clone(broker), topic.clone());
    let mut offset = blocking("reading the log's identity", move || asked.bounds(&of, 0)).await?.start;
    let (mut first, mut generation) = (None::<LogIdentity>, 0);
    loop {
        let batch = lanes.read(&topic, 0, offset, LIMIT).await?;
        for record in batch.iter() {
            let identity: LogIdentity = serde_json::from_slice(record.value).map_err(|_| {
                let offset = record.offset;
                LogError::Damaged(format!(
                    "{topic} offset {offset} is no identity of a log; is the prefix `{prefix}` used by another program?"
                ))
            })?;
            if record.key == GENERATION.as_bytes() {
                generation = generation.max(identity.generation);
            } else if first.is_none() {
                first = Some(identity);
            }
        }
        let Some(next) = batch.next_offset() else { break };
        offset = next;
    }
    Ok(first.map(|identity| LogIdentity { generation: identity.generation.max(generation), ..identity }))
}

//! Which log this is: the first record of a compacted topic, made once.
//!
//! Every process that finds none writes one under its own random id and reads again: the first one wins for all, and since each
//! has a key of its own, compaction keeps them in that order. A raised generation is a record under the key `generation`.

use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;

use std::time::{Duration, Instant};

use super::broker::Broker;
use super::client::{ANSWER, Settings, answer};
use super::plain::PlainProducer;
use crate::port::{LogError, LogIdentity};
use crate::record::Append;

/// Key of the records that raise the generation.
const GENERATION: &str = "generation";

/// `<prefix>.identity`.
pub(super) fn topic(prefix: &str) -> String {
    format!("{prefix}.identity")
}

/// The log's identity; made when there is none.
pub(super) fn learn_or_make(
    settings: &Settings,
    broker: &Broker,
    producer: &PlainProducer,
    prefix: &str,
) -> Result<LogIdentity, LogError> {
    if let Some(identity) = learn(settings, broker, prefix)? {
        return Ok(identity);
    }
    let mine = LogIdentity { id: Uuid::new_v4(), generation: 0 };
    put(producer, prefix, &mine.id.to_string(), mine)?;
    // somebody else may have been first
    learn(settings, broker, prefix)?.ok_or_else(|| LogError::Unavailable {
        step: format!("reading {}", topic(prefix)),
        cause: "the record that was just written is not there".into(),
    })
}

/// Writes the identity with a raised generation.
pub(super) fn raise(producer: &PlainProducer, prefix: &str, identity: LogIdentity) -> Result<(), LogError> {
    put(producer, prefix, GENERATION, identity)
}

fn put(producer: &PlainProducer, prefix: &str, key: &str, identity: LogIdentity) -> Result<(), LogError> {
    let mut append = Append::default();
    let text = serde_json::to_vec(&identity).expect("an identity is plain data");
    append.record(&topic(prefix).into(), 0, key.as_bytes(), |out| out.extend_from_slice(&text));
    producer.append(&append).map(|_| ())
}

/// Reads the whole topic, which has a handful of records.
pub(super) fn learn(settings: &Settings, broker: &Broker, prefix: &str) -> Result<Option<LogIdentity>, LogError> {
    let topic = topic(prefix);
    let bounds = broker.bounds(&topic, 0)?;
    if bounds.start == bounds.end {
        return Ok(None);
    }
    let step = || format!("reading {topic}");
    let consumer = settings.consumer(&format!("{prefix}-look"), 1 << 20)?;
    let mut from = TopicPartitionList::new();
    answer(step(), from.add_partition_offset(&topic, 0, Offset::Beginning))?;
    answer(step(), consumer.assign(&from))?;
    let (mut first, mut generation) = (None::<LogIdentity>, 0);
    let deadline = Instant::now() + ANSWER;
    loop {
        if Instant::now() > deadline {
            return Err(LogError::Unavailable { step: step(), cause: "its records do not arrive".into() });
        }
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else { continue };
        // what is wrong for the moment ends by the deadline
        let Ok(message) = polled else { continue };
        let identity: LogIdentity = message.payload().and_then(|text| serde_json::from_slice(text).ok()).ok_or_else(|| {
            let offset = message.offset();
            LogError::Damaged(format!(
                "{topic} offset {offset} is no identity of a log; is the prefix `{prefix}` used by another program?"
            ))
        })?;
        if message.key() == Some(GENERATION.as_bytes()) {
            generation = generation.max(identity.generation);
        } else if first.is_none() {
            first = Some(identity);
        }
        if u64::try_from(message.offset()).is_ok_and(|offset| offset + 1 >= bounds.end) {
            break;
        }
    }
    super::client::retire("consumer of the identity", consumer);
    Ok(first.map(|identity| LogIdentity { generation: identity.generation.max(generation), ..identity }))
}

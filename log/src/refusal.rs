//! What every adapter refuses, in the same words, before it has written anything.

use crate::port::{ConsumerPosition, LogError, TopicSpec};
use crate::record::{Append, RECORD_BYTES_MAX};

/// Partitions of one topic: more gain nothing on one machine, and each is a table in the embedded log.
const PARTITIONS_MAX: u32 = 1024;

/// A consumer, a topic and a partition.
pub(crate) type PositionKey = (String, String, u32);

/// A record over the limit: repeating it cannot help.
pub(crate) fn check_sizes(append: &Append) -> Result<(), LogError> {
    for record in append.records() {
        let bytes = record.key.len() + record.value.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(LogError::Fatal {
                step: format!("appending to {}", record.topic),
                cause: format!("a record has {bytes} bytes, the largest that is taken {RECORD_BYTES_MAX}").into(),
            });
        }
    }
    Ok(())
}

/// A position that is not where the caller believes it to be. One append may move the same position more than once.
pub(crate) fn check_positions(
    positions: &[ConsumerPosition],
    stored: impl Fn(&PositionKey) -> Option<u64>,
) -> Result<(), LogError> {
    for (index, position) in positions.iter().enumerate() {
        let before = positions[..index].iter().rev().find(|other| {
            other.partition == position.partition && other.topic == position.topic && other.consumer == position.consumer
        });
        let found = match before {
            Some(other) => other.next,
            None => stored(&position.key()).unwrap_or(0),
        };
        if found != position.from {
            return Err(LogError::Stale {
                consumer: position.consumer.clone(),
                topic: position.topic.clone(),
                partition: position.partition,
                expected: position.from,
                found,
            });
        }
    }
    Ok(())
}

/// A topic without partitions or with too many.
pub(crate) fn check_spec(spec: &TopicSpec) -> Result<(), LogError> {
    if (1..=PARTITIONS_MAX).contains(&spec.partitions) {
        return Ok(());
    }
    Err(refused(spec, format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {}", spec.partitions)))
}

/// A topic that has another number of partitions.
pub(crate) fn refused_partitions(spec: &TopicSpec, found: u32) -> LogError {
    refused(spec, format!("it has {found} partitions, not {}; keys would change their partition", spec.partitions))
}

/// A topic or partition that is not there.
pub(crate) fn no_such(topic: &str, partition: u32) -> LogError {
    LogError::NoSuchTopic(format!("{topic}/{partition}"))
}

fn refused(spec: &TopicSpec, why: String) -> LogError {
    LogError::Fatal { step: format!("creating topic {}", spec.name), cause: why.into() }
}

impl ConsumerPosition {
    pub(crate) fn key(&self) -> PositionKey {
        (self.consumer.clone(), self.topic.clone(), self.partition)
    }
}

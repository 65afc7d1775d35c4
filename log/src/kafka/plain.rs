//! Appends without positions: idempotent, acknowledged by all replicas, in order within each partition.
//!
//! Guarantees: records of the progress topic are sent only after all others of the append are acknowledged, because a checkpoint
//! must not overtake what it speaks of. On failure some of the records may be there; none of a partition without those before it.
//! A producer that failed is given up with all that waits in it, so that nothing late comes after a repetition.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::producer::{Producer as _, PurgeConfig};

use super::client::{Settings, failed, retire};
use super::delivery::{Deliveries, Producer};
use crate::port::LogError;
use crate::record::Append;

/// Longer than the library's own time-out of a record, which says more about the cause.
const PATIENCE: Duration = Duration::from_secs(45);

/// The producer that all appends without positions share.
pub(super) struct PlainProducer {
    settings: Settings,
    /// Full name of the topic that comes last.
    progress: String,
    producer: Mutex<Option<Arc<Producer>>>,
}

impl PlainProducer {
    pub(super) fn new(settings: &Settings, prefix: &str) -> Self {
        Self { settings: settings.clone(), progress: format!("{prefix}.progress"), producer: Mutex::new(None) }
    }

    /// Appends, waiting. Returns the offsets by record. `times`, by record, are what a copy says of its records; empty otherwise.
    pub(super) fn append(&self, append: &Append, times: &[i64]) -> Result<Vec<u64>, LogError> {
        let producer = self.current()?;
        let deliveries = Deliveries::new(append.len());
        let last = |topic: &str| topic == self.progress;
        for checkpoints in [false, true] {
            // The records of one append lie together as far as the library lets them.
            for (index, record) in append.records().enumerate().filter(|(_, record)| last(record.topic) == checkpoints) {
                let sent = deliveries.send(&producer, index, record, times.get(index).copied());
                sent.map_err(|error| self.give_up(&producer, format!("appending to {}", record.topic), error))?;
            }
            deliveries.wait(PATIENCE).map_err(|error| self.give_up(&producer, "appending".to_owned(), error))?;
        }
        Ok(deliveries.offsets())
    }

    fn current(&self) -> Result<Arc<Producer>, LogError> {
        let mut current = self.lock();
        if let Some(producer) = &*current {
            return Ok(Arc::clone(producer));
        }
        let producer = Arc::new(self.settings.producer::<Producer, _>(None, super::delivery::Acknowledged)?);
        *current = Some(Arc::clone(&producer));
        Ok(producer)
    }

    fn give_up(&self, producer: &Arc<Producer>, step: String, error: rdkafka::error::KafkaError) -> LogError {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, producer)) {
            *current = None;
        }
        drop(current);
        // the library would go on trying
        producer.purge(PurgeConfig::default().queue().inflight());
        // Only the record itself is beyond repetition; whatever became of the producer, the next append has another one.
        match failed(step, error) {
            LogError::Fatal { step, cause } if !is_about_the_record(&*cause) => LogError::Unavailable { step, cause },
            error => error,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Producer>>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PlainProducer {
    fn drop(&mut self) {
        if let Some(producer) = self.lock().take() {
            retire("producer", producer);
        }
    }
}

fn is_about_the_record(cause: &(dyn std::error::Error + 'static)) -> bool {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    cause.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code).is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    })
}

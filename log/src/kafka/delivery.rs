//! Acknowledgements: one waiting place for all records of an append.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::client::Quiet;
use crate::record::NewRecord;

pub(super) type Producer = ThreadedProducer<Acknowledged>;

/// How long a full send queue is waited for between two looks.
const QUEUE_LOOK: Duration = Duration::from_millis(2);

/// Counts the acknowledgements of one append.
#[derive(Debug)]
pub(super) struct Deliveries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// By record; meaningful once none is open.
    offsets: Vec<u64>,
    open: usize,
    error: Option<KafkaError>,
}

/// One record's place among the deliveries.
pub(super) struct Place {
    deliveries: Arc<Deliveries>,
    index: usize,
}

impl Deliveries {
    pub(super) fn new(records: usize) -> Arc<Self> {
        let state = State { offsets: vec![0; records], open: 0, error: None };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Hands the record to the producer, waiting for room in its queue. Acknowledgement comes later. A time (UTC microseconds)
    /// counts only on a topic that takes its writers' word for it.
    pub(super) fn send(
        self: &Arc<Self>,
        producer: &Producer,
        index: usize,
        record: NewRecord<'_>,
        time: Option<i64>,
    ) -> Result<(), KafkaError> {
        let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
        self.lock().open += 1;
        let place = Box::new(Place { deliveries: Arc::clone(self), index });
        let mut ready =
            BaseRecord::with_opaque_to(record.topic, place).partition(partition).key(record.key).payload(record.value);
        if let Some(time) = time {
            ready = ready.timestamp(time.div_euclid(1000));
        }
        loop {
            match producer.send(ready) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    ready = again;
                    std::thread::park_timeout(QUEUE_LOOK);
                }
                Err((error, _)) => {
                    self.lock().open -= 1;
                    return Err(error);
                }
            }
        }
    }

    /// Waits until everything that was sent is acknowledged or has failed. The library ends each wait by its own time-outs.
    pub(super) fn wait(&self, patience: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// The offsets, by record.
    pub(super) fn offsets(&self) -> Vec<u64> {
        self.lock().offsets.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the deliveries what came of a record.
pub(super) struct Acknowledged;

impl ClientContext for Acknowledged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Quiet.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        let mut state = place.deliveries.lock();
        match result {
            Ok(message) => state.offsets[place.index] = u64::try_from(message.offset()).unwrap_or(0),
            Err((error, _)) => {
                state.error.get_or_insert_with(|| error.clone());
            }
        }
        state.open -= 1;
        if state.open == 0 {
            place.deliveries.changed.notify_all();
        }
    }
}

//! Appends with positions: one transaction each, by a producer per consumer and partition number.
//!
//! Guarantees: records and positions become visible together or not at all. The transactional id is `<prefix>-<consumer>-<p>`, so
//! whoever takes over a partition number ends the open transaction of its former owner at once and fences it; a fenced one gets
//! `Stale` and nothing of it is ever seen.
//! On failure: the transaction is aborted where that is certain, else its producer is given up, and the next take-over decides what
//! became of it. Both are `Unavailable`.
//! Deliberately not here: keeping positions when nobody runs for longer than brokers keep offsets (a week by default). A consumer
//! that finds none starts at 0, and high-water marks make what it reads again repeats.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::Offset;

use super::client::{ANSWER, Consumer, Settings, answer, failed, retire};
use super::delivery::{Acknowledged, Deliveries, Producer};
use crate::crash;
use crate::port::{ConsumerPosition, LogError};
use crate::record::Append;
use crate::refusal::{PositionKey, check_positions};

/// Longer than the library's own time-out of a record, which says more about the cause.
const PATIENCE: Duration = Duration::from_secs(45);
/// What a group may hold ready to read: it only looks at offsets.
const LOOKING_BYTES: usize = 1 << 20;
/// How often the positions of a producer's partition number are all written again: well within the time (a week by default)
/// after which a broker forgets offsets that nobody renews.
const RENEW_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Consumers and their producers.
pub(super) struct Transactions {
    settings: Settings,
    prefix: String,
    owners: Mutex<HashMap<(String, u32), OwnerPlace>>,
    groups: Mutex<HashMap<String, Arc<Consumer>>>,
}

/// Where the owner of one consumer's positions on one partition number is, if there is one; locked for one append.
type OwnerPlace = Arc<Mutex<Option<Owner>>>;

/// A producer that owns the positions of one consumer on one partition number.
struct Owner {
    producer: Producer,
    positions: HashMap<PositionKey, u64>,
    renewed: Instant,
}

impl Transactions {
    pub(super) fn new(settings: &Settings, prefix: &str) -> Self {
        Self { settings: settings.clone(), prefix: prefix.to_owned(), owners: Mutex::default(), groups: Mutex::default() }
    }

    /// Makes this process the only one that may move the consumer's positions on this partition number of these topics; returns them.
    pub(super) fn take_over(
        &self,
        consumer: &str,
        partition: u32,
        topics: &[(String, u32)],
    ) -> Result<Vec<(String, u32, u64)>, LogError> {
        let place = self.place(consumer, partition);
        let mut owner = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = owner.take() {
            retire("transactional producer", former);
        }
        let current = owner.insert(self.own(consumer, partition, topics)?);
        Ok(current.positions.iter().map(|((_, topic, number), next)| (topic.clone(), *number, *next)).collect())
    }

    /// Appends in a transaction, waiting. Returns the offsets by record.
    pub(super) fn append(&self, append: &Append, topics: &[(String, u32)]) -> Result<Vec<u64>, LogError> {
        let (consumer, partition) = owned_by(append.positions())?;
        let place = self.place(consumer, partition);
        let mut owner = place.lock().unwrap_or_else(PoisonError::into_inner);
        if owner.is_none() {
            *owner = Some(self.own(consumer, partition, topics)?);
        }
        let Some(current) = owner.as_mut() else { unreachable!("it was made above") };
        check_positions(append.positions(), |key| current.positions.get(key).copied())?;
        match self.commit(current, append, consumer) {
            Ok(offsets) => {
                for position in append.positions() {
                    current.positions.insert(position.key(), position.next);
                }
                Ok(offsets)
            }
            Err(failure) => {
                let fenced = failure.fenced(&current.producer);
                if fenced || !failure.aborted {
                    retire("transactional producer", owner.take());
                }
                if fenced {
                    return Err(self.stale(append.positions()));
                }
                match failed(failure.step, failure.error) {
                    // another producer may do what this one cannot any more, unless it is the record's own fault
                    LogError::Fatal { step, cause } if !failure.aborted => Err(LogError::Unavailable { step, cause }),
                    error => Err(error),
                }
            }
        }
    }

    /// Writes the positions of owners again that had nothing to do for long: brokers forget offsets that nobody renews.
    pub(super) fn renew(&self) {
        let owners: Vec<_> = {
            let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            owners.iter().map(|((consumer, _), place)| (consumer.clone(), Arc::clone(place))).collect()
        };
        for (consumer, place) in owners {
            // an owner that is at work renews by itself
            let Ok(mut owner) = place.try_lock() else { continue };
            let Some(current) = owner.as_mut().filter(|owner| !owner.positions.is_empty()) else { continue };
            if current.renewed.elapsed() < RENEW_EVERY {
                continue;
            }
            if let Err(failure) = self.commit(current, &Append::default(), &consumer) {
                tracing::warn!(consumer, step = failure.step, error = %failure.error, "positions not renewed");
                if !failure.aborted {
                    // what became of it is found out when it is taken over again
                    retire("transactional producer", owner.take());
                }
            }
        }
    }

    /// The consumer's stored positions on all partitions of these topics, waiting for transactions that are about to end.
    pub(super) fn positions(&self, consumer: &str, topics: &[(String, u32)]) -> Result<Vec<(String, u32, u64)>, LogError> {
        let places = topics.iter().flat_map(|(topic, partitions)| (0..*partitions).map(move |partition| (&**topic, partition)));
        self.stored(consumer, places)
    }

    /// The same on some partitions; waits for transactions of these only.
    fn stored<'t>(
        &self,
        consumer: &str,
        places: impl Iterator<Item = (&'t str, u32)>,
    ) -> Result<Vec<(String, u32, u64)>, LogError> {
        let mut wanted = TopicPartitionList::new();
        for (topic, partition) in places {
            wanted.add_partition(topic, kafka_number(partition));
        }
        if wanted.count() == 0 {
            return Ok(Vec::new());
        }
        let step = || format!("reading the positions of {consumer}");
        let found = answer(step(), self.group(consumer)?.committed_offsets(wanted, ANSWER))?;
        let mut positions = Vec::new();
        for element in found.elements() {
            element.error().map_err(|error| failed(step(), error))?;
            if let Offset::Offset(next) = element.offset() {
                let (Ok(partition), Ok(next)) = (u32::try_from(element.partition()), u64::try_from(next)) else { continue };
                positions.push((element.topic().to_owned(), partition, next));
            }
        }
        Ok(positions)
    }

    fn place(&self, consumer: &str, partition: u32) -> OwnerPlace {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(owners.entry((consumer.to_owned(), partition)).or_default())
    }

    fn group(&self, consumer: &str) -> Result<Arc<Consumer>, LogError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(consumer) {
            return Ok(Arc::clone(group));
        }
        let group = Arc::new(self.settings.consumer(&format!("{}-{consumer}", self.prefix), LOOKING_BYTES)?);
        groups.insert(consumer.to_owned(), Arc::clone(&group));
        Ok(group)
    }

    fn own(&self, consumer: &str, partition: u32, topics: &[(String, u32)]) -> Result<Owner, LogError> {
        let id = format!("{}-{consumer}-{partition}", self.prefix);
        let producer = self.settings.producer::<Producer, _>(Some(&id), Acknowledged)?;
        // ends whatever a former owner left open; from here on it is fenced
        answer(format!("taking over {id}"), producer.init_transactions(ANSWER))?;
        let with_number = topics.iter().filter(|(_, partitions)| partition < *partitions);
        let stored = self.stored(consumer, with_number.map(|(topic, _)| (&**topic, partition)))?;
        let positions = stored.into_iter().map(|(topic, number, next)| ((consumer.to_owned(), topic, number), next)).collect();
        let long_ago = Instant::now().checked_sub(RENEW_EVERY).unwrap_or_else(Instant::now);
        Ok(Owner { producer, positions, renewed: long_ago })
    }

    fn commit(&self, owner: &mut Owner, append: &Append, consumer: &str) -> Result<Vec<u64>, Failed> {
        let producer = &owner.producer;
        let first = |error| Failed { step: "beginning a transaction".to_owned(), error, aborted: false };
        producer.begin_transaction().map_err(first)?;
        let renew = owner.renewed.elapsed() >= RENEW_EVERY;
        let known = if renew { Some(&owner.positions) } else { None };
        let work = || -> Result<Vec<u64>, (String, KafkaError)> {
            let deliveries = Deliveries::new(append.len());
            for (index, record) in append.records().enumerate() {
                let sent = deliveries.send(producer, index, record, None);
                sent.map_err(|error| (format!("appending to {}", record.topic), error))?;
            }
            deliveries.wait(PATIENCE).map_err(|error| ("appending".to_owned(), error))?;
            let with_positions = |error| (format!("moving the positions of {consumer}"), error);
            let group = self.group(consumer).map_err(|_| with_positions(KafkaError::Canceled))?;
            let group = group.group_metadata().ok_or_else(|| with_positions(KafkaError::Canceled))?;
            let offsets = offsets_of(append.positions(), known).map_err(with_positions)?;
            producer.send_offsets_to_transaction(&offsets, &group, ANSWER).map_err(with_positions)?;
            crash::point("kafka.open-transaction");
            Ok(deliveries.offsets())
        };
        let done = work().and_then(|offsets| {
            let deadline = Instant::now() + ANSWER;
            loop {
                match producer.commit_transaction(ANSWER) {
                    Ok(()) => return Ok(offsets),
                    // resumed where it stopped: the outcome is still open and it alone can tell
                    Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                    Err(error) => return Err(("committing a transaction".to_owned(), error)),
                }
            }
        });
        if renew && done.is_ok() {
            owner.renewed = Instant::now();
        }
        done.map_err(|(step, error)| {
            // a commit whose outcome is unknown must not be turned into an abort that the caller believes in
            let certain = !matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            let aborted = certain && owner.producer.abort_transaction(ANSWER).is_ok();
            Failed { step, error, aborted }
        })
    }

    /// What a fenced caller is told: where the first of its positions stands now.
    fn stale(&self, positions: &[ConsumerPosition]) -> LogError {
        let Some(position) = positions.first() else { unreachable!("an append without positions is no transaction") };
        match self.stored(&position.consumer, std::iter::once((&*position.topic, position.partition))) {
            Err(error) => error,
            Ok(found) => LogError::Stale {
                consumer: position.consumer.clone(),
                topic: position.topic.clone(),
                partition: position.partition,
                expected: position.from,
                found: found.first().map_or(0, |(_, _, next)| *next),
            },
        }
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        let owners = std::mem::take(&mut *self.owners.lock().unwrap_or_else(PoisonError::into_inner));
        let groups = std::mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        if !owners.is_empty() {
            retire("transactional producers", owners);
        }
        if !groups.is_empty() {
            retire("consumers that look at offsets", groups);
        }
    }
}

/// Why a transaction was not committed.
struct Failed {
    step: String,
    error: KafkaError,
    /// It is certain that nothing of it will be seen, and its producer can go on.
    aborted: bool,
}

impl Failed {
    fn fenced(&self, producer: &Producer) -> bool {
        let fences = |code| matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch);
        self.error.rdkafka_error_code().is_some_and(fences)
            || producer.client().fatal_error().is_some_and(|(code, _)| fences(code))
    }
}

/// The consumer and partition number that all positions of an append belong to.
fn owned_by(positions: &[ConsumerPosition]) -> Result<(&str, u32), LogError> {
    let Some(first) = positions.first() else { unreachable!("an append without positions is no transaction") };
    match positions.iter().all(|position| position.consumer == first.consumer && position.partition == first.partition) {
        true => Ok((&first.consumer, first.partition)),
        false => Err(LogError::Fatal {
            step: "appending with positions".to_owned(),
            cause: "positions of several consumers or partition numbers cannot be in one transaction".into(),
        }),
    }
}

/// The new positions, over the known ones where all are to be renewed.
fn offsets_of(
    positions: &[ConsumerPosition],
    known: Option<&HashMap<PositionKey, u64>>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut last: HashMap<(&str, u32), u64> = HashMap::new();
    for ((_, topic, partition), next) in known.into_iter().flatten() {
        last.insert((topic, *partition), *next);
    }
    for position in positions {
        last.insert((&position.topic, position.partition), position.next);
    }
    let mut list = TopicPartitionList::with_capacity(last.len());
    for ((topic, partition), next) in last {
        let next = i64::try_from(next).unwrap_or(i64::MAX);
        list.add_partition_offset(topic, kafka_number(partition), Offset::Offset(next))?;
    }
    Ok(list)
}

/// A partition number as the library has it.
pub(super) fn kafka_number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

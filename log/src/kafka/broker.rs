//! What is asked of the broker without reading: topics, bounds, offsets by time. Remembers partition counts, which never fall, and
//! the ends that are known to be readable.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset;

use super::client::{ANSWER, Consumer, Settings, answer, failed, retire};
use super::transaction::kafka_number;
use crate::port::{Bounds, LogError};
use crate::refusal::no_such;

/// What this consumer may hold ready to read: it reads nothing.
const LOOKING_BYTES: usize = 1 << 20;

/// A topic that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) partitions: u32,
    /// Of the partition that has the fewest.
    pub(super) replicas: u32,
}

/// Asks the broker.
pub(super) struct Broker {
    consumer: Option<Arc<Consumer>>,
    settings: Settings,
    prefix: String,
    topics: Mutex<BTreeMap<String, u32>>,
    /// Per topic and partition: offset up to which everything can be read.
    ends: Mutex<HashMap<String, Vec<u64>>>,
}

impl Broker {
    pub(super) fn new(settings: &Settings, prefix: &str) -> Result<Self, LogError> {
        let consumer = Some(Arc::new(settings.consumer(&group(prefix), LOOKING_BYTES)?));
        let settings = settings.clone();
        Ok(Self { consumer, settings, prefix: prefix.to_owned(), topics: Mutex::default(), ends: Mutex::default() })
    }

    fn consumer(&self) -> &Consumer {
        self.consumer.as_deref().expect("taken only when dropped")
    }

    /// All topics of this log with their partition counts, ours for bookkeeping included. Asks the broker.
    pub(super) fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        Ok(self.look()?.into_iter().map(|(name, found)| (name, found.partitions)).collect())
    }

    /// The same, with what else there is to know of them.
    pub(super) fn look(&self) -> Result<BTreeMap<String, Found>, LogError> {
        let metadata = answer("listing topics", self.consumer().fetch_metadata(None, ANSWER))?;
        let ours = format!("{}.", self.prefix);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut all = BTreeMap::new();
        for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with(&ours)) {
            let Some(replicas) = topic.partitions().iter().map(|partition| partition.replicas().len()).min() else { continue };
            let found = Found { partitions: number(topic.partitions().len()), replicas: number(replicas) };
            all.insert(topic.name().to_owned(), found);
        }
        *self.lock_topics() = all.iter().map(|(name, found)| (name.clone(), found.partitions)).collect();
        Ok(all)
    }

    /// The same, as known; asks only when nothing is known.
    pub(super) fn topics_known(&self) -> Result<Vec<(String, u32)>, LogError> {
        let known: Vec<_> = self.lock_topics().iter().map(|(name, count)| (name.clone(), *count)).collect();
        if known.is_empty() { self.topics() } else { Ok(known) }
    }

    /// Refuses a topic or partition that is not there.
    pub(super) fn require(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        let there = |topics: &BTreeMap<String, u32>| topics.get(topic).is_some_and(|count| partition < *count);
        if there(&self.lock_topics()) {
            return Ok(());
        }
        self.topics()?;
        if there(&self.lock_topics()) { Ok(()) } else { Err(no_such(topic, partition)) }
    }

    /// First offset, and the one behind what is committed.
    pub(super) fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.require(topic, partition)?;
        let step = || format!("asking for the bounds of {topic}/{partition}");
        let found = self.consumer().fetch_watermarks(topic, kafka_number(partition), ANSWER);
        let (start, end) = answer(step(), found)?;
        let (start, end) = (u64::try_from(start).unwrap_or(0), u64::try_from(end).unwrap_or(0));
        self.raise(topic, partition, end);
        Ok(Bounds { start, end })
    }

    /// From now on reads of this partition wait for everything below the offset that the next record of anybody would get: it is
    /// committed, or under way.
    pub(super) fn include_pending(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        self.require(topic, partition)?;
        // Asked seldom, so this consumer is not kept.
        let looking = self.settings.consumer_of_everything(&group(&self.prefix), LOOKING_BYTES)?;
        let found = looking.fetch_watermarks(topic, kafka_number(partition), ANSWER);
        retire("consumer that looks", looking);
        let (_, end) = answer(format!("asking what is under way on {topic}/{partition}"), found)?;
        self.raise(topic, partition, u64::try_from(end).unwrap_or(0));
        Ok(())
    }

    /// The ends of many partitions by one question to each broker.
    pub(super) fn ends(&self, partitions: &[(Arc<str>, u32)]) -> Result<Vec<u64>, LogError> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            self.require(topic, *partition)?;
            let added = wanted.add_partition_offset(topic, kafka_number(*partition), Offset::End);
            answer("asking for the ends", added)?;
        }
        let found = answer("asking for the ends", self.consumer().offsets_for_times(wanted, ANSWER))?;
        let mut ends = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let element = found.find_partition(topic, kafka_number(*partition));
            let element = element.ok_or_else(|| no_such(topic, *partition))?;
            element.error().map_err(|error| failed(format!("asking for the end of {topic}/{partition}"), error))?;
            let Offset::Offset(end) = element.offset() else { return Err(no_such(topic, *partition)) };
            let end = u64::try_from(end).unwrap_or(0);
            self.raise(topic, *partition, end);
            ends.push(end);
        }
        Ok(ends)
    }

    /// The first offset of that time (UTC microseconds) or later; the broker counts milliseconds.
    pub(super) fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        let bounds = self.bounds(topic, partition)?;
        let milliseconds = time.div_euclid(1000) + i64::from(time.rem_euclid(1000) > 0);
        let step = || format!("searching {topic}/{partition} by time");
        let mut wanted = TopicPartitionList::new();
        // negative times mean something else to the broker, and no record is as old
        let added = wanted.add_partition_offset(topic, kafka_number(partition), Offset::Offset(milliseconds.max(0)));
        answer(step(), added)?;
        let found = answer(step(), self.consumer().offsets_for_times(wanted, ANSWER))?;
        let element = found.find_partition(topic, kafka_number(partition));
        let element = element.ok_or_else(|| no_such(topic, partition))?;
        element.error().map_err(|error| failed(step(), error))?;
        match element.offset() {
            Offset::Offset(offset) => Ok(u64::try_from(offset).unwrap_or(bounds.end)),
            _ => Ok(bounds.end),
        }
    }

    /// How far the partition can be read at least, as far as this process knows.
    pub(super) fn end_known(&self, topic: &str, partition: u32) -> u64 {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(topic).and_then(|ends| ends.get(partition as usize)).copied().unwrap_or(0)
    }

    /// Everything below `end` can be read: it was committed, or will soon be, or never.
    pub(super) fn raise(&self, topic: &str, partition: u32, end: u64) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if !ends.contains_key(topic) {
            ends.insert(topic.to_owned(), Vec::new());
        }
        let Some(ends) = ends.get_mut(topic) else { return };
        let index = partition as usize;
        if ends.len() <= index {
            ends.resize(index + 1, 0);
        }
        ends[index] = ends[index].max(end);
    }

    fn lock_topics(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn group(prefix: &str) -> String {
    format!("{prefix}-look")
}

impl Drop for Broker {
    fn drop(&mut self) {
        retire("consumer that looks", self.consumer.take());
    }
}

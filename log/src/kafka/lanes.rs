//! Reading: consumers that stand where somebody reads on, so that the next read finds its records fetched.
//!
//! A reading position ([`Cursor`]) is one partition of one consumer (a lane) with a queue of its own. A read takes the cursor that
//! stands at its offset; where there is none, one is set there: two stages that read the same topic at different places have two
//! lanes, and a stage that begins anew sets an abandoned cursor back.
//!
//! Guarantees: a read returns nothing only when there is nothing up to the end that was known when it began: what this process
//! appended or has read, what it was told by `bounds`, and for a cursor that was just set what the broker says. Offsets of control
//! and aborted records are passed. What arrives at any cursor wakes the followers. A record framed by an id that was never asked
//! about is held back, and the read ends before it and says so.
//! Bounds: lanes, and bytes fetched ahead per partition.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::{Notify, watch};

use super::broker::Broker;
use super::client::{ANSWER, Consumer, Quiet, Settings, answer, failed, retire};
use super::frames::{Frames, Table};
use super::transaction::kafka_number;
use crate::blocking::blocking;
use crate::port::{LogError, ReadLimit};
use crate::record::RecordBatch;

/// Most lanes: stages that read the same topic in one process, and a few to spare. Each costs a handful of sleeping threads.
const LANES_MAX: usize = 8;
/// A cursor that nobody used for so long is abandoned: followers look more often (see the log's tick).
const ABANDONED: Duration = Duration::from_secs(3);
/// How long records that must be there are waited for before the log counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a batch that has something is held back for what must be there as well.
const FILL: Duration = Duration::from_millis(500);

/// All lanes of a log.
pub(super) struct Lanes {
    settings: Settings,
    group: String,
    queue_bytes: usize,
    broker: Arc<Broker>,
    frames: Arc<Frames>,
    lanes: Mutex<Vec<Lane>>,
    appended: watch::Sender<u64>,
}

/// What a read found.
pub(super) struct Read {
    pub(super) batch: RecordBatch,
    /// The id that the next record is framed by and that somebody must ask about first.
    pub(super) unknown: Option<u32>,
}

/// How far a look at what was fetched came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// Everything is in the batch.
    All,
    /// The batch is full.
    Full,
    /// Up to a record framed by this id.
    UpTo(u32),
}

struct Lane {
    consumer: Arc<Consumer>,
    cursors: HashMap<Place, Slot>,
}

/// Topic and partition.
type Place = (String, u32);

enum Slot {
    Idle(Box<Cursor>),
    Taken,
}

/// A reading position.
struct Cursor {
    queue: PartitionQueue<Quiet>,
    consumer: Arc<Consumer>,
    arrived: Arc<Arrived>,
    /// Offset of the next record that was not handed out.
    next: u64,
    /// Fetched, but it did not fit into the last read.
    held: Option<Held>,
    used: Instant,
    last_error: Option<KafkaError>,
}

struct Held {
    offset: u64,
    timestamp: i64,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Something came to the queue since it was emptied.
struct Arrived {
    flag: AtomicBool,
    notify: Notify,
}

/// The lane for a new cursor, and the cursor of the same place that it takes the place of.
struct Chosen {
    index: usize,
    consumer: Arc<Consumer>,
    former: Option<Box<Cursor>>,
}

/// A cursor in use; goes back to its lane when dropped, also when the read is given up.
struct InUse<'l> {
    lanes: &'l Lanes,
    lane: usize,
    place: Place,
    cursor: Option<Box<Cursor>>,
}

impl Lanes {
    pub(super) fn new(
        settings: &Settings,
        group: String,
        queue_bytes: usize,
        broker: Arc<Broker>,
        frames: Arc<Frames>,
        appended: watch::Sender<u64>,
    ) -> Self {
        Self { settings: settings.clone(), group, queue_bytes, broker, frames, lanes: Mutex::default(), appended }
    }

    /// See [`crate::Log::read`].
    pub(super) async fn read(
        self: &Arc<Self>,
        topic: &str,
        partition: u32,
        offset: u64,
        limit: ReadLimit,
    ) -> Result<Read, LogError> {
        let mut batch = RecordBatch::default();
        let place = (topic.to_owned(), partition);
        let Some(mut in_use) = self.at(place, offset).await? else { return Ok(Read { batch, unknown: None }) };
        // What is appended from here on belongs to the next read.
        let target = self.broker.end_known(topic, partition);
        let started = Instant::now();
        let cursor = in_use.cursor_mut();
        let table = self.frames.table();
        let mut unknown = None;
        loop {
            match cursor.drain(&table, topic, partition, &mut batch, limit)? {
                Drained::All if cursor.next < target => {}
                Drained::All | Drained::Full => break,
                Drained::UpTo(id) => {
                    unknown = Some(id);
                    break;
                }
            }
            let patience = if batch.is_empty() { PATIENCE } else { FILL };
            let Some(left) = patience.checked_sub(started.elapsed()) else { break };
            // the library has no timer of ours: what came between the look and this wait has set the flag
            if !cursor.arrived.flag.load(Ordering::Acquire) {
                let _ = tokio::time::timeout(left.min(Duration::from_millis(200)), cursor.arrived.notify.notified()).await;
            }
        }
        cursor.used = Instant::now();
        if batch.is_empty() && unknown.is_none() && cursor.next < target {
            let step = format!("reading {topic}/{partition} at {}", cursor.next);
            let last_error = cursor.last_error.take();
            return Err(match last_error {
                Some(error) => LogError::Unavailable { step, cause: Box::new(error) },
                None => LogError::Unavailable { step, cause: format!("its records up to {target} do not arrive").into() },
            });
        }
        if cursor.next > offset {
            batch.pass(cursor.next);
            // Whoever goes back over it by another cursor, whose records are still on their way, must find it.
            self.broker.raise(topic, partition, cursor.next);
        }
        Ok(Read { batch, unknown })
    }

    /// The cursor that stands there; `None` when the offset is beyond the end, where nobody can stand.
    async fn at(self: &Arc<Self>, place: Place, offset: u64) -> Result<Option<InUse<'_>>, LogError> {
        let mut stands = offset;
        loop {
            if let Some((lane, cursor)) = self.take_at(&place, stands) {
                return Ok(Some(InUse { lanes: self, lane, place, cursor: Some(cursor) }));
            }
            // It goes into its slot there: whoever gives up waiting for it leaves it to be found.
            let (lanes, wanted) = (Arc::clone(self), place.clone());
            match blocking("setting a reading position", move || lanes.set(&wanted, offset)).await? {
                Some(set) => stands = set,
                None => return Ok(None),
            }
        }
    }

    fn take_at(&self, place: &Place, offset: u64) -> Option<(usize, Box<Cursor>)> {
        let mut lanes = self.lock();
        for (index, lane) in lanes.iter_mut().enumerate() {
            if let Some(slot) = lane.cursors.get_mut(place)
                && matches!(slot, Slot::Idle(cursor) if cursor.next == offset)
                && let Slot::Idle(cursor) = std::mem::replace(slot, Slot::Taken)
            {
                return Some((index, cursor));
            }
        }
        None
    }

    /// Sets a cursor to the offset, waiting for the broker. Where it stands then; `None` when that is beyond the end.
    fn set(&self, place: &Place, offset: u64) -> Result<Option<u64>, LogError> {
        let (topic, partition) = place;
        let bounds = self.broker.bounds(topic, *partition)?;
        if offset > bounds.end {
            return Ok(None);
        }
        let Chosen { index, consumer, former } = self.choose(place)?;
        // Until it is back in its slot, nobody else sees the place.
        let set = self.assign(place, &consumer, former, offset, offset.max(bounds.start));
        match set {
            Ok(mut cursor) => {
                if offset <= bounds.start && bounds.start == bounds.end {
                    cursor.next = bounds.end;
                }
                let stands = cursor.next;
                if let Some(lane) = self.lock().get_mut(index) {
                    lane.cursors.insert(place.clone(), Slot::Idle(cursor));
                }
                Ok(Some(stands))
            }
            Err(error) => {
                let mut gone = TopicPartitionList::new();
                gone.add_partition(topic, kafka_number(*partition));
                if let Err(error) = consumer.incremental_unassign(&gone) {
                    tracing::debug!(%error, "reading position was not set at all");
                }
                if let Some(lane) = self.lock().get_mut(index) {
                    lane.cursors.remove(place);
                }
                Err(error)
            }
        }
    }

    /// The lane for a new cursor: where an abandoned one stands, where none stands, a new lane, or where the one stands that
    /// nobody used for longest.
    fn choose(&self, place: &Place) -> Result<Chosen, LogError> {
        let mut lanes = self.lock();
        let idle = |lane: &Lane| match lane.cursors.get(place) {
            Some(Slot::Idle(cursor)) => Some(cursor.used),
            _ => None,
        };
        let oldest = lanes.iter().enumerate().filter_map(|(index, lane)| idle(lane).map(|used| (used, index))).min();
        let index = match oldest {
            Some((used, index)) if used.elapsed() > ABANDONED => index,
            _ => match lanes.iter().position(|lane| !lane.cursors.contains_key(place)) {
                Some(free) => free,
                None => match oldest {
                    Some((_, index)) if lanes.len() >= LANES_MAX => index,
                    _ => {
                        let consumer = Arc::new(self.settings.consumer(&self.group, self.queue_bytes)?);
                        lanes.push(Lane { consumer, cursors: HashMap::new() });
                        lanes.len() - 1
                    }
                },
            },
        };
        let lane = &mut lanes[index];
        let former = match lane.cursors.insert(place.clone(), Slot::Taken) {
            Some(Slot::Idle(cursor)) => Some(cursor),
            _ => None,
        };
        Ok(Chosen { index, consumer: Arc::clone(&lane.consumer), former })
    }

    fn assign(
        &self,
        (topic, partition): &Place,
        consumer: &Arc<Consumer>,
        former: Option<Box<Cursor>>,
        next: u64,
        from: u64,
    ) -> Result<Box<Cursor>, LogError> {
        let step = || format!("setting a reading position on {topic}/{partition}");
        let number = kafka_number(*partition);
        if let Some(former) = former {
            let mut gone = TopicPartitionList::new();
            gone.add_partition(topic, number);
            answer(step(), consumer.incremental_unassign(&gone))?;
            drop(former);
        }
        // The queue is split off before anything can arrive in the common one.
        let queue = consumer.split_partition_queue(topic, number);
        let mut queue = queue.ok_or_else(|| failed(step(), KafkaError::Canceled))?;
        let arrived = Arc::new(Arrived { flag: AtomicBool::new(true), notify: Notify::new() });
        let (seen, appended) = (Arc::clone(&arrived), self.appended.clone());
        queue.set_nonempty_callback(move || {
            seen.flag.store(true, Ordering::Release);
            seen.notify.notify_one();
            appended.send_modify(|count| *count += 1);
        });
        // The library looks for the leader of a topic that is new to it once a second, unless it is asked about it.
        answer(step(), consumer.fetch_metadata(Some(topic), ANSWER))?;
        let mut wanted = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        answer(step(), wanted.add_partition_offset(topic, number, offset))?;
        answer(step(), consumer.incremental_assign(&wanted))?;
        Ok(Box::new(Cursor {
            queue,
            consumer: Arc::clone(consumer),
            arrived,
            next,
            held: None,
            used: Instant::now(),
            last_error: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // Stop reading, then the queues, then the consumers: the library waits for ever for a queue that is still held.
        for lane in std::mem::take(&mut *self.lock()) {
            let Lane { consumer, cursors } = lane;
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "reader not unassigned");
            }
            retire("reader", (cursors, consumer));
        }
    }
}

impl Cursor {
    /// Moves what was fetched into the batch, without frames.
    fn drain(
        &mut self,
        table: &Table,
        topic: &str,
        partition: u32,
        batch: &mut RecordBatch,
        limit: ReadLimit,
    ) -> Result<Drained, LogError> {
        if let Some(held) = self.held.take() {
            let put = put(batch, table, limit, held.offset, held.timestamp, &held.key, &held.value);
            if put != Drained::All {
                self.held = Some(held);
                return Ok(put);
            }
            self.next = held.offset + 1;
        }
        // Nothing came since the queue was empty: at the end of its topic this is all that a look costs.
        if !self.arrived.flag.swap(false, Ordering::AcqRel) {
            return Ok(Drained::All);
        }
        loop {
            if !batch.is_empty() && batch.len() >= limit.records_max {
                self.arrived.flag.store(true, Ordering::Release);
                return Ok(Drained::Full);
            }
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(error)) => self.last_error = Some(error),
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or(0);
                    if offset < self.next {
                        continue;
                    }
                    let timestamp = microseconds(&message);
                    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                    let put = put(batch, table, limit, offset, timestamp, key, value);
                    if put != Drained::All {
                        self.held = Some(Held { offset, timestamp, key: key.to_vec(), value: value.to_vec() });
                        self.arrived.flag.store(true, Ordering::Release);
                        return Ok(put);
                    }
                    self.next = offset + 1;
                    self.last_error = None;
                }
            }
        }
        // Control records, and aborted ones before them, show only in the position behind the last thing taken from the queue.
        if let Some(position) = self.position(topic, partition)? {
            self.next = self.next.max(position);
        }
        // the common queue brings errors of the client, which the library wants to have taken
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            self.last_error = Some(error);
        }
        Ok(Drained::All)
    }

    fn position(&self, topic: &str, partition: u32) -> Result<Option<u64>, LogError> {
        let positions = answer("looking at a reading position", self.consumer.position())?;
        let element = positions.find_partition(topic, kafka_number(partition));
        Ok(match element.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => u64::try_from(offset).ok(),
            _ => None,
        })
    }
}

impl InUse<'_> {
    fn cursor_mut(&mut self) -> &mut Cursor {
        self.cursor.as_mut().expect("taken only when dropped")
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let Some(cursor) = self.cursor.take() else { return };
        if let Some(lane) = self.lanes.lock().get_mut(self.lane) {
            lane.cursors.insert(self.place.clone(), Slot::Idle(cursor));
        }
    }
}

/// Puts a record behind the others, if it fits.
fn put(
    batch: &mut RecordBatch,
    table: &Table,
    limit: ReadLimit,
    offset: u64,
    timestamp: i64,
    key: &[u8],
    value: &[u8],
) -> Drained {
    let value = match table.open(value) {
        Ok(value) => value,
        Err(id) => return Drained::UpTo(id),
    };
    let within = batch.len() < limit.records_max && batch.bytes() + key.len() + value.len() <= limit.bytes_max;
    if !batch.is_empty() && !within {
        return Drained::Full;
    }
    batch.push_headed(offset, timestamp, key, value.header(), value.rest);
    Drained::All
}

/// When the broker took the record.
fn microseconds(message: &BorrowedMessage<'_>) -> i64 {
    message.timestamp().to_millis().unwrap_or(0).saturating_mul(1000)
}

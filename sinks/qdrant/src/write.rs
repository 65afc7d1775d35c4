//! Points on their way to the server, and what makes it safe to send them twice, late, or beside another writer.
//!
//! Each request has a *turn*: a number that rises with the writer's epoch and, within it, with each request. A point holds the turn
//! that wrote it, and a request says: replace only what has an earlier turn (or none). A writer writes a key's versions in order,
//! and of two writers the later one has the higher epoch; so whatever arrives late, twice, or from a writer that was overtaken finds
//! a later turn and changes nothing. It is one condition for a whole request. By version it would be one for each point, each of
//! them an operation of its own that the server syncs to its disk.
//!
//! On a server that knows no conditions nothing is sent unless this writer was seen to own the partitions less than [`LEASE`]
//! before, by a clock that goes on while the process is stopped.
//!
//! A request that the server refuses because of a point in it writes none of its points; it is halved until that point is alone.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, Range};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::{RejectedRow, SinkBatch, SinkError, SinkRow, refused};
use tokio::time::Instant;

use crate::client::{Client, Order, Refusal};
use crate::collections::expect_fitting;
use crate::failure::{ServerError, unavailable};
use crate::meta::Meta;
use crate::payload::{TURN, size};
use crate::prepare::{Gate, Prepared, Row};

/// Points of one request. More gain nothing (the server applies 32 at a time), and are sent again when one is refused.
const POINTS_MAX: usize = 256;
/// Bytes of one request; a point may go beyond it alone. More: our memory, several times over.
const BYTES_MAX: usize = 4 << 20;
/// Requests under way at a time: the next are made ready meanwhile. More gain nothing on one collection, which has one writer inside.
const REQUESTS: usize = 3;
/// How long a look at the owner is good for, where the server knows no conditions. A shorter one is more looks; a longer one lets a
/// writer that was stopped send more before it knows.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Turns of one epoch; two to the 53rd in all, because the server compares numbers as doubles.
const TURN_BITS: u32 = 24;

/// The epoch of a turn.
pub(crate) fn epoch_of(turn: u64) -> u64 {
    turn >> TURN_BITS
}

/// The right to write under one epoch.
pub(crate) struct Turns {
    epoch: u64,
    last: AtomicU64,
    /// When the last look at the owner was sent.
    looked: Mutex<Instant>,
}

impl Turns {
    /// Under this epoch, seen to own what it took at that time.
    pub(crate) fn new(epoch: u64, looked: Instant) -> Self {
        Self { epoch, last: AtomicU64::new(0), looked: Mutex::new(looked) }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next turn.
    fn next(&self) -> Result<u64, SinkError> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        if number >> TURN_BITS > 0 || self.epoch >> (53 - TURN_BITS) > 0 {
            return Err(unavailable("numbering a request".to_owned(), "all numbers of this writer are used up; it opens again"));
        }
        Ok((self.epoch << TURN_BITS) + number)
    }

    pub(crate) fn looked(&self, at: Instant) {
        *self.lock() = at;
    }

    fn is_over(&self) -> bool {
        self.lock().elapsed() >= LEASE
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        // Nothing can panic while it is held.
        self.looked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All that writing a batch needs.
pub(crate) struct Writing<'w> {
    pub(crate) client: &'w Client,
    pub(crate) meta: &'w Meta,
    pub(crate) turns: &'w Turns,
    pub(crate) embedder: &'w dyn Embedder,
    pub(crate) is_conditional: bool,
    /// The partition numbers of the batch.
    pub(crate) numbers: &'w BTreeSet<u32>,
    /// For each part of the batch: whether rows are written that are not older.
    pub(crate) refreshing: &'w [bool],
    /// For each part of the batch: the lowest version that was never sent to the store.
    pub(crate) unused: &'w [u64],
    pub(crate) batch: &'w SinkBatch,
}

/// What came of rows.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// How many were newer than what was stored.
    pub(crate) written: u64,
    /// Those that the embedder or the server refuses.
    pub(crate) refused: Vec<RejectedRow>,
}

impl Done {
    pub(crate) fn add(&mut self, other: Self) {
        self.written += other.written;
        self.refused.extend(other.refused);
    }
}

impl Writing<'_> {
    /// Writes rows of one collection, each key once.
    pub(crate) async fn write(&self, collection: &str, rows: &[Row<'_, '_>]) -> Result<Done, SinkError> {
        let gate = Gate {
            client: self.client,
            order: self.order(),
            embedder: self.embedder,
            epoch: self.turns.epoch(),
            refreshing: self.refreshing,
            unused: self.unused,
        };
        let mut done = Done::default();
        let mut sending: FuturesUnordered<BoxFuture<'_, Result<Done, SinkError>>> = FuturesUnordered::new();
        for some in rows.chunks(POINTS_MAX) {
            let turn = self.turns.next()?;
            let mut preparing = Box::pin(gate.prepare(self.batch, collection, some, turn));
            // What is under way goes on while the next is made ready.
            let prepared = loop {
                tokio::select! {
                    prepared = &mut preparing => break prepared,
                    Some(sent) = sending.next() => done.add(sent?),
                }
            };
            let points = match prepared {
                Ok(points) => points,
                // What the embedder refuses is no reason to leave out what the server may refuse.
                Err(SinkError::Rejected(refused)) => {
                    done.refused.extend(refused);
                    continue;
                }
                Err(error) => return Err(error),
            };
            while sending.len() >= REQUESTS
                && let Some(sent) = sending.next().await
            {
                done.add(sent?);
            }
            sending.push(Box::pin(self.send_all(collection, points, turn)));
        }
        while let Some(sent) = sending.next().await {
            done.add(sent?);
        }
        Ok(done)
    }

    fn order(&self) -> Order {
        if self.is_conditional { Order::Any } else { Order::Strict }
    }

    /// Sends the points, in as many requests as their size asks for.
    async fn send_all(&self, collection: &str, points: Vec<Prepared<'_, '_>>, turn: u64) -> Result<Done, SinkError> {
        let dimensions = self.embedder.dimensions();
        let mut waiting = cut(points.iter().map(|prepared| size(&prepared.point, dimensions)));
        waiting.reverse();
        let mut done = Done { written: points.len() as u64, refused: Vec::new() };
        while let Some(range) = waiting.pop() {
            let some = points[range.clone()].iter().map(|prepared| prepared.point.clone()).collect();
            match self.send(collection, some, turn).await {
                Ok(()) => {}
                Err(Refusal::Data(error)) if range.len() == 1 => {
                    // Every point would be refused by a collection that somebody has put in the place of ours.
                    expect_fitting(self.client, collection, dimensions as u64).await?;
                    done.refused.push(self.rejected(points[range.start].row, &error));
                }
                Err(Refusal::Data(_)) => {
                    let middle = range.start + range.len() / 2;
                    waiting.push(middle..range.end);
                    waiting.push(range.start..middle);
                }
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Ok(done)
    }

    async fn send(&self, collection: &str, points: Vec<PointStruct>, turn: u64) -> Result<(), Refusal> {
        if !self.is_conditional && self.turns.is_over() {
            self.look().await.map_err(Refusal::Other)?;
        }
        let condition = self.is_conditional.then(|| before(turn));
        self.client.upsert(collection, points, condition, self.order()).await
    }

    /// Looks whether the partitions are still this writer's.
    async fn look(&self) -> Result<(), SinkError> {
        let at = Instant::now();
        let look = self.meta.look(self.numbers).await?;
        self.meta.expect_owner(&look, self.numbers, self.turns.epoch())?;
        self.turns.looked(at);
        if at.elapsed() >= LEASE {
            let step = format!("looking who writes {}", self.client.place);
            return Err(unavailable(step, format!("no answer within {LEASE:?}")));
        }
        Ok(())
    }

    fn rejected(&self, row: &SinkRow<'_>, error: &ServerError) -> RejectedRow {
        let detail =
            format!("Qdrant refuses the point ({error}); correct the record at its source, or the collection, and redrive");
        RejectedRow::of(self.batch, row, refused::BY_STORE, detail)
    }
}

/// Replace only what an earlier request wrote, or somebody who knows no turns.
pub(crate) fn before(turn: u64) -> Filter {
    let earlier = Condition::range(TURN, Range { lt: Some(turn as f64), ..Range::default() });
    Filter::should([earlier, Condition::is_empty(TURN)])
}

/// Ranges of points that go into one request each.
fn cut(sizes: impl Iterator<Item = usize>) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, size) in sizes.enumerate() {
        bytes += size;
        match ranges.last_mut() {
            Some(last) if bytes <= BYTES_MAX => last.end = index + 1,
            _ => {
                ranges.push(index..index + 1);
                bytes = size;
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{BYTES_MAX, TURN_BITS, Turns, cut, epoch_of};

    #[test]
    fn requests_are_bounded_by_bytes() {
        assert!(cut([].into_iter()).is_empty());
        let whole = 0..5;
        assert_eq!(cut([1; 5].into_iter()), [whole]);
        let half = BYTES_MAX / 2;
        assert_eq!(cut([half, half, 1, BYTES_MAX * 3, 1].into_iter()), [0..2, 2..3, 3..4, 4..5]);
    }

    #[test]
    fn turns_rise_within_an_epoch_and_from_one_to_the_next() {
        let turns = Turns::new(7, Instant::now());
        let (first, second) = (turns.next().unwrap(), turns.next().unwrap());
        assert!(first < second && epoch_of(first) == 7 && epoch_of(second) == 7);
        assert!(second < Turns::new(8, Instant::now()).next().unwrap());
        turns.last.store((1 << TURN_BITS) - 2, std::sync::atomic::Ordering::Relaxed);
        let last = turns.next().unwrap();
        assert!(last < Turns::new(8, Instant::now()).next().unwrap());
        assert!(turns.next().is_err(), "an epoch that is used up");
        let end = Turns::new((1 << (53 - TURN_BITS)) - 1, Instant::now()).next().unwrap();
        assert!(end < 1 << 53);
        assert!(Turns::new(1 << (53 - TURN_BITS), Instant::now()).next().is_err());
    }
}

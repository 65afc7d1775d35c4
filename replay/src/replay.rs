//! Asking for a build of a store, and seeing it through.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_log::{LogError, crash};
use tidemark_schemas::Catalog;
use tidemark_sink_core::{Sink, SinkError, StorePosition};

use crate::build::{Build, Step, StoreName};
use crate::builds::Builds;

/// What is to be done about a build that was asked for before and is not filled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To go on with it.
    GoOn,
    /// To empty the store all the same.
    BeginAnew,
}

/// Why a build could not be asked for or looked at.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store, which may answer later.
    #[error(transparent)]
    Store(#[from] SinkError),
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Nobody has emptied the store yet.
    Asked,
    /// So many offsets of the state topics are passed, of so many.
    Filling {
        /// Passed.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// All that was on the state topics when this replay began is in the store.
    Filled {
        /// So many offsets.
        total: u64,
    },
}

/// A build of a store that is wanted, from the first look to the last.
pub struct Replay {
    builds: Arc<Builds>,
    store: StoreName,
    number: u64,
    was_open: bool,
    until: Vec<Range>,
}

/// What a store is to pass of one partition of an entity's states.
struct Range {
    entity: String,
    partition: u32,
    start: u64,
    end: u64,
}

impl Replay {
    /// Writes down that the store is to be emptied and filled again, or goes on with what is written down. `sink` is asked where the
    /// store stands; it is not opened.
    pub async fn ask(
        builds: Arc<Builds>,
        catalog: &Catalog,
        store: StoreName,
        sink: &dyn Sink,
        wish: Wish,
    ) -> Result<Self, ReplayError> {
        builds.catch_up().await?;
        let until = ranges(&builds, catalog).await?;
        let last = builds.of(&store);
        let open = match (&last, wish) {
            (Some(last), Wish::GoOn) if is_open(&builds, last, sink).await? => Some(last.number),
            _ => None,
        };
        let number = match open {
            Some(number) => number,
            None => {
                let mut ends = BTreeMap::<String, Vec<u64>>::new();
                for range in &until {
                    ends.entry(range.entity.clone()).or_default().push(range.end);
                }
                ends.retain(|_, ends| ends.iter().any(|end| *end > 0));
                let number = last.map_or(0, |last| last.number) + 1;
                builds.put(&store, &Build { number, step: Step::Asked, until: ends }).await?;
                crash::point("replay.after-intent");
                number
            }
        };
        Ok(Self { builds, store, number, was_open: open.is_some(), until })
    }

    /// The number of the build.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it had been asked for before, and was not filled.
    pub fn was_open(&self) -> bool {
        self.was_open
    }

    /// Where it stands. The store is looked at beside whoever fills it.
    pub async fn look(&self, sink: &dyn Sink) -> Result<Stand, ReplayError> {
        self.builds.catch_up().await?;
        match self.builds.of(&self.store) {
            Some(build) if build.step != Step::Asked && build.number >= self.number => {}
            _ => return Ok(Stand::Asked),
        }
        let positions = sink.positions().await?;
        let total = self.until.iter().map(|range| range.end - range.start).sum();
        let done = self.until.iter().map(|range| range.passed(&positions)).sum();
        // A topic that holds nothing any more is passed as well, with no offset to count.
        let filled = self.until.iter().all(|range| range.next(&positions) >= range.end);
        Ok(if filled { Stand::Filled { total } } else { Stand::Filling { done, total } })
    }

    /// Writes down that the store was seen filled.
    pub async fn close(&self) -> Result<(), LogError> {
        match self.builds.of(&self.store) {
            // Somebody may have asked for another one in the meantime.
            Some(build) if build.number == self.number && build.step == Step::Emptied => {
                self.builds.put(&self.store, &Build { step: Step::Filled, ..build }).await
            }
            _ => Ok(()),
        }
    }
}

impl Range {
    fn next(&self, positions: &[StorePosition]) -> u64 {
        let stands = |position: &&StorePosition| position.entity == self.entity && position.partition == self.partition;
        positions.iter().find(stands).map_or(0, |position| position.next)
    }

    fn passed(&self, positions: &[StorePosition]) -> u64 {
        self.next(positions).clamp(self.start, self.end) - self.start
    }
}

/// Whether a build is still to be filled. A store of another log, or one that cannot be read, is not what it has come to.
async fn is_open(builds: &Builds, last: &Build, sink: &dyn Sink) -> Result<bool, SinkError> {
    match last.step {
        Step::Asked => return Ok(true),
        Step::Filled => return Ok(false),
        Step::Emptied => {}
    }
    let look = async {
        let of_this_log = sink.filled_from().await?.is_none_or(|log| log == builds.log().identity());
        Ok(of_this_log && !last.is_filled_at(&sink.positions().await?))
    };
    match look.await {
        Err(error @ SinkError::Unavailable { .. }) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the store cannot be read, so it is built anew");
            Ok(false)
        }
        looked => looked,
    }
}

/// The state topics of all entities, as they are now.
async fn ranges(builds: &Builds, catalog: &Catalog) -> Result<Vec<Range>, LogError> {
    let log = builds.log();
    let topics = log.topics().await?;
    let mut ranges = Vec::new();
    for entity in catalog.entities() {
        let topic = builds.topics().state(&entity.name);
        let partitions = topics.iter().find(|(name, _)| **name == *topic).map_or(0, |(_, partitions)| *partitions);
        for partition in 0..partitions {
            let bounds = log.bounds(&topic, partition).await?;
            ranges.push(Range { entity: entity.name.clone(), partition, start: bounds.start, end: bounds.end });
        }
    }
    Ok(ranges)
}

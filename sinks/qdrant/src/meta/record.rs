//! The store's records, as they stand in the payloads of its points.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{PointId, PointStruct, RetrievedPoint, Value};
use serde::{Deserialize, Serialize};
use tidemark_log::LogIdentity;
use tidemark_sink_core::SinkError;
use uuid::Uuid;

use crate::failure::{REBUILD, fatal};

/// Raised when the store would be laid out otherwise.
const FORMAT: u64 = 2;

pub(super) const STANDS: &str = "stands";

/// What the point of the store says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreRecord {
    format: u64,
    log_id: Uuid,
    generation: u32,
    /// Of the latest opening.
    pub(crate) epoch: u64,
    /// Who that was: two may try for the same epoch.
    pub(super) opener: Uuid,
    /// Of the latest opening for all partitions.
    pub(crate) whole: u64,
    /// What the vectors are made by.
    pub(crate) embedder: String,
    /// Collection → the one that holds its points.
    pub(crate) collections: BTreeMap<String, String>,
}

impl StoreRecord {
    /// Of a store that was never opened.
    pub(super) fn new(log: LogIdentity) -> Self {
        Self {
            format: FORMAT,
            log_id: log.id,
            generation: log.generation,
            epoch: 0,
            opener: Uuid::nil(),
            whole: 0,
            embedder: String::new(),
            collections: BTreeMap::new(),
        }
    }

    /// Whether it belongs to a log. One that was emptied does not; its epoch stays, so that no earlier writer's ever comes again.
    pub(super) fn is_bound(&self) -> bool {
        !self.log_id.is_nil()
    }

    pub(crate) fn log(&self) -> LogIdentity {
        LogIdentity { id: self.log_id, generation: self.generation }
    }

    /// Why the store does not belong to this log; `None` when it does.
    pub(crate) fn foreign(&self, place: &str, log: LogIdentity) -> Option<String> {
        let (id, generation) = (self.log_id, self.generation);
        if id != log.id {
            return Some(format!("{place} was filled from another log ({id}, this one is {}); {REBUILD}", log.id));
        }
        let now = log.generation;
        (generation != now)
            .then(|| format!("{place} was filled from generation {generation} of the log, which is at {now} now; {REBUILD}"))
    }

    /// Refuses what is not this log's vector store.
    pub(crate) fn expect(&self, place: &str, log: LogIdentity) -> Result<(), SinkError> {
        let format = self.format;
        if format != FORMAT {
            let step = format!("{place} has format {format}, this version of tidemark reads format {FORMAT}; {REBUILD}");
            return Err(fatal(step, "format differs"));
        }
        self.foreign(place, log).map_or(Ok(()), |problem| Err(SinkError::ForeignLog(problem)))
    }
}

/// Where one entity stands on one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stand {
    /// Offset of the next state record.
    pub(crate) next: u64,
    /// Until here, rows are written where they are not older; then where they are newer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) refresh_until: u64,
    /// No row of this version or a higher one was ever sent.
    pub(crate) unused: u64,
    /// Fingerprint of what the points are derived by.
    pub(crate) derived: u64,
    /// The collection that they are in; empty for an entity that has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) collection: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Stand {
    /// Whether it is no position: the store was told of versions, and no batch has come through yet.
    pub(crate) fn only_tells(&self) -> bool {
        self.unused > 0 && self.next == 0 && self.refresh_until == 0
    }

    /// The same for points that are derived so and go into this collection.
    pub(crate) fn onto(&self, derived: u64, collection: &str) -> Self {
        let collection = collection.to_owned();
        if self.collection != collection {
            return Self { derived, collection, ..Self::default() };
        }
        if self.derived != derived {
            return Self { next: 0, refresh_until: self.refresh_until.max(self.next), derived, collection, ..*self };
        }
        self.clone()
    }
}

pub(crate) type Stands = BTreeMap<String, Stand>;

/// What the point of a partition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionRecord {
    /// Epoch of who writes it.
    pub(crate) owner: u64,
    pub(crate) stands: Stands,
}

/// As it stands in the payload.
#[derive(Serialize, Deserialize)]
struct RawPartition {
    partition: u32,
    owner: u64,
    stands: String,
}

/// Our own name space for these points' ids; fixed for ever.
const META_SPACE: Uuid = Uuid::from_u128(0x7469_6465_6d61_726b_0004_6d65_7461_7073);

pub(super) fn store_id() -> PointId {
    point_id("store")
}

pub(super) fn partition_id(number: u32) -> PointId {
    point_id(&format!("partition:{number}"))
}

pub(super) fn point_id(name: &str) -> PointId {
    PointId::from(Uuid::new_v5(&META_SPACE, name.as_bytes()).hyphenated().to_string())
}

/// The point that says this of the store.
pub(super) fn store_point(record: &StoreRecord) -> PointStruct {
    point(store_id(), fields_of(record))
}

/// The point of a partition that this epoch owns and nobody has written.
pub(super) fn new_partition_point(number: u32, owner: u64) -> PointStruct {
    let raw = RawPartition { partition: number, owner, stands: text_of(&Stands::new()) };
    point(partition_id(number), fields_of(&raw))
}

/// A point of the store's own.
pub(super) fn point(id: PointId, payload: HashMap<String, Value>) -> PointStruct {
    PointStruct { id: Some(id), vectors: Some(vec![1.0_f32].into()), payload }
}

/// Where a partition stands, as it is kept.
pub(super) fn text_of(stands: &Stands) -> String {
    serde_json::to_string(stands).expect("numbers under names are JSON")
}

pub(super) fn read_store(point: &RetrievedPoint, place: &str) -> Result<StoreRecord, SinkError> {
    read(point, place)
}

/// `None` for a point that is no partition's.
pub(super) fn read_partition(point: &RetrievedPoint, place: &str) -> Result<Option<(u32, PartitionRecord)>, SinkError> {
    if !point.payload.contains_key(STANDS) {
        return Ok(None);
    }
    let raw: RawPartition = read(point, place)?;
    let stands = serde_json::from_str(&raw.stands).map_err(|error| damaged(error, place))?;
    Ok(Some((raw.partition, PartitionRecord { owner: raw.owner, stands })))
}

fn read<T: for<'de> Deserialize<'de>>(point: &RetrievedPoint, place: &str) -> Result<T, SinkError> {
    let fields = point.payload.iter().map(|(name, value)| (name.clone(), value.clone().into_json()));
    serde_json::from_value(serde_json::Value::Object(fields.collect())).map_err(|error| damaged(error, place))
}

fn damaged(error: serde_json::Error, place: &str) -> SinkError {
    fatal(format!("{place} does not say where it stands: its own record is damaged; {REBUILD}"), error)
}

fn fields_of(record: &impl Serialize) -> HashMap<String, Value> {
    match serde_json::to_value(record).expect("a record of texts and numbers is JSON") {
        serde_json::Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect(),
        _ => HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::Stand;

    #[test]
    fn another_derivation_reads_again_and_another_collection_begins_anew() {
        let stood = Stand { next: 9, refresh_until: 4, unused: 7, derived: 1, collection: "a".to_owned() };
        assert_eq!(stood.onto(1, "a"), stood);
        let refreshed = stood.onto(2, "a");
        assert_eq!((refreshed.next, refreshed.refresh_until, refreshed.unused, refreshed.derived), (0, 9, 7, 2));
        assert_eq!(refreshed.onto(2, "a"), refreshed, "a second start goes on with the refresh");
        assert_eq!(stood.onto(1, "b"), Stand { derived: 1, collection: "b".to_owned(), ..Stand::default() });
    }
}

//! What the store keeps about itself, in points of a collection of our own.
//!
//! - the point of the store: log id, generation, format, what its vectors were made by, which collections hold its points, and the
//!   epoch: a number that rises with each opening;
//! - a point for each partition number: the epoch of who writes it now, and for each entity where it stands, how far it is being
//!   refreshed, what its points were derived by, and in which collection they are. It is one field of one point, so the positions
//!   of a partition number move together.
//!
//! All of it changes by "set where": the server looks at the condition and sets the fields in one step, whatever its version. A
//! position moves only where the partition's epoch is the writer's own, and is looked at afterwards, because the answer does not
//! say whether anything was set. So of two writers the one that opened later owns, and the other is told.

mod record;

use std::collections::{BTreeMap, BTreeSet};

use qdrant_client::qdrant::{Condition, Distance, FieldType, Filter, PointId, PointStruct, Range, RetrievedPoint, Value};
use tidemark_log::LogIdentity;
use tidemark_sink_core::SinkError;
use uuid::Uuid;

pub(crate) use record::{PartitionRecord, Stand, Stands, StoreRecord};
use record::{STANDS, partition_id, point_id, store_id};

use crate::client::{Client, Order, Refusal, Wanted};
use crate::failure::unavailable;

const EPOCH: &str = "epoch";
const WHOLE: &str = "whole";
const OWNER: &str = "owner";
const LOG_ID: &str = "log_id";
const GENERATION: &str = "generation";
const EMBEDDER: &str = "embedder";
const COLLECTIONS: &str = "collections";

/// The store's records on the server.
#[derive(Clone)]
pub(crate) struct Meta {
    client: Client,
    collection: String,
    /// The server knows conditions of upserts.
    is_conditional: bool,
}

/// What the store and some partitions say.
pub(crate) struct Look {
    pub(crate) store: Option<StoreRecord>,
    pub(crate) partitions: BTreeMap<u32, PartitionRecord>,
}

impl Meta {
    /// In this collection; nothing is looked at yet.
    pub(crate) fn new(client: Client, collection: String) -> Self {
        Self { client, collection, is_conditional: false }
    }

    pub(crate) fn place(&self) -> &str {
        &self.client.place
    }

    /// Makes the collection where it is missing.
    pub(crate) async fn make(&self) -> Result<(), SinkError> {
        let known = self.client.describe(&self.collection).await?;
        if known.is_none() {
            // Every collection has vectors; these say nothing.
            self.client.create(&self.collection, 1, Distance::Dot).await?;
        }
        let indexed = known.map(|known| known.payload_schema).unwrap_or_default();
        for field in [EPOCH, WHOLE, OWNER] {
            if !indexed.contains_key(field) {
                self.client.index(&self.collection, field, FieldType::Integer).await?;
            }
        }
        Ok(())
    }

    /// Tries whether the server knows conditions of upserts: writes a 2, then a 1 over what is below 1. A nonce tells what another
    /// opening wrote in between.
    pub(crate) async fn probe(&mut self) -> Result<bool, SinkError> {
        const TRIES: usize = 8;
        let id = point_id("probe");
        for _ in 0..TRIES {
            let nonce = Uuid::new_v4().to_string();
            let probe = |number: i64| {
                let fields = [("nonce".to_owned(), Value::from(nonce.as_str())), (EPOCH.to_owned(), Value::from(number))];
                record::point(id.clone(), fields.into_iter().collect())
            };
            self.upsert(probe(2), None).await?;
            self.upsert(probe(1), Some(Filter::must([below(EPOCH, 1)]))).await?;
            let found = self.expect(vec![id.clone()]).await?;
            let Some(payload) = found.first().map(|found| &found.payload) else { continue };
            if payload.get("nonce").and_then(Value::as_str).is_some_and(|found| *found == nonce) {
                self.is_conditional = payload.get(EPOCH).and_then(Value::as_integer) == Some(2);
                return Ok(self.is_conditional);
            }
        }
        Err(self.crowded())
    }

    /// Whose the store is; `None` for one that is nobody's yet, or not there.
    pub(crate) async fn store(&self) -> Result<Option<StoreRecord>, SinkError> {
        Ok(self.record().await?.filter(StoreRecord::is_bound))
    }

    /// The store's record, also that of a store that is nobody's.
    pub(crate) async fn record(&self) -> Result<Option<StoreRecord>, SinkError> {
        let found = self.read(vec![store_id()]).await?.unwrap_or_default();
        found.first().map(|point| record::read_store(point, self.place())).transpose()
    }

    /// Binds a store that is nobody's to this log, and refuses a foreign one. Of two at once the first wins.
    pub(crate) async fn bind(&self, log: LogIdentity) -> Result<StoreRecord, SinkError> {
        match self.record().await? {
            None => self.insert_new(record::store_point(&StoreRecord::new(log))).await?,
            Some(nobodys) if !nobodys.is_bound() => {
                let id = Value::from(log.id.to_string());
                let fields = [(LOG_ID, id), (GENERATION, Value::from(i64::from(log.generation)))];
                self.set([has_id(store_id()), equals(EPOCH, nobodys.epoch)], fields).await?;
            }
            Some(_) => {}
        }
        let store = self.store().await?.ok_or_else(|| self.crowded())?;
        store.expect(self.place(), log)?;
        Ok(store)
    }

    /// Makes the store nobody's, if no later opening than this epoch's has come in between.
    pub(crate) async fn release(&self, epoch: u64) -> Result<(), SinkError> {
        let nothing = Value::from(serde_json::json!({}));
        let fields = [
            (LOG_ID, Value::from(Uuid::nil().to_string())),
            (GENERATION, Value::from(0_i64)),
            (EMBEDDER, Value::from("")),
            (COLLECTIONS, nothing),
        ];
        self.set([has_id(store_id()), equals(EPOCH, epoch)], fields).await?;
        if self.store().await?.is_some() { Err(self.crowded()) } else { Ok(()) }
    }

    /// Takes the next epoch.
    pub(crate) async fn raise(&self) -> Result<u64, SinkError> {
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let known = self.expect_store().await?.epoch;
            let (next, opener) = (known + 1, Uuid::new_v4());
            let fields = [(EPOCH, Value::from(next.cast_signed())), ("opener", Value::from(opener.to_string()))];
            self.set([has_id(store_id()), equals(EPOCH, known)], fields).await?;
            let found = self.expect_store().await?;
            if found.opener == opener && found.epoch == next {
                return Ok(next);
            }
        }
        Err(self.crowded())
    }

    /// Notes what the vectors are made by and which collections hold the points; only the latest opening may.
    pub(crate) async fn note(
        &self,
        epoch: u64,
        embedder: &str,
        collections: &BTreeMap<String, String>,
    ) -> Result<StoreRecord, SinkError> {
        let names = serde_json::to_value(collections).expect("names under names are JSON");
        let fields = [(EMBEDDER, Value::from(embedder)), (COLLECTIONS, Value::from(names))];
        self.set([has_id(store_id()), equals(EPOCH, epoch)], fields).await?;
        let found = self.expect_store().await?;
        if found.collections != *collections || found.embedder != embedder {
            return Err(self.crowded());
        }
        Ok(found)
    }

    /// Says that this epoch takes all partitions, also those that are not there yet.
    pub(crate) async fn take_whole(&self, epoch: u64) -> Result<(), SinkError> {
        self.set([has_id(store_id()), below(WHOLE, epoch)], [(WHOLE, Value::from(epoch.cast_signed()))]).await
    }

    /// All partitions.
    pub(crate) async fn partitions(&self) -> Result<BTreeMap<u32, PartitionRecord>, SinkError> {
        let mut records = BTreeMap::new();
        for point in self.client.all_points(&self.collection).await? {
            records.extend(record::read_partition(&point, self.place())?);
        }
        Ok(records)
    }

    /// Takes partitions, unless a later opening has. What they say afterwards no earlier one can move any more.
    pub(crate) async fn take(&self, numbers: &BTreeSet<u32>, epoch: u64) -> Result<BTreeMap<u32, PartitionRecord>, SinkError> {
        let known = self.look(numbers).await?.partitions;
        for number in numbers {
            if !known.contains_key(number) {
                self.insert_new(record::new_partition_point(*number, epoch)).await?;
            }
            let condition = [has_id(partition_id(*number)), below(OWNER, epoch)];
            self.set(condition, [(OWNER, Value::from(epoch.cast_signed()))]).await?;
        }
        let taken = self.look(numbers).await?;
        self.expect_owner(&taken, numbers, epoch)?;
        Ok(taken.partitions)
    }

    /// What the store and these partitions say now.
    pub(crate) async fn look(&self, numbers: &BTreeSet<u32>) -> Result<Look, SinkError> {
        let ids = std::iter::once(store_id()).chain(numbers.iter().map(|number| partition_id(*number))).collect();
        let mut look = Look { store: None, partitions: BTreeMap::new() };
        for point in self.expect(ids).await? {
            if point.id == Some(store_id()) {
                look.store = Some(record::read_store(&point, self.place())?);
            } else {
                look.partitions.extend(record::read_partition(&point, self.place())?);
            }
        }
        Ok(look)
    }

    /// Refuses when another writer has taken one of these partitions since.
    pub(crate) fn expect_owner(&self, look: &Look, numbers: &BTreeSet<u32>, epoch: u64) -> Result<(), SinkError> {
        for number in numbers {
            let owner = look.partitions.get(number).map_or(0, |record| record.owner);
            if owner != epoch {
                let place = self.place();
                let text = format!("{place} has writer epoch {owner} for partition {number}, this writer has {epoch}");
                return Err(SinkError::Stale(text));
            }
        }
        Ok(())
    }

    /// Moves a partition's positions, if it is this writer's still. The last thing that happens in a batch; the caller looks
    /// afterwards.
    pub(crate) async fn move_to(&self, number: u32, epoch: u64, stands: &Stands) -> Result<(), SinkError> {
        self.set([has_id(partition_id(number)), equals(OWNER, epoch)], [(STANDS, Value::from(record::text_of(stands)))]).await
    }

    async fn expect_store(&self) -> Result<StoreRecord, SinkError> {
        self.record().await?.ok_or_else(|| self.gone())
    }

    async fn read(&self, ids: Vec<PointId>) -> Result<Option<Vec<RetrievedPoint>>, SinkError> {
        let wanted = Wanted { fields: &[], vectors: false };
        self.client.points(&self.collection, ids, wanted, Order::Strict).await
    }

    async fn expect(&self, ids: Vec<PointId>) -> Result<Vec<RetrievedPoint>, SinkError> {
        self.read(ids).await?.ok_or_else(|| self.gone())
    }

    /// Inserts a point that is not there. Servers that know no conditions put it over one that another opening made in the same
    /// moment, which then finds that it owns nothing and opens again.
    async fn insert_new(&self, point: PointStruct) -> Result<(), SinkError> {
        // Points that are there have none of these, so none of them is replaced.
        let never = Filter::must([Condition::matches(EPOCH, -1_i64)]);
        self.upsert(point, self.is_conditional.then_some(never)).await
    }

    async fn upsert(&self, point: PointStruct, condition: Option<Filter>) -> Result<(), SinkError> {
        let writing = self.client.upsert(&self.collection, vec![point], condition, Order::Strict).await;
        writing.map_err(|refusal| match refusal {
            Refusal::Data(error) => error.during(format!("writing `{}` in {}", self.collection, self.place())),
            Refusal::Other(error) => error,
        })
    }

    async fn set<const N: usize>(&self, condition: [Condition; 2], fields: [(&str, Value); N]) -> Result<(), SinkError> {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.client.set_where(&self.collection, Filter::must(condition), fields).await
    }

    fn gone(&self) -> SinkError {
        unavailable(
            format!("reading `{}` in {}", self.collection, self.place()),
            "the store's own record is gone; it is made anew",
        )
    }

    fn crowded(&self) -> SinkError {
        unavailable(format!("opening {}", self.place()), "others open it at the same time")
    }
}

fn has_id(id: PointId) -> Condition {
    Condition::has_id([id])
}

fn equals(field: &str, number: u64) -> Condition {
    Condition::matches(field, number.cast_signed())
}

fn below(field: &str, number: u64) -> Condition {
    Condition::range(field, Range { lt: Some(number as f64), ..Range::default() })
}

//! Opening the store: whose it is, the next epoch, the collections, the partitions, what must be read again.
//!
//! The order matters. A foreign store is refused before anything is changed. The epoch is taken before the collections are chosen, so
//! that only the latest opening chooses; the partitions last, so that what they say then stays until this writer moves it.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_log::{LogIdentity, Share};
use tidemark_sink_core::points::{PointKind, derivation};
use tidemark_sink_core::versions::{self, Versions};
use tidemark_sink_core::{SinkBatch, SinkError, StorePosition};
use tokio::time::Instant;

use crate::client::Client;
use crate::collections::{self, Found};
use crate::failure::{fatal, unavailable};
use crate::meta::{Meta, PartitionRecord, Stand, Stands};
use crate::sink::QdrantSink;
use crate::write::Turns;

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

/// A store that this writer may write.
pub(crate) struct Open {
    pub(crate) client: Client,
    pub(crate) meta: Meta,
    pub(crate) turns: Turns,
    pub(crate) versions: Versions,
    /// The server knows conditions of upserts.
    pub(crate) is_conditional: bool,
    /// Holds all partitions, also those that are not there yet.
    whole: bool,
    /// Collection → the one that holds its points.
    pub(crate) collections: BTreeMap<String, String>,
    /// What is held, as it was seen last.
    pub(crate) held: BTreeMap<u32, PartitionRecord>,
}

/// Where partitions stand.
type Moved = BTreeMap<u32, Stands>;

impl QdrantSink {
    pub(crate) async fn try_open(&self, log: LogIdentity, share: &Share) -> Result<Open, SinkError> {
        let kinds = self.kinds()?;
        let client = Client::new(&self.options)?;
        let mut meta = self.meta(&client);
        if let Some(store) = meta.store().await? {
            store.expect(&client.place, log)?;
        }
        Found::look(&client).await?.refuse_others(&self.wanted)?;
        meta.make().await?;
        let is_conditional = meta.probe().await? && !self.in_order;
        meta.bind(log).await?;
        let epoch = meta.raise().await?;
        let looked = Instant::now();
        let dimensions = self.embedder.dimensions() as u64;
        // Collections first: one that is made now is in the store's record before it is there.
        let found = Found::look(&client).await?;
        let store = meta.bind(log).await?;
        let written = written(&meta.partitions().await?);
        let chosen = collections::choose(&client, &self.wanted, &store.collections, &written, dimensions).await?;
        let store = meta.note(epoch, &self.embedder.identity(), &chosen).await?;
        collections::make(&client, &self.wanted, &store.collections, &found, dimensions).await?;
        let (held, whole) = match share {
            Share::All => {
                meta.take_whole(epoch).await?;
                let all: BTreeSet<u32> = meta.partitions().await?.into_keys().collect();
                (meta.take(&all, epoch).await?, true)
            }
            Share::Partitions(numbers) => (meta.take(numbers, epoch).await?, false),
        };
        let turns = Turns::new(epoch, looked);
        let (versions, collections) = (Versions::default(), store.collections);
        let mut open = Open { client, meta, turns, versions, is_conditional, whole, collections, held };
        open.derive(|entity, stand| self.onto(kinds, &chosen, entity, stand)).await?;
        let told = open
            .held
            .iter()
            .flat_map(|(number, record)| record.stands.iter().map(|(entity, stand)| (*number, entity.as_str(), stand.unused)));
        open.versions = Versions::of(told);
        Ok(open)
    }

    /// Where the store's records are.
    pub(crate) fn meta(&self, client: &Client) -> Meta {
        Meta::new(client.clone(), self.names.meta())
    }

    pub(crate) fn kinds(&self) -> Result<&BTreeMap<String, PointKind>, SinkError> {
        self.kinds.as_ref().map_err(|problem| fatal("making the vector store".to_owned(), problem.clone()))
    }

    /// Where an entity stands whose points are derived as they are now and go into these collections.
    pub(crate) fn onto(
        &self,
        kinds: &BTreeMap<String, PointKind>,
        collections: &BTreeMap<String, String>,
        entity: &str,
        stand: &Stand,
    ) -> Stand {
        let Some(known) = self.catalog.entity(entity) else { return stand.clone() };
        let collection = kinds.get(entity).and_then(|kind| collections.get(&kind.collection));
        stand.onto(derivation(known, &self.embedder.identity(), FORMAT), collection.map_or("", String::as_str))
    }
}

/// The collections that positions speak of.
fn written(partitions: &BTreeMap<u32, PartitionRecord>) -> BTreeSet<String> {
    let stands = partitions.values().flat_map(|record| record.stands.values());
    stands.map(|stand| stand.collection.clone()).collect()
}

impl Open {
    /// Where the points of an entity were derived otherwise, it is read again from the start.
    async fn derive(&mut self, onto: impl Fn(&str, &Stand) -> Stand) -> Result<(), SinkError> {
        let mut moved = BTreeMap::new();
        for (number, record) in &self.held {
            let stands: Stands = record.stands.iter().map(|(entity, stand)| (entity.clone(), onto(entity, stand))).collect();
            if stands != record.stands {
                moved.insert(*number, stands);
            }
        }
        self.move_all(moved).await
    }

    /// Takes partitions that nobody has written before, if all are this writer's, and looks whether those of the batch are still
    /// its own and the collections those that were opened.
    pub(crate) async fn expect_ours(&mut self, numbers: &BTreeSet<u32>) -> Result<(), SinkError> {
        let epoch = self.turns.epoch();
        let new: BTreeSet<u32> = numbers.iter().copied().filter(|number| !self.held.contains_key(number)).collect();
        if let Some(number) = new.first() {
            let store = self.meta.store().await?;
            if !self.whole || store.is_none_or(|store| store.whole != epoch) {
                return Err(SinkError::Stale(format!("partition {number} of {} is not this writer's", self.client.place)));
            }
            self.held.extend(self.meta.take(&new, epoch).await?);
        }
        let looked = Instant::now();
        let look = self.meta.look(numbers).await?;
        self.meta.expect_owner(&look, numbers, epoch)?;
        if look.store.is_none_or(|store| store.collections != self.collections) {
            return Err(unavailable(
                format!("writing {}", self.client.place),
                "its collections were replaced; it is opened anew",
            ));
        }
        self.turns.looked(looked);
        self.held.extend(look.partitions);
        Ok(())
    }

    /// What the store must be told before the batch, and where its partitions stand after it. Each part must begin where the store
    /// stands.
    pub(crate) fn next_stands(
        &self,
        batch: &SinkBatch,
        tops: &[u64],
        onto: impl Fn(&str, &Stand) -> Stand,
    ) -> Result<(Moved, Moved), SinkError> {
        let held = |number: u32| self.held.get(&number).map(|held| held.stands.clone()).unwrap_or_default();
        let (mut told, mut moved) = (Moved::new(), Moved::new());
        for (part, top) in batch.parts.iter().zip(tops) {
            let (number, name) = (part.partition, &part.entity.name);
            let stands = moved.entry(number).or_insert_with(|| held(number));
            let stand = stands.entry(name.clone()).or_insert_with(|| onto(name, &Stand::default()));
            if stand.next != part.from {
                let (place, stands, begins) = (&self.client.place, stand.next, part.from);
                let text = format!("{place} stands at {stands} of {name}, partition {number}, not at {begins}");
                return Err(SinkError::Stale(text));
            }
            if let Some(unused) = versions::told_before(*top, stand.unused) {
                stand.unused = unused;
                told.entry(number).or_insert_with(|| held(number)).insert(name.clone(), stand.clone());
            }
            stand.unused = versions::told_after(*top, stand.unused);
            stand.next = part.next;
        }
        Ok((told, moved))
    }

    /// Tells the store which versions were sent, and of no more.
    pub(crate) async fn release(mut self) -> Result<(), SinkError> {
        let mut left = Moved::new();
        for (number, record) in &self.held {
            let mut stands = record.stands.clone();
            for (entity, stand) in &mut stands {
                stand.unused = self.versions.unused(*number, entity);
            }
            if stands != record.stands {
                left.insert(*number, stands);
            }
        }
        self.move_all(left).await
    }

    /// For each part of a batch: whether rows are written that are not older.
    pub(crate) fn refreshing(&self, batch: &SinkBatch) -> Vec<bool> {
        let is_refreshed = |part: &tidemark_sink_core::TopicBatch| {
            let stands = self.held.get(&part.partition).map(|record| &record.stands);
            stands.and_then(|stands| stands.get(&part.entity.name)).is_some_and(|stand| part.from < stand.refresh_until)
        };
        batch.parts.iter().map(is_refreshed).collect()
    }

    /// Moves positions and looks whether they moved. Last of all.
    pub(crate) async fn move_all(&mut self, moved: Moved) -> Result<(), SinkError> {
        if moved.is_empty() {
            return Ok(());
        }
        let epoch = self.turns.epoch();
        for (number, stands) in &moved {
            self.meta.move_to(*number, epoch, stands).await?;
        }
        let look = self.meta.look(&moved.keys().copied().collect()).await?;
        for (number, stands) in moved {
            let stands = PartitionRecord { owner: epoch, stands };
            self.meta.expect_owner(&look, &BTreeSet::from([number]), epoch)?;
            if look.partitions.get(&number) != Some(&stands) {
                return Err(unavailable(format!("moving the positions of {}", self.client.place), "they stand elsewhere"));
            }
            self.held.insert(number, stands);
        }
        Ok(())
    }
}

/// As the port shows them, in order.
pub(crate) fn listed(records: &BTreeMap<u32, PartitionRecord>) -> Vec<StorePosition> {
    let position = |(partition, (entity, stand)): (&u32, (&String, &Stand))| StorePosition {
        entity: entity.clone(),
        partition: *partition,
        next: stand.next,
    };
    let stands = records.iter().flat_map(|(number, record)| record.stands.iter().map(move |stand| (number, stand)));
    let stands = stands.filter(|(_, (_, stand))| !stand.only_tells());
    let mut positions: Vec<StorePosition> = stands.map(position).collect();
    positions.sort();
    positions
}

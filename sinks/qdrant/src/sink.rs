//! The sink: applying, emptying, looking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_schemas::Catalog;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::points::{self, PointKind};
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, SinkRow, StorePosition, StoreReport, refused, versions};

use crate::QdrantOptions;
use crate::client::Client;
use crate::collections::{self, Found, Wanted, gone};
use crate::failure::unavailable;
use crate::meta::{Meta, Stand, Stands};
use crate::names::Names;
use crate::open::{Open, listed};
use crate::prepare::Row;
use crate::report;
use crate::write::{Done, Writing};

pub(crate) struct QdrantSink {
    pub(crate) options: QdrantOptions,
    pub(crate) names: Names,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) embedder: Arc<dyn Embedder>,
    /// What is wrong with the templates is told when the store is opened.
    pub(crate) kinds: Result<BTreeMap<String, PointKind>, String>,
    pub(crate) wanted: Vec<Wanted>,
    /// Takes every server for one that knows no conditions.
    pub(crate) in_order: bool,
    open: Option<Open>,
}

impl QdrantSink {
    pub(crate) fn new(options: QdrantOptions, catalog: Arc<Catalog>, embedder: Arc<dyn Embedder>) -> Self {
        let names = Names::new(&options.prefix);
        let kinds = points::kinds(&catalog);
        let wanted = kinds.as_ref().map(|kinds| collections::wanted(&names, kinds.values())).unwrap_or_default();
        Self { options, names, catalog, embedder, kinds, wanted, in_order: false, open: None }
    }

    async fn try_apply(&self, open: &mut Open, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let kinds = self.kinds()?;
        let (rows, skipped) = batch.collapse_where(|entity| kinds.contains_key(&entity.name)).map_err(SinkError::Rejected)?;
        let with_nul = refused::with_nul(batch, &rows);
        if !with_nul.is_empty() {
            return Err(SinkError::Rejected(with_nul));
        }
        let numbers: BTreeSet<u32> = batch.parts.iter().map(|part| part.partition).collect();
        open.expect_ours(&numbers).await?;
        let tops = versions::tops(batch, &rows);
        let onto = |entity: &str, stand: &Stand| self.onto(kinds, &open.collections, entity, stand);
        let (told, moved) = open.next_stands(batch, &tops, onto)?;
        open.move_all(told).await?;
        let unused = open.versions.pass(batch, &tops);
        let writing = Writing {
            client: &open.client,
            meta: &open.meta,
            turns: &open.turns,
            embedder: &*self.embedder,
            is_conditional: open.is_conditional,
            numbers: &numbers,
            refreshing: &open.refreshing(batch),
            unused: &unused,
            batch,
        };
        let mut done = Done::default();
        for (collection, rows) in by_collection(batch, &rows, kinds) {
            let physical = open.collections.get(collection).ok_or_else(|| gone(&open.client, collection))?;
            done.add(writing.write(physical, &rows).await?);
        }
        if !done.refused.is_empty() {
            return Err(SinkError::Rejected(done.refused));
        }
        crash::point("qdrant.before-position");
        open.move_all(moved).await?;
        crash::point("qdrant.after-position");
        Ok(Applied { written: done.written, skipped: skipped + rows.len() as u64 - done.written })
    }

    async fn try_reset(&self) -> Result<(), SinkError> {
        let client = Client::new(&self.options)?;
        let meta = self.meta(&client);
        let fenced = match fence(&meta).await {
            Ok(fenced) => fenced,
            // A record that cannot be read knows no epoch that could come again either: it goes with the rest.
            Err(error @ SinkError::Fatal { .. }) => {
                tracing::warn!(error = told(&error), "the store's own record is dropped");
                None
            }
            Err(error) => return Err(error),
        };
        let mut ours: BTreeSet<&String> = fenced.iter().flat_map(|fenced| fenced.collections.values()).collect();
        let found = Found::look(&client).await?;
        ours.extend(found.ours(&self.wanted));
        for name in ours {
            client.drop_collection(name).await?;
        }
        // Whose it is goes last: what is cut off before is done again.
        let Some(Fenced { epoch, numbers, .. }) = fenced else { return client.drop_collection(&self.names.meta()).await };
        for number in numbers {
            meta.move_to(number, epoch, &Stands::new()).await?;
        }
        meta.release(epoch).await
    }
}

/// A store that no earlier writer writes any more.
struct Fenced {
    epoch: u64,
    numbers: BTreeSet<u32>,
    collections: BTreeMap<String, String>,
}

/// Takes a store from all who write it: they are told at their next look, not by what they miss. `None` for one that nobody has made.
async fn fence(meta: &Meta) -> Result<Option<Fenced>, SinkError> {
    let Some(store) = meta.record().await? else { return Ok(None) };
    let epoch = meta.raise().await?;
    let numbers: BTreeSet<u32> = meta.partitions().await?.into_keys().collect();
    meta.take(&numbers, epoch).await?;
    Ok(Some(Fenced { epoch, numbers, collections: store.collections }))
}

/// The rows of each collection.
fn by_collection<'r, 'b>(
    batch: &SinkBatch,
    rows: &'r [SinkRow<'b>],
    kinds: &'r BTreeMap<String, PointKind>,
) -> BTreeMap<&'r str, Vec<Row<'r, 'b>>> {
    let mut found: BTreeMap<&str, Vec<Row<'_, '_>>> = BTreeMap::new();
    for row in rows {
        let Some(kind) = kinds.get(&batch.parts[row.part].entity.name) else { continue };
        found.entry(&kind.collection).or_default().push((row, kind));
    }
    found
}

#[async_trait]
impl Sink for QdrantSink {
    fn role(&self) -> Role {
        Role::Vector
    }

    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.open = None;
        let open = Box::pin(self.try_open(log, share)).await?;
        let positions = listed(&open.held);
        self.open = Some(open);
        Ok(positions)
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        // Taken: a call that is cut off, or fails with an unknown outcome, leaves a store that must be opened again.
        let Some(mut open) = self.open.take() else {
            return Err(unavailable(format!("writing {}", self.options.place()), "the store is not open"));
        };
        if batch.parts.is_empty() {
            self.open = Some(open);
            return Ok(Applied::default());
        }
        let outcome = Box::pin(self.try_apply(&mut open, batch)).await;
        self.open = matches!(outcome, Ok(_) | Err(SinkError::Rejected(_))).then_some(open);
        outcome
    }

    async fn release(&mut self) -> Result<(), SinkError> {
        match self.open.take() {
            Some(open) => Box::pin(open.release()).await,
            None => Ok(()),
        }
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let meta = self.meta(&Client::new(&self.options)?);
        let partitions = match meta.store().await? {
            Some(_) => Box::pin(meta.partitions()).await?,
            None => BTreeMap::new(),
        };
        Ok(listed(&partitions))
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        Ok(self.meta(&Client::new(&self.options)?).store().await?.map(|store| store.log()))
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        Box::pin(report::check(self, log)).await
    }

    /// Drops the collections; the next opening makes them anew. The store's own record stays, as nobody's.
    async fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        Box::pin(self.try_reset()).await
    }
}

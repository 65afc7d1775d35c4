//! A store under a prefix of its own on a real server, and looks into it by the plain client.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, RetrievedPoint, ScrollPoints, UpsertPoints};
use serde_json::Value;
use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::points::VectorHarness;
use tidemark_sink_core::contract::{LOG, StoreHarness, StoredRow};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::search::Search;
use uuid::Uuid;

use crate::QdrantOptions;
use crate::client::Client;
use crate::meta::Meta;
use crate::names::Names;
use crate::payload::vector_of;
use crate::sink::QdrantSink;

pub(crate) struct Store {
    pub(crate) options: QdrantOptions,
    pub(crate) catalog: Arc<Catalog>,
    in_order: bool,
}

/// A point as the server shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) payload: Value,
    pub(crate) vector: Vec<f32>,
}

impl Store {
    /// Under a new prefix; nothing is made yet.
    pub(crate) fn fresh(url: &str, catalog: &Arc<Catalog>) -> Self {
        let options = QdrantOptions::new(url.to_owned(), format!("test_{}_", Uuid::new_v4().simple()));
        Self { options, catalog: Arc::clone(catalog), in_order: false }
    }

    pub(crate) fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    pub(crate) fn client(&self) -> Qdrant {
        Qdrant::from_url(&self.options.url).skip_compatibility_check().build().unwrap()
    }

    pub(crate) fn alias(&self, collection: &str) -> String {
        format!("{}{collection}", self.options.prefix)
    }

    /// The store's own records.
    pub(crate) fn meta(&self) -> Meta {
        Meta::new(Client::new(&self.options).unwrap(), self.alias("tidemark_meta"))
    }

    /// What stands behind an alias.
    pub(crate) async fn behind(&self, collection: &str) -> Option<String> {
        let alias = self.alias(collection);
        let aliases = self.client().list_aliases().await.unwrap().aliases;
        aliases.into_iter().find(|found| found.alias_name == alias).map(|found| found.collection_name)
    }

    /// All points of an entity, by key; none where the collection is not there.
    pub(crate) async fn points(&self, entity: &str) -> BTreeMap<String, Shown> {
        let Some(vector) = &self.catalog.entity(entity).unwrap().vector else { return BTreeMap::new() };
        if self.behind(&vector.collection).await.is_none() {
            return BTreeMap::new();
        }
        let request = ScrollPoints {
            collection_name: self.alias(&vector.collection),
            filter: Some(Filter::must([Condition::matches("entity", entity.to_owned())])),
            limit: Some(10_000),
            with_payload: Some(true.into()),
            with_vectors: Some(true.into()),
            ..ScrollPoints::default()
        };
        let found = self.client().scroll(request).await.unwrap().result;
        found.into_iter().map(shown).map(|point| (point.payload["key"].as_str().unwrap().to_owned(), point)).collect()
    }

    /// Puts a point there as anybody could.
    pub(crate) async fn put(&self, collection: &str, point: PointStruct) {
        let request = UpsertPoints {
            collection_name: self.alias(collection),
            wait: Some(true),
            points: vec![point],
            ..UpsertPoints::default()
        };
        self.client().upsert_points(request).await.unwrap();
    }
}

fn shown(point: RetrievedPoint) -> Shown {
    let vector = vector_of(&point).unwrap();
    let id = match point.id.unwrap().point_id_options.unwrap() {
        qdrant_client::qdrant::point_id::PointIdOptions::Uuid(id) => id,
        other @ qdrant_client::qdrant::point_id::PointIdOptions::Num(_) => panic!("{other:?}"),
    };
    let payload = point.payload.into_iter().map(|(name, value)| (name, value.into_json()));
    Shown { id, payload: Value::Object(payload.collect()), vector }
}

/// To some places: the server brings vectors to length one by itself.
pub(crate) fn rounded(vector: &[f32]) -> Vec<i32> {
    vector.iter().map(|value| (value * 10_000.0).round() as i32).collect()
}

/// A sink that is open.
pub(crate) async fn opened(store: &Store) -> Box<dyn Sink> {
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink
}

impl Drop for Store {
    /// Takes its collections away, so that a server that serves many runs stays small.
    fn drop(&mut self) {
        let (options, catalog) = (self.options.clone(), Arc::clone(&self.catalog));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                crate::vector(options.clone(), catalog, Arc::new(NgramEmbedder)).reset().await?;
                Client::new(&options)?.drop_collection(&Names::new(&options.prefix).meta()).await
            })
        });
        // The server may be gone; the test has said what it had to say.
        drop(dropping.join());
    }
}

#[async_trait]
impl StoreHarness for Store {
    fn sink(&self) -> Box<dyn Sink> {
        self.sink_by(Arc::new(NgramEmbedder))
    }

    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow> {
        let mut rows = BTreeMap::new();
        for (key, Shown { id, mut payload, vector }) in self.points(entity).await {
            let (version, deleted) = (payload["version"].as_u64().unwrap(), payload["deleted"].as_bool().unwrap());
            // Which request wrote it is no part of the record.
            payload.as_object_mut().unwrap().remove("tidemark_turn").unwrap();
            let content = format!("{id} {payload} {:?}", rounded(&vector));
            rows.insert(key, StoredRow { version, deleted, content });
        }
        rows
    }
}

impl VectorHarness for Store {
    fn sink_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Sink> {
        let mut sink = QdrantSink::new(self.options.clone(), Arc::clone(&self.catalog), embedder);
        sink.in_order = self.in_order;
        Box::new(sink)
    }

    fn search_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Search> {
        crate::search(self.options.clone(), &self.catalog, embedder)
    }
}

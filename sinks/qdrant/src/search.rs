//! Search in the collections, through their aliases: the server's exact query, in the order that every store gives.
//!
//! The server breaks ties as it likes. So more is asked for than is wanted, until what comes last is less alike than the last hit;
//! then the order of keys decides which of those alike are shown. Beyond [`ASKED_MAX`] of them, any may be.

mod conditions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    Condition, DenseVector, Filter, PointId, Query as ServerQuery, QueryPoints, SearchParams, Value, VectorInput, query,
    vector_input,
};
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::points::{self, PointKind, embed_query};
use tidemark_sink_core::search::{self, Hit, Query, Search};

use crate::QdrantOptions;
use crate::client::{Client, Order, Wanted};
use crate::failure::fatal;
use crate::meta::Meta;
use crate::names::Names;
use crate::payload::{DELETED, shown};

/// Asked for beyond what is wanted, at first.
const MARGIN: usize = 16;
/// How much is asked for at the most on account of those alike. More: the answer of a large collection in which nothing is like
/// what is sought.
const ASKED_MAX: usize = 10_000;

pub(crate) struct QdrantSearch {
    options: QdrantOptions,
    names: Names,
    kinds: Result<BTreeMap<String, PointKind>, String>,
    embedder: Arc<dyn Embedder>,
}

/// A point that was found, before its payload is read.
struct Found {
    id: PointId,
    score: f32,
    entity: String,
    key: String,
}

impl QdrantSearch {
    pub(crate) fn new(options: QdrantOptions, catalog: &Catalog, embedder: Arc<dyn Embedder>) -> Self {
        let names = Names::new(&options.prefix);
        Self { names, options, kinds: points::kinds(catalog), embedder }
    }

    async fn try_search(&self, query: &Query) -> Result<Vec<Hit>, SinkError> {
        let vector = embed_query(&*self.embedder, &query.text).await?;
        let client = Client::new(&self.options)?;
        let place = &client.place;
        let Some(store) = Meta::new(client.clone(), self.names.meta()).store().await? else {
            let step = format!("{place} is not there; run `tidemark up` once to fill it");
            return Err(fatal(step, "no such collection"));
        };
        let identity = self.embedder.identity();
        if store.embedder != identity {
            return Err(search::other_embedder(place, &store.embedder, &identity));
        }
        let kinds = self.kinds.as_ref().map_err(|problem| fatal("searching".to_owned(), problem.clone()))?;
        let kinds: Vec<&PointKind> = kinds.values().filter(|kind| kind.collection == query.collection).collect();
        let conditions = conditions::all(&kinds, &query.filters);
        let (Some(mut conditions), true) = (conditions, store.collections.contains_key(&query.collection)) else {
            return Ok(Vec::new());
        };
        conditions.push(Condition::matches(DELETED, false));
        let alias = self.names.alias(&query.collection);
        let found = nearest(&client, &alias, vector, Filter::must(conditions), query.limit).await?;
        read(&client, &alias, found).await
    }
}

#[async_trait]
impl Search for QdrantSearch {
    async fn search(&self, query: Query) -> Result<Vec<Hit>, SinkError> {
        Box::pin(self.try_search(&query)).await
    }
}

/// The best so many, in order.
async fn nearest(client: &Client, alias: &str, vector: Vec<f32>, filter: Filter, limit: usize) -> Result<Vec<Found>, SinkError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let nearest = VectorInput { variant: Some(vector_input::Variant::Dense(DenseVector { data: vector })) };
    let mut request = QueryPoints {
        collection_name: alias.to_owned(),
        query: Some(ServerQuery { variant: Some(query::Variant::Nearest(nearest)) }),
        filter: Some(filter),
        params: Some(SearchParams { exact: Some(true), ..SearchParams::default() }),
        with_payload: Some(vec!["entity", "key"].into()),
        ..QueryPoints::default()
    };
    let mut asked = limit + MARGIN;
    loop {
        request.limit = Some(asked as u64);
        let mut found: Vec<Found> = Vec::new();
        for point in client.query(request.clone()).await? {
            let text = |name: &str| point.payload.get(name).and_then(Value::as_str).cloned().unwrap_or_default();
            let (entity, key, score) = (text("entity"), text("key"), search::score(point.score));
            found.extend(point.id.map(|id| Found { id, score, entity, key }));
        }
        let is_settled = found.len() < asked || found[found.len() - 1].score < found[limit - 1].score;
        if is_settled || asked >= ASKED_MAX {
            found.sort_by(|one, other| {
                search::order((one.score, &one.entity, &one.key), (other.score, &other.entity, &other.key))
            });
            found.truncate(limit);
            return Ok(found);
        }
        asked = (asked * 4).min(ASKED_MAX.max(limit));
    }
}

/// The hits with their payloads.
async fn read(client: &Client, alias: &str, found: Vec<Found>) -> Result<Vec<Hit>, SinkError> {
    let ids: Vec<PointId> = found.iter().map(|found| found.id.clone()).collect();
    let mut payloads: HashMap<PointId, HashMap<String, Value>> = HashMap::new();
    for some in ids.chunks(ASKED_MAX) {
        let wanted = Wanted { fields: &[], vectors: false };
        let points = client.points(alias, some.to_vec(), wanted, Order::Any).await?.unwrap_or_default();
        payloads.extend(points.into_iter().filter_map(|point| Some((point.id?, point.payload))));
    }
    let mut hits = Vec::with_capacity(found.len());
    for Found { id, score, entity, key } in found {
        // One that was deleted in between is none any more.
        let is_live = |payload: &HashMap<String, Value>| {
            payload.get(DELETED).and_then(|value| value.kind.as_ref()) != Some(&Kind::BoolValue(true))
        };
        if let Some(payload) = payloads.remove(&id).filter(is_live) {
            hits.push(Hit { entity, key, score, payload: shown(payload) });
        }
    }
    Ok(hits)
}

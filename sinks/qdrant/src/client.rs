//! The calls that are made of the server, each with what it takes for granted, and its error named by what was tried.
//!
//! Every write waits until it is applied. The client repeats reads and writes of points once by itself when a connection broke, so
//! one request may be applied twice; all are made so that this does not matter.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateAlias, CreateCollection, CreateFieldIndexCollection, DeleteCollection, Distance,
    FieldType, Filter, GetPoints, PointId, PointStruct, PointsOperationResponse, QueryPoints, ReadConsistency,
    ReadConsistencyType, RetrievedPoint, ScoredPoint, ScrollPoints, SetPayloadPoints, UpdateResult, UpdateStatus, UpsertPoints,
    Value, VectorParams, VectorsConfig, WriteOrdering, WriteOrderingType, points_selector, read_consistency, vectors_config,
};
use tidemark_sink_core::SinkError;

use crate::QdrantOptions;
use crate::failure::{Class, ServerError, fatal, unavailable};

/// Records of the store itself that are read in one go; there is one for each partition.
const PAGE: u32 = 1_000;

/// How requests about one point stand to each other where there are replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they come: what they say makes up for it.
    Any,
    /// One after the other, and read as most replicas have it.
    Strict,
}

impl Order {
    fn writing(self) -> Option<WriteOrdering> {
        (self == Self::Strict).then_some(WriteOrdering { r#type: WriteOrderingType::Strong.into() })
    }

    fn reading(self) -> Option<ReadConsistency> {
        let majority = read_consistency::Value::Type(ReadConsistencyType::Majority.into());
        (self == Self::Strict).then_some(ReadConsistency { value: Some(majority) })
    }
}

/// What is read of points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    /// Fields of the payload, each whole; all where none is named.
    pub(crate) fields: &'w [&'w str],
    pub(crate) vectors: bool,
}

/// Why points were not written.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// One of them is wrong; none was written.
    Data(ServerError),
    /// Anything else.
    Other(SinkError),
}

#[derive(Clone)]
pub(crate) struct Client {
    inner: Qdrant,
    /// For messages.
    pub(crate) place: String,
    is_rest_port: bool,
}

impl Client {
    /// Connects at the first call.
    pub(crate) fn new(options: &QdrantOptions) -> Result<Self, SinkError> {
        let place = options.place();
        let unusable =
            |problem: String| fatal(format!("correct the vector sink in the configuration: {problem}"), "wrong options");
        if let Some(problem) = options.problems().into_iter().next() {
            return Err(unusable(problem));
        }
        // The client's own look at versions would block, and print.
        let inner = Qdrant::from_url(&options.url)
            .timeout(options.request_timeout)
            .connect_timeout(options.connect_timeout)
            .api_key(options.api_key.clone())
            .skip_compatibility_check()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { inner, place, is_rest_port: options.url.trim_end_matches('/').ends_with(":6333") })
    }

    /// Of the server.
    pub(crate) async fn version(&self) -> Result<String, SinkError> {
        let reply = self.inner.health_check().await.map_err(|error| {
            let mut error = ServerError::from(error);
            if self.is_rest_port {
                error = error.with_hint("6333 is the port for REST, name the one for gRPC (6334)");
            }
            error.during(format!("reaching {}", self.place))
        })?;
        Ok(reply.version)
    }

    /// Names of all collections.
    pub(crate) async fn collections(&self) -> Result<BTreeSet<String>, SinkError> {
        let reply = self.inner.list_collections().await.map_err(|error| self.during("listing collections", error))?;
        Ok(reply.collections.into_iter().map(|collection| collection.name).collect())
    }

    /// All aliases and what they stand for.
    pub(crate) async fn aliases(&self) -> Result<BTreeMap<String, String>, SinkError> {
        let reply = self.inner.list_aliases().await.map_err(|error| self.during("listing aliases", error))?;
        Ok(reply.aliases.into_iter().map(|alias| (alias.alias_name, alias.collection_name)).collect())
    }

    /// Of one collection; `None` where it is not there.
    pub(crate) async fn describe(&self, collection: &str) -> Result<Option<CollectionInfo>, SinkError> {
        match self.inner.collection_info(collection).await.map_err(ServerError::from) {
            Ok(reply) => Ok(reply.result),
            Err(error) if error.class == Class::Gone => Ok(None),
            Err(error) => Err(self.during(&format!("describing `{collection}`"), error)),
        }
    }

    /// Makes a collection that is not there.
    pub(crate) async fn create(&self, collection: &str, dimensions: u64, distance: Distance) -> Result<(), SinkError> {
        let vectors = VectorParams { size: dimensions, distance: distance.into(), ..VectorParams::default() };
        let request = CreateCollection {
            collection_name: collection.to_owned(),
            vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(vectors)) }),
            ..CreateCollection::default()
        };
        match self.inner.create_collection(request).await.map_err(ServerError::from) {
            Err(error) if error.class != Class::Exists => Err(self.during(&format!("making `{collection}`"), error)),
            _ => Ok(()),
        }
    }

    /// Makes an index over a field of the payload.
    pub(crate) async fn index(&self, collection: &str, field: &str, kind: FieldType) -> Result<(), SinkError> {
        let request = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: field.to_owned(),
            field_type: Some(kind.into()),
            ..CreateFieldIndexCollection::default()
        };
        let step = || format!("making the index of `{collection}` over `{field}`");
        let response = self.inner.create_field_index(request).await.map_err(|error| self.during(&step(), error))?;
        self.completed(&response, &step())
    }

    /// Lets an alias stand for a collection, whatever it stood for.
    pub(crate) async fn point_alias(&self, alias: &str, collection: &str) -> Result<(), SinkError> {
        let request = CreateAlias { collection_name: collection.to_owned(), alias_name: alias.to_owned() };
        let step = format!("letting `{alias}` stand for `{collection}`");
        self.inner.create_alias(request).await.map(drop).map_err(|error| self.during(&step, error))
    }

    /// Drops a collection with all aliases of it, if it is there.
    pub(crate) async fn drop_collection(&self, collection: &str) -> Result<(), SinkError> {
        let request = DeleteCollection { collection_name: collection.to_owned(), ..DeleteCollection::default() };
        let step = format!("dropping `{collection}`");
        self.inner.delete_collection(request).await.map(drop).map_err(|error| self.during(&step, error))
    }

    /// Those of these points that are there; `None` where the collection is not.
    pub(crate) async fn points(
        &self,
        collection: &str,
        ids: Vec<PointId>,
        wanted: Wanted<'_>,
        order: Order,
    ) -> Result<Option<Vec<RetrievedPoint>>, SinkError> {
        let fields = if wanted.fields.is_empty() { true.into() } else { wanted.fields.to_vec().into() };
        let request = GetPoints {
            collection_name: collection.to_owned(),
            ids,
            with_payload: Some(fields),
            with_vectors: Some(wanted.vectors.into()),
            read_consistency: order.reading(),
            ..GetPoints::default()
        };
        match self.inner.get_points(request).await.map_err(ServerError::from) {
            Ok(reply) => Ok(Some(reply.result)),
            Err(error) if error.class == Class::Gone => Ok(None),
            Err(error) => Err(self.during(&format!("reading `{collection}`"), error)),
        }
    }

    /// All points of a small collection.
    pub(crate) async fn all_points(&self, collection: &str) -> Result<Vec<RetrievedPoint>, SinkError> {
        let mut found = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollPoints {
                collection_name: collection.to_owned(),
                offset,
                limit: Some(PAGE),
                with_payload: Some(true.into()),
                read_consistency: Order::Strict.reading(),
                ..ScrollPoints::default()
            };
            let step = || format!("reading `{collection}`");
            let page = self.inner.scroll(request).await.map_err(|error| self.during(&step(), error))?;
            found.extend(page.result);
            offset = page.next_page_offset;
            if offset.is_none() {
                return Ok(found);
            }
        }
    }

    /// Inserts points; of those that are there, replaces the ones that meet the condition, or all where there is none. Servers
    /// before 1.16 replace all.
    pub(crate) async fn upsert(
        &self,
        collection: &str,
        points: Vec<PointStruct>,
        condition: Option<Filter>,
        order: Order,
    ) -> Result<(), Refusal> {
        let request = UpsertPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            points,
            ordering: order.writing(),
            update_filter: condition,
            ..UpsertPoints::default()
        };
        let step = format!("writing `{collection}`");
        match self.inner.upsert_points(request).await.map_err(ServerError::from) {
            Ok(response) => self.completed(&response, &step).map_err(Refusal::Other),
            Err(error) if error.class == Class::Data => Err(Refusal::Data(error)),
            Err(error) => Err(Refusal::Other(self.during(&step, error))),
        }
    }

    /// Sets these fields of the points that meet the condition, in one step of the server.
    pub(crate) async fn set_where(
        &self,
        collection: &str,
        condition: Filter,
        fields: HashMap<String, Value>,
    ) -> Result<(), SinkError> {
        let request = SetPayloadPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            payload: fields,
            points_selector: Some(points_selector::PointsSelectorOneOf::Filter(condition).into()),
            ordering: Order::Strict.writing(),
            ..SetPayloadPoints::default()
        };
        let step = format!("writing `{collection}`");
        let response = self.inner.set_payload(request).await.map_err(|error| self.during(&step, error))?;
        self.completed(&response, &step)
    }

    /// How many points there are.
    pub(crate) async fn count(&self, collection: &str) -> Result<u64, SinkError> {
        let request = CountPoints { collection_name: collection.to_owned(), exact: Some(true), ..CountPoints::default() };
        let step = format!("counting `{collection}`");
        let reply = self.inner.count(request).await.map_err(|error| self.during(&step, error))?;
        Ok(reply.result.map_or(0, |result| result.count))
    }

    /// The nearest points.
    pub(crate) async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>, SinkError> {
        let step = format!("searching `{}`", request.collection_name);
        Ok(self.inner.query(request).await.map_err(|error| self.during(&step, error))?.result)
    }

    fn during(&self, step: &str, error: impl Into<ServerError>) -> SinkError {
        error.into().during(format!("{step} in {}", self.place))
    }

    /// Every write waits; the server may give up waiting, and says so without an error.
    fn completed(&self, response: &PointsOperationResponse, step: &str) -> Result<(), SinkError> {
        match response.result.as_ref().map(UpdateResult::status) {
            Some(UpdateStatus::Completed) => Ok(()),
            other => {
                let status = other.map_or("no status", |status| status.as_str_name());
                Err(unavailable(
                    format!("{step} in {}", self.place),
                    format!("it was taken but is not carried out yet: {status}"),
                ))
            }
        }
    }
}

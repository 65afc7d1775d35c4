//! The vector store in collections of Qdrant, read by the official client.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_client::qdrant::vector_output::Vector;
use qdrant_client::qdrant::{PointId, RetrievedPoint, ScrollPointsBuilder, VectorsOutput};
use serde_json::Value;

use super::Points;
use crate::oracle::graph::COLLECTIONS;
use crate::runtime::finish;
use crate::stores::Point;

/// Points of one answer.
const PAGE: u32 = 1_000;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Qdrant {
    /// Its gRPC interface.
    pub(crate) url: String,
    /// Before the names of the store's collections.
    pub(crate) prefix: String,
}

impl Qdrant {
    fn client(&self) -> qdrant_client::Qdrant {
        qdrant_client::Qdrant::from_url(&self.url).skip_compatibility_check().build().expect("an address")
    }

    /// Whether the server answers.
    pub(crate) fn answers(&self) -> bool {
        finish(async { self.client().list_collections().await.is_ok() })
    }

    /// Takes the collections away.
    pub(crate) fn remove(&self) {
        finish(async {
            let client = self.client();
            let all = client.list_collections().await.expect("the server lists its collections").collections;
            for name in all.into_iter().map(|found| found.name).filter(|name| name.starts_with(&self.prefix)) {
                client.delete_collection(&name).await.unwrap_or_else(|error| panic!("Qdrant, dropping {name}: {error}"));
            }
        });
    }
}

impl Points for Qdrant {
    fn points(&self) -> BTreeMap<(String, String), Point> {
        finish(async {
            let client = self.client();
            let mut found = BTreeMap::new();
            for collection in COLLECTIONS.iter().map(|(_, collection, _)| *collection).collect::<BTreeSet<_>>() {
                for point in points(&client, &format!("{}{collection}", self.prefix)).await {
                    let payload = payload_of(&point);
                    if payload["deleted"] == true {
                        continue;
                    }
                    let key = payload["key"].as_str().expect("a key is text").to_owned();
                    let before = found.insert((collection.to_owned(), key), Point { vector: vector_of(&point), payload });
                    assert!(before.is_none(), "a point stands there twice: {before:?}");
                }
            }
            found
        })
    }
}

async fn points(client: &qdrant_client::Qdrant, collection: &str) -> Vec<RetrievedPoint> {
    let (mut all, mut offset): (Vec<RetrievedPoint>, Option<PointId>) = (Vec::new(), None);
    loop {
        let mut request = ScrollPointsBuilder::new(collection).limit(PAGE).with_payload(true).with_vectors(true);
        if let Some(offset) = offset {
            request = request.offset(offset);
        }
        let page = client.scroll(request).await.unwrap_or_else(|error| panic!("Qdrant, {collection}: {error}"));
        all.extend(page.result);
        offset = page.next_page_offset;
        if offset.is_none() {
            return all;
        }
    }
}

fn payload_of(point: &RetrievedPoint) -> Value {
    let payload = point.payload.iter().map(|(field, value)| (field.clone(), value.clone().into_json()));
    Value::Object(payload.collect())
}

fn vector_of(point: &RetrievedPoint) -> Vec<f32> {
    match point.vectors.as_ref().and_then(VectorsOutput::get_vector) {
        Some(Vector::Dense(dense)) => dense.data,
        other => panic!("a live point has one dense vector, not {other:?}"),
    }
}

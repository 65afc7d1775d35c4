//! Rows into Qdrant: points of the same payload and vector, 256 a request, three requests under way.
//!
//! The vectors are the sink's own embedder's: they are a part of what is sent, and not of what is compared. So is the hash of the
//! text, by which an embedder is asked for changed texts only.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, ensure};
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{PointId, PointStruct, UpdateStatus, UpsertPointsBuilder, Value};
use tidemark_schemas::{Catalog, State, json};
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::points::{self, PayloadValue, PointKind};

use super::Task;

/// Points of one request, and requests under way, as the sink has them.
const POINTS: usize = 256;
const REQUESTS: usize = 3;

pub(super) struct Writer {
    client: Qdrant,
    kind: PointKind,
    collection: String,
}

impl Writer {
    pub(super) fn new(task: &Task, catalog: &Catalog) -> Result<Self> {
        let kind = points::kinds(catalog).map_err(|problem| anyhow!(problem))?.remove(task.kind.name());
        let kind = kind.with_context(|| format!("{} makes no points", task.kind.name()))?;
        let client = Qdrant::from_url(&task.address).skip_compatibility_check().timeout(std::time::Duration::from_secs(60));
        let collection = format!("{}{}", task.place, kind.collection);
        Ok(Self { client: client.build()?, kind, collection })
    }

    pub(super) async fn write(&mut self, rows: &[State<'_>]) -> Result<()> {
        for requests in rows.chunks(POINTS * REQUESTS) {
            let sending = requests.chunks(POINTS).map(|rows| self.send(rows));
            futures::future::try_join_all(sending).await?;
        }
        Ok(())
    }

    async fn send(&self, rows: &[State<'_>]) -> Result<()> {
        let texts: Vec<String> = rows.iter().map(|state| self.kind.text(state)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = NgramEmbedder.embed(&texts).await?;
        let identity = NgramEmbedder.identity();
        let hashes = texts.iter().map(|text| points::text_hash(&identity, text));
        let points = rows.iter().zip(vectors).zip(hashes).map(|((state, vector), hash)| self.point(state, vector, hash));
        let points: Vec<PointStruct> = points.collect();
        let done = self.client.upsert_points(UpsertPointsBuilder::new(&self.collection, points).wait(true)).await?;
        let status = done.result.map(|result| result.status());
        ensure!(status == Some(UpdateStatus::Completed), "{status:?}");
        Ok(())
    }

    fn point(&self, state: &State<'_>, vector: Vec<f32>, text_hash: i64) -> PointStruct {
        let mut payload: HashMap<String, Value> = HashMap::new();
        self.kind.each_field(state, |name, value| {
            let value = match value {
                PayloadValue::Text(text) => Value::from(text),
                PayloadValue::Int(number) => Value::from(number),
                PayloadValue::Cell(kind, cell) => Value::from(json::cell_to_json(kind, cell)),
            };
            payload.insert(name.to_owned(), value);
        });
        payload.insert("version".to_owned(), Value::from(state.version.cast_signed()));
        payload.insert("deleted".to_owned(), Value::from(false));
        payload.insert("tidemark_text_hash".to_owned(), Value::from(text_hash));
        let id = PointId::from(self.kind.id(&state.key).hyphenated().to_string());
        PointStruct { id: Some(id), vectors: Some(vector.into()), payload }
    }
}

//! A store in a space of its own, and looks into it by a session of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidemark_schemas::Catalog;
use tidemark_sink_core::Sink;
use tidemark_sink_core::contract::{StoreHarness, StoredRow};
use uuid::Uuid;

use crate::NebulaOptions;
use crate::client::{Properties, Session, Value};
use crate::ngql::Name;
use crate::setup::Setup;
use crate::shape::EDGE_RECORD;

/// The server's options, in a new space.
pub(crate) fn options(address: &str) -> NebulaOptions {
    NebulaOptions {
        addresses: vec![address.to_owned()],
        user: "root".to_owned(),
        password: "nebula".to_owned(),
        space: format!("test_{}", Uuid::new_v4().simple()),
        partitions: 4,
        connect_timeout: Duration::from_secs(10),
        ..NebulaOptions::default()
    }
}

pub(crate) struct Store {
    address: String,
    pub(crate) options: NebulaOptions,
    pub(crate) catalog: Arc<Catalog>,
}

impl Store {
    pub(crate) fn fresh(address: &str, catalog: &Arc<Catalog>) -> Self {
        Self { address: address.to_owned(), options: options(address), catalog: Arc::clone(catalog) }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut NebulaOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// The options straight to the server, whatever its own go through.
    fn direct(&self) -> NebulaOptions {
        NebulaOptions { addresses: vec![self.address.clone()], ..self.options.clone() }
    }

    /// A session straight to the server; `None` while the space is not there.
    pub(crate) async fn session(&self) -> Option<Session> {
        let setup = Setup::new(self.direct(), &self.catalog).unwrap();
        let mut session = Session::new(&setup.client, None, 0);
        session.choose(&Name::try_new(&self.options.space).unwrap()).await.ok()?;
        Some(session)
    }

    /// Rows of a statement; none where the space or the tag is not there.
    pub(crate) async fn query(&self, statement: &str) -> Vec<Vec<Value>> {
        let Some(mut session) = self.session().await else { return Vec::new() };
        session.execute(statement, &Properties::new()).await.map(|reply| reply.rows).unwrap_or_default()
    }

    /// Vertices of a tag: id → properties that are not null.
    pub(crate) async fn vertices(&self, tag: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        for row in self.query(&format!("MATCH (v:`{tag}`) RETURN v LIMIT 1000000")).await {
            let [Value::Vertex(id, tags)] = row.as_slice() else { panic!("{row:?}") };
            let properties = tags.iter().find(|(name, _)| name == tag.as_bytes()).map(|(_, properties)| named(properties));
            found.insert(id.as_text().unwrap().to_owned(), properties.unwrap());
        }
        found
    }

    /// All edges: (source, type, target, rank) → properties that are not null.
    pub(crate) async fn edges(&self) -> BTreeMap<(String, String, String, i64), BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        for row in self.query("MATCH ()-[e]->() RETURN e LIMIT 1000000").await {
            let [Value::Edge(edge)] = row.as_slice() else { panic!("{row:?}") };
            let text = |value: &Value| value.as_text().unwrap().to_owned();
            let kind = String::from_utf8(edge.name.clone()).unwrap();
            let place = (text(&edge.source), kind, text(&edge.target), edge.rank);
            assert_eq!(found.insert(place, named(&edge.properties)), None, "an edge stands there twice");
        }
        found
    }
}

impl Drop for Store {
    /// Takes its space away, so that a server that serves many runs stays small.
    fn drop(&mut self) {
        let (direct, catalog) = (self.direct(), Arc::clone(&self.catalog));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { crate::graph(direct, catalog).reset().await })
        });
        // The server may be gone; the test has said what it had to say.
        drop(dropping.join());
    }
}

fn named(properties: &Properties) -> BTreeMap<String, Value> {
    let given = properties.iter().filter(|(_, value)| !matches!(value, Value::Null(_) | Value::Empty));
    given.map(|(name, value)| (String::from_utf8(name.clone()).unwrap(), value.clone())).collect()
}

#[async_trait]
impl StoreHarness for Store {
    fn sink(&self) -> Box<dyn Sink> {
        crate::graph(self.options.clone(), Arc::clone(&self.catalog))
    }

    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow> {
        let is_edge = matches!(self.catalog.entity(entity).unwrap().graph, tidemark_schemas::attributes::Graph::Edge(_));
        let vertices = self.vertices(if is_edge { EDGE_RECORD } else { entity }).await;
        let edges = self.edges().await;
        let mut rows = BTreeMap::new();
        for (id, properties) in vertices {
            let mut content = format!("{properties:?}\n");
            for (edge, properties) in edges.iter().filter(|((source, ..), _)| *source == id) {
                content.push_str(&format!("{edge:?} {properties:?}\n"));
            }
            let version = properties["version"].as_int().unwrap().cast_unsigned();
            let deleted = properties.contains_key("deleted_at");
            rows.insert(properties["key"].as_text().unwrap().to_owned(), StoredRow { version, deleted, content });
        }
        rows
    }
}

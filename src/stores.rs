//! Adapters by configuration: which sink keeps a role, which connector reads a source, who embeds. Opens nothing.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tidemark_connector_core::Connector;
use tidemark_connector_file::{Clock, FileConnector, FileOptions, Part, Selection, StatisticsHandle};
use tidemark_pipelines::engine::BatchLimits;
use tidemark_replay::StoreName;
use tidemark_sink_core::embedder::Embedder;
use tidemark_sink_core::embedder::http::{HttpEmbedder, HttpOptions};
use tidemark_sink_core::embedder::ngram::NgramEmbedder;
use tidemark_sink_core::search::Search;
use tidemark_sink_core::{Role, Sink};

use crate::configuration::stores::{LogPlace, Store};
use crate::configuration::valid::EmbedderSettings;
use crate::exit::UsageError;
use crate::instance;
use crate::session::Session;
use crate::workplace::Workplace;

/// A connector, with a look at what it has done.
pub(crate) struct Source {
    /// The connector.
    pub(crate) connector: Box<dyn Connector>,
    /// What it has done.
    pub(crate) statistics: StatisticsHandle,
}

/// The adapter that keeps this role.
pub(crate) fn sink(workplace: &Workplace, role: Role) -> Result<Box<dyn Sink>> {
    let store = workplace.configuration.sinks.get(&role);
    let store = store.ok_or_else(|| UsageError(format!("the {} store is switched off by the configuration", role.name())))?;
    sink_at(workplace, role, store)
}

/// What the role's store is called on the log.
pub(crate) fn name(workplace: &Workplace, role: Role) -> Result<StoreName> {
    let configuration = &workplace.configuration;
    Ok(match (&configuration.log.place, configuration.store(role)) {
        (LogPlace::Kafka(_), Store::Sqlite(_)) => StoreName::of_worker(role, instance::of(&workplace.data)?),
        _ => StoreName::shared(role),
    })
}

/// The adapter for this role's store, whether it is kept or switched off.
pub(crate) fn sink_at(workplace: &Workplace, role: Role, store: &Store) -> Result<Box<dyn Sink>> {
    let catalog = Arc::clone(&workplace.catalog);
    let vip_levels = || workplace.configuration.vip_levels.clone();
    Ok(match store {
        Store::Sqlite(path) => {
            let path = path.clone();
            match role {
                Role::Relational => tidemark_sink_sqlite::relational(path, catalog),
                Role::Graph => tidemark_sink_sqlite::graph(path, catalog),
                Role::Vector => tidemark_sink_sqlite::vector(path, catalog, embedder(workplace)?),
                Role::Analytics => tidemark_sink_sqlite::analytics(path, catalog, vip_levels(), utc_offset(workplace)?),
            }
        }
        Store::Postgres(options) => tidemark_sink_postgres::relational(options.clone(), catalog),
        Store::Nebula(options) => tidemark_sink_nebula::graph(options.clone(), catalog),
        Store::Qdrant(options) => tidemark_sink_qdrant::vector(options.clone(), catalog, embedder(workplace)?),
        Store::ClickHouse(options) => {
            tidemark_sink_clickhouse::analytics(options.clone(), catalog, vip_levels(), utc_offset(workplace)?)
        }
    })
}

/// The search in the vector store.
pub(crate) fn search(workplace: &Workplace) -> Result<Box<dyn Search>> {
    match workplace.configuration.sinks.get(&Role::Vector) {
        Some(Store::Sqlite(path)) => Ok(tidemark_sink_sqlite::search(path.clone(), embedder(workplace)?)),
        Some(Store::Qdrant(options)) => {
            Ok(tidemark_sink_qdrant::search(options.clone(), &workplace.catalog, embedder(workplace)?))
        }
        _ => Err(UsageError("the vector store is switched off by the configuration".to_owned()).into()),
    }
}

/// Seconds east of the zone in which a day of the views begins, as they are now.
fn utc_offset(workplace: &Workplace) -> Result<i32> {
    let zone = TimeZone::get(&workplace.configuration.zone).context("zone")?;
    Ok(zone.to_offset(Timestamp::now()).seconds())
}

/// Bounds of a store's batches. In a file a batch is one transaction, so one that fails has embedded for nothing: where a service does
/// that, which may count or limit its requests, a batch there is one of them.
pub(crate) fn limits(workplace: &Workplace, role: Role, limits: BatchLimits) -> BatchLimits {
    let configuration = &workplace.configuration;
    match (&configuration.embedder, configuration.store(role)) {
        (EmbedderSettings::OpenAi { texts_per_request, .. }, Store::Sqlite(_)) if role == Role::Vector => {
            BatchLimits { records_max: limits.records_max.min(*texts_per_request), ..limits }
        }
        _ => limits,
    }
}

/// Who turns texts into vectors.
pub(crate) fn embedder(workplace: &Workplace) -> Result<Arc<dyn Embedder>> {
    match &workplace.configuration.embedder {
        EmbedderSettings::BuiltIn => Ok(Arc::new(NgramEmbedder)),
        EmbedderSettings::OpenAi { url, model, dimensions, api_key, texts_per_request } => {
            let options = HttpOptions {
                base_url: url.clone(),
                model: model.clone(),
                dimensions: *dimensions,
                api_key: api_key.as_ref().map(|key| key.expose().to_owned()),
                texts_per_request: *texts_per_request,
            };
            Ok(Arc::new(HttpEmbedder::try_new(options).context("making the embedder")?))
        }
    }
}

/// How the file connector is to work. An error when it is switched off.
pub(crate) fn file_options(workplace: &Workplace) -> Result<FileOptions> {
    let configuration = &workplace.configuration;
    let file = configuration.file.as_ref().ok_or_else(|| UsageError("connectors.file is switched off".to_owned()))?;
    let mut options = FileOptions::new(file.root.clone());
    options.zone = TimeZone::get(&configuration.zone).context("zone")?;
    options.scan_interval = file.scan_interval;
    options.settle = file.settle;
    options.broken_after = file.broken_after;
    options.disk_free_min = configuration.disk_free_min;
    let log_file = match &configuration.log.place {
        LogPlace::Embedded(path) => Some(path),
        LogPlace::Kafka(_) => None,
    };
    let log_folder = log_file.and_then(|path| path.parent()).filter(|folder| !folder.as_os_str().is_empty());
    options.disk_paths = std::iter::once(&*workplace.data).chain(log_folder).map(Path::to_owned).collect();
    options.processed_days = configuration.processed_days;
    Ok(options)
}

/// The file connector, reading what is selected. The whole tree is also watched for what comes later; a part is looked through.
pub(crate) fn file_source(session: &Session, selection: Selection) -> Result<Source> {
    let mut options = file_options(&session.workplace)?;
    options.watch = selection.part == Part::All;
    options.selection = selection;
    let Session { pipeline, .. } = session;
    let (log, topics, catalog) = (Arc::clone(&pipeline.log), pipeline.topics.clone(), Arc::clone(&pipeline.catalog));
    let connector = FileConnector::new(log, topics, catalog, options, Clock::system());
    let statistics = connector.statistics();
    Ok(Source { connector: Box::new(connector), statistics })
}

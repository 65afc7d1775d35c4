//! Running stages: claimed, started, watched, drained. What `up`, `run`, `import` have in common.
//!
//! Guarantees: every task is awaited; the locks are given back only when the stages have ended. Draining ends a stage between two
//! batches and is bounded; what it cuts off is repeated at the next start.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tidemark_log::LogError;
use tidemark_pipelines::engine::{BatchLimits, Pipeline};
use tidemark_pipelines::status::StatusBoard;
use tidemark_replay::{Builds, ReplayingSink};
use tidemark_sink_core::report::told;
use tidemark_sink_core::{Role, Sink};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::maintenance::Upkeep;
use crate::stages::{self, Claims};
use crate::stores::{self, Source};
use crate::view::View;
use crate::workplace::{OpenLog, Workplace};
use crate::{http, maintenance, quiet};

/// How long stages may take to drain: a batch takes a fraction of a second, and five seconds are promised in all.
const DRAIN_MAX: Duration = Duration::from_millis(4_500);

/// Stages at work.
pub(crate) struct Session {
    /// Configuration, folder, entities.
    pub(crate) workplace: Arc<Workplace>,
    /// The log.
    pub(crate) log: OpenLog,
    /// What the stages share.
    pub(crate) pipeline: Pipeline,
    /// Which stages are ours.
    pub(crate) claims: Claims,
    /// Which builds of the stores are wanted.
    pub(crate) builds: Arc<Builds>,
    /// What runs.
    pub(crate) tasks: Tasks,
    view: View,
}

/// Stages, and what runs beside them.
#[derive(Default)]
pub(crate) struct Tasks {
    stages: JoinSet<()>,
    helpers: JoinSet<Result<()>>,
}

impl Tasks {
    /// Returns when a stage or helper ends by itself, which none does before shutdown unless it is broken.
    pub(crate) async fn failed(&mut self, board: &StatusBoard) -> Result<()> {
        tokio::select! {
            Some(ended) = self.stages.join_next() => {
                ended.context("a stage broke down")?;
                Err(quiet::cannot_go_on(board).unwrap_or_else(|| anyhow!("a stage ended by itself; the log above says why")))
            }
            Some(ended) = self.helpers.join_next() => {
                ended.context("a helper task broke down")??;
                bail!("a helper task ended by itself")
            }
            // Nothing of ours runs: others do all the work.
            else => pending().await,
        }
    }
}

impl Session {
    /// Opens the log and gets the topics ready; no stage runs yet.
    pub(crate) async fn open(workplace: Workplace, claims: Claims, view: &View) -> Result<Self> {
        let log = workplace.open_log().await?;
        Self::over(log, workplace, claims, view).await
    }

    /// The same for a log that must be there already, as a worker that comes and goes: on Kafka it gets no partitions back by its
    /// name, and so keeps none from the others when it has gone.
    pub(crate) async fn open_existing(workplace: Workplace, claims: Claims, view: &View) -> Result<Self> {
        let log = workplace.open_existing_log().await?;
        Self::over(log, workplace, claims, view).await
    }

    async fn over(log: OpenLog, workplace: Workplace, claims: Claims, view: &View) -> Result<Self> {
        let pipeline = Pipeline {
            log: Arc::clone(&log.log),
            topics: workplace.topics.clone(),
            catalog: Arc::clone(&workplace.catalog),
            board: StatusBoard::default(),
            shutdown: CancellationToken::new(),
        };
        pipeline.prepare(workplace.configuration.log.partitions).await.context("preparing the log's topics")?;
        match pipeline.declare_schemas().await {
            Ok(()) => {}
            // Every stage asks again before it runs.
            Err(error @ LogError::Unavailable { .. }) => {
                let error = told(&error);
                tracing::warn!(error, "schemas not registered yet");
            }
            Err(error) => return Err(error).context("registering the schemas of the log's records"),
        }
        let names =
            workplace.configuration.sinks.keys().map(|role| stores::name(&workplace, *role)).collect::<Result<Vec<_>>>()?;
        let builds = Arc::new(Builds::new(Arc::clone(&log.log), workplace.topics.clone(), names));
        Ok(Self { workplace: Arc::new(workplace), log, pipeline, claims, builds, view: view.clone(), tasks: Tasks::default() })
    }

    /// Keeps metrics up, and serves `/health`, `/ready`, `/metrics` where that is wanted; says where. A taken port is an error, or only a warning where the command ends by
    /// itself.
    pub(crate) async fn serve_http(&mut self, metrics: PrometheusHandle, port_is_needed: bool) -> Result<Option<SocketAddr>> {
        self.tasks.helpers.spawn(http::keep_up(metrics.clone(), self.pipeline.shutdown.clone()));
        let Some(address) = self.workplace.configuration.http else { return Ok(None) };
        match http::bind(address).await {
            Ok(listener) => {
                let (board, shutdown) = (self.pipeline.board.clone(), self.pipeline.shutdown.clone());
                let address = listener.local_addr().context("asking for the port")?;
                self.tasks.helpers.spawn(http::serve(listener, board, metrics, shutdown));
                Ok(Some(address))
            }
            Err(error) if port_is_needed => Err(error),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "going on without http");
                Ok(None)
            }
        }
    }

    /// The sink that keeps this role, and builds its store again when that is asked for.
    pub(crate) fn sink(&self, role: Role) -> Result<Box<dyn Sink>> {
        let (sink, name) = (stores::sink(&self.workplace, role)?, stores::name(&self.workplace, role)?);
        Ok(Box::new(ReplayingSink::new(sink, name, Arc::clone(&self.builds))))
    }

    /// Starts the stages that are ours, with a block or lines about them; the source is read if there is one.
    pub(crate) fn start(&mut self, source: Option<Source>) -> Result<()> {
        let statistics = source.as_ref().map(|source| source.statistics.clone());
        self.start_stages(source)?;
        let (view, board, shutdown) = (self.view.clone(), self.pipeline.board.clone(), self.pipeline.shutdown.clone());
        self.tasks.helpers.spawn(async move {
            view.show(&board, statistics.as_ref(), &shutdown).await;
            Ok(())
        });
        Ok(())
    }

    /// The same without a word about them: for a command that shows by itself how far it is.
    pub(crate) fn start_stages(&mut self, source: Option<Source>) -> Result<()> {
        let configuration = &self.workplace.configuration;
        let limits = BatchLimits { records_max: configuration.batch_records_max, bytes_max: configuration.batch_bytes_max };
        for stage in self.claims.own.clone() {
            let pipeline = self.pipeline.clone();
            if let Some(role) = stages::role_of(stage) {
                let sink = self.sink(role)?;
                let limits = stores::limits(&self.workplace, role, limits);
                self.tasks.stages.spawn(async move { pipeline.run_sink(sink, limits).await });
            } else if stage == stages::FOLD {
                let cache = self.workplace.data.join(stages::CACHE_FOLDER);
                self.tasks.stages.spawn(async move { pipeline.run_fold(cache, limits).await });
            }
        }
        if let Some(Source { connector, .. }) = source {
            let pipeline = self.pipeline.clone();
            self.tasks.stages.spawn(async move { pipeline.run_connector(connector).await });
        }
        let (builds, shutdown) = (Arc::clone(&self.builds), self.pipeline.shutdown.clone());
        self.tasks.helpers.spawn(async move {
            builds.follow(shutdown).await;
            Ok(())
        });
        // One process looks after an embedded log: the one that folds. Kafka's brokers look after theirs.
        if let Some(log) = self.log.embedded.clone().filter(|_| self.claims.runs(stages::FOLD)) {
            let upkeep = Upkeep {
                interval: self.workplace.configuration.maintenance_interval,
                dead_letters_kept: self.workplace.configuration.dead_letters_kept,
            };
            let topics = self.pipeline.topics.clone();
            self.tasks.helpers.spawn(maintenance::run(log, topics, upkeep, self.pipeline.shutdown.clone()));
        }
        Ok(())
    }

    /// Drains: every stage ends between two batches.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.pipeline.shutdown.cancel();
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            while let Some(ended) = self.tasks.stages.join_next().await {
                ended.context("a stage broke down")?;
            }
            while let Some(ended) = self.tasks.helpers.join_next().await {
                ended.context("a helper task broke down")??;
            }
            anyhow::Ok(())
        });
        match drained.await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!("a stage took too long to drain and was cut off; it repeats its last batch at the next start");
                Ok(())
            }
        }
    }
}

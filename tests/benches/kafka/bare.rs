//! The bare writer: drains the same topic and sends the same statements, with no gate, position, epoch or retry.
//!
//! Written for itself, so that the sinks are compared with something that is not theirs: a thread that drains, one ahead of what
//! is written; values straight from the records into what the driver sends; for Postgres two connections, each half of a batch. It
//! knows that no key comes twice in a batch, which holds for these topics only.

mod clickhouse;
mod drain;
mod nebula;
mod postgres;
mod qdrant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidemark_log::Topics;
use tidemark_schemas::State;
use tidemark_schemas::codec::decode_state;

use crate::child::{self, Progress};
use crate::marks::Taken;
use crate::rows::Kind;
use crate::stores::Store;
use crate::topics::catalog;

/// How it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// By the sink's own statements.
    Sink,
    /// Postgres: `COPY` into a temporary table, and from there.
    Copy,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sink => "bare",
            Self::Copy => "bare, COPY",
        }
    }

    /// The schema, database or space of the bare writer beside the sink's own.
    pub(crate) fn place(self, of_sink: &str) -> String {
        match self {
            Self::Sink => format!("{of_sink}_bare"),
            Self::Copy => format!("{of_sink}_copy"),
        }
    }
}

/// What one bare writer does.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) store: Store,
    pub(crate) way: Way,
    /// Of the store's server.
    pub(crate) address: String,
    /// Schema, database or space.
    pub(crate) place: String,
    pub(crate) brokers: String,
    pub(crate) prefix: String,
    pub(crate) kind: Kind,
    /// 0 while the rows are new to the store.
    pub(crate) revision: u64,
    /// Rows of a revision.
    pub(crate) rows: u64,
    pub(crate) batch: usize,
}

impl Task {
    /// Does it in a process of its own.
    pub(crate) fn measure(&self, server: Option<u32>) -> Result<Taken> {
        let text = json!({
            "store": self.store.name(), "copy": self.way == Way::Copy, "address": self.address, "place": self.place,
            "brokers": self.brokers, "prefix": self.prefix, "narrow": self.kind == Kind::Narrow, "revision": self.revision,
            "rows": self.rows, "batch": self.batch
        });
        child::measure(&["bare", &text.to_string()], server)
    }

    fn read(text: &str) -> Result<Self> {
        let given: Value = serde_json::from_str(text)?;
        let text = |name: &str| given[name].as_str().map(str::to_owned).with_context(|| name.to_owned());
        let number = |name: &str| given[name].as_u64().with_context(|| name.to_owned());
        let flag = |name: &str| given[name].as_bool().with_context(|| name.to_owned());
        Ok(Self {
            store: Store::of_name(&text("store")?)?,
            way: if flag("copy")? { Way::Copy } else { Way::Sink },
            address: text("address")?,
            place: text("place")?,
            brokers: text("brokers")?,
            prefix: text("prefix")?,
            kind: if flag("narrow")? { Kind::Narrow } else { Kind::Consumption },
            revision: number("revision")?,
            rows: number("rows")?,
            batch: usize::try_from(number("batch")?)?,
        })
    }
}

/// Writes rows of one entity into one store; every row newer than what is there, each key once.
enum Writer {
    Postgres(postgres::Writer),
    ClickHouse(clickhouse::Writer),
    Nebula(nebula::Writer),
    Qdrant(qdrant::Writer),
}

impl Writer {
    async fn write(&mut self, rows: &[State<'_>]) -> Result<()> {
        match self {
            Self::Postgres(writer) => writer.write(rows).await,
            Self::ClickHouse(writer) => writer.write(rows).await,
            Self::Nebula(writer) => writer.write(rows).await,
            Self::Qdrant(writer) => writer.write(rows).await,
        }
    }
}

/// The child.
pub(crate) fn main(text: &str) -> Result<()> {
    let task = Task::read(text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&task))
}

async fn run(task: &Task) -> Result<()> {
    let catalog = catalog()?;
    let entity = catalog.entity(task.kind.name()).context("a known entity")?;
    let mut writer = match task.store {
        Store::Postgres => Writer::Postgres(postgres::Writer::connect(task, entity).await?),
        Store::ClickHouse => Writer::ClickHouse(clickhouse::Writer::new(task, entity)),
        Store::Nebula => Writer::Nebula(nebula::Writer::new(task, &catalog, entity)?),
        Store::Qdrant => Writer::Qdrant(qdrant::Writer::new(task, &catalog)?),
    };
    let topic = Topics::new(&task.prefix).state(task.kind.name()).to_string();
    let batches = drain::start(&task.brokers, topic, task.revision * task.rows, task.rows, task.batch);
    let (mut progress, mut done) = (Progress::default(), 0);
    for batch in batches {
        let batch = batch?;
        let rows = batch.iter().map(|record| decode_state(&catalog, entity, record.value));
        let rows = rows.collect::<Result<Vec<State<'_>>, _>>()?;
        writer.write(&rows).await?;
        done += rows.len() as u64;
        progress.done(done)?;
    }
    progress.finished(done)
}

//! The sink: opening, applying, emptying.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_schemas::Catalog;
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, StorePosition, StoreReport};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Pool, Properties, Session};
use crate::failure::{classify, fatal, unavailable};
use crate::meta::{self, PartitionRecord, Stand};
use crate::render::{Renderer, Style};
use crate::setup::Setup;
use crate::shape::STORE;
use crate::writer::Writer;
use crate::{Values, report, rows, schema};

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

pub(crate) struct NebulaSink {
    setup: Result<Setup, String>,
    catalog: Arc<Catalog>,
    open: Option<Open>,
}

struct Open {
    writer: Writer,
    style: Style,
    /// Holds all partitions, also those that are not there yet.
    whole: bool,
}

impl NebulaSink {
    pub(crate) fn new(setup: Result<Setup, String>, catalog: Arc<Catalog>) -> Self {
        Self { setup, catalog, open: None }
    }

    fn setup(&self) -> Result<&Setup, SinkError> {
        self.setup.as_ref().map_err(|problem| fatal(problem.clone(), "the graph store cannot be set up"))
    }

    async fn try_open(&self, log: LogIdentity, share: &Share) -> Result<Open, SinkError> {
        let setup = self.setup()?;
        let mut session = Session::new(&setup.client, None, 0);
        let style = match setup.values {
            Values::Parameters => Style::Parameters,
            Values::Literals => Style::Literals,
            Values::ByVersion => report::style(&mut session).await?,
        };
        schema::enter_space(&mut session, &setup.space, setup.space_options).await?;
        // A foreign store is left as it is, so this is asked before anything is made.
        if schema::names(&mut session, "TAGS").await?.iter().any(|tag| tag == STORE)
            && let Some(store) = meta::store(&mut session).await?
            && let Some(problem) = meta::foreign(&store, &setup.space, log)
        {
            return Err(SinkError::ForeignLog(problem));
        }
        schema::create(&mut session, &setup.shapes).await?;
        let store = meta::bind(&mut session, &setup.space, log).await?;
        let token = Uuid::new_v4().to_string();
        let looked = Instant::now();
        let (held, whole) = match share {
            Share::All => {
                meta::take_all(&mut session, &token).await?;
                (meta::take(&mut session, &meta::all(&store), &token).await?, true)
            }
            Share::Partitions(numbers) => (meta::take(&mut session, numbers, &token).await?, false),
        };
        let edges = setup.shapes.edges.iter().map(|shape| shape.name.clone()).collect();
        let pool = Pool::new(&setup.client, &setup.space, setup.sessions);
        let mut open = Open { writer: Writer::new(pool, token, held, looked, edges), style, whole };
        self.derive(&mut open).await?;
        Ok(open)
    }

    /// Where the rows of an entity were derived otherwise, it is read again from the start, written where not older, up to where
    /// it had been.
    async fn derive(&self, open: &mut Open) -> Result<(), SinkError> {
        let mut moved = BTreeMap::new();
        for (number, record) in open.writer.held() {
            let mut stands = record.stands.clone();
            for (entity, stand) in &mut stands {
                let Some(entity) = self.catalog.entity(entity) else { continue };
                let derived = entity.derivation ^ FORMAT;
                if stand.derived != derived {
                    *stand = Stand { next: 0, refresh_until: stand.refresh_until.max(stand.next), derived };
                }
            }
            if stands != record.stands {
                moved.insert(*number, stands);
            }
        }
        move_all(&mut open.writer, moved).await
    }

    async fn try_apply(&self, open: &mut Open, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let numbers: BTreeSet<u32> = batch.parts.iter().map(|part| part.partition).collect();
        if numbers.is_empty() {
            return Ok(Applied::default());
        }
        let (rows, skipped) = batch.collapse().map_err(SinkError::Rejected)?;
        claim_new(open, &numbers).await?;
        open.writer.look(&numbers).await?;
        let moved = self.next_stands(&open.writer, batch)?;
        open.writer.session().ensure().await.map_err(|error| classify(error, "connecting to the graph store"))?;
        let renderer = Renderer::new(open.style, open.writer.session().utc_offset_seconds());
        let written = rows::write(&mut open.writer, &numbers, renderer, batch, &rows).await?;
        crash::point("nebula.before-position");
        move_all(&mut open.writer, moved).await?;
        crash::point("nebula.after-position");
        Ok(Applied { written, skipped: skipped + rows.len() as u64 - written })
    }

    /// Where the partitions of a batch stand after it. Each part must begin where the store stands.
    fn next_stands(&self, writer: &Writer, batch: &SinkBatch) -> Result<BTreeMap<u32, BTreeMap<String, Stand>>, SinkError> {
        let mut moved: BTreeMap<u32, BTreeMap<String, Stand>> = BTreeMap::new();
        for part in &batch.parts {
            let held = writer.held().get(&part.partition);
            let stands = moved.entry(part.partition).or_insert_with(|| held.map(|held| held.stands.clone()).unwrap_or_default());
            let name = &part.entity.name;
            let derived = part.entity.derivation ^ FORMAT;
            let stand = stands.entry(name.clone()).or_insert(Stand { next: 0, refresh_until: 0, derived });
            if stand.next != part.from {
                let (stands, begins) = (stand.next, part.from);
                let text = format!("the graph store stands at {stands} of {name}, partition {}, not at {begins}", part.partition);
                return Err(SinkError::Stale(text));
            }
            stand.next = part.next;
        }
        Ok(moved)
    }
}

/// Takes partitions that nobody has written before, if all are this writer's.
async fn claim_new(open: &mut Open, numbers: &BTreeSet<u32>) -> Result<(), SinkError> {
    for number in numbers {
        if open.writer.held().contains_key(number) {
            continue;
        }
        let stale = || SinkError::Stale(format!("partition {number} of the graph store is not this writer's"));
        if !open.whole {
            return Err(stale());
        }
        let token = open.writer.token().to_owned();
        let store = meta::store(open.writer.session()).await?;
        if store.is_none_or(|store| store.writer != token) {
            return Err(stale());
        }
        meta::claim(open.writer.session(), *number, &token).await?;
    }
    Ok(())
}

/// Moves positions and looks whether they moved.
async fn move_all(writer: &mut Writer, moved: BTreeMap<u32, BTreeMap<String, Stand>>) -> Result<(), SinkError> {
    if moved.is_empty() {
        return Ok(());
    }
    let token = writer.token().to_owned();
    for (number, stands) in &moved {
        meta::move_to(writer.session(), *number, &token, stands).await?;
    }
    let numbers: BTreeSet<u32> = moved.keys().copied().collect();
    writer.look(&numbers).await?;
    for (number, stands) in &moved {
        if writer.held().get(number).map(|record| &record.stands) != Some(stands) {
            return Err(unavailable("moving where the graph store stands", "it does not stand where it was moved to"));
        }
    }
    Ok(())
}

fn listed(records: &BTreeMap<u32, PartitionRecord>) -> Vec<StorePosition> {
    let mut positions = Vec::new();
    for (partition, record) in records {
        for (entity, stand) in &record.stands {
            positions.push(StorePosition { entity: entity.clone(), partition: *partition, next: stand.next });
        }
    }
    positions.sort_by(|one, other| (&one.entity, one.partition).cmp(&(&other.entity, other.partition)));
    positions
}

#[async_trait]
impl Sink for NebulaSink {
    fn role(&self) -> Role {
        Role::Graph
    }

    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.open = None;
        let open = Box::pin(self.try_open(log, share)).await?;
        let positions = listed(open.writer.held());
        self.open = Some(open);
        Ok(positions)
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        // Taken out for the time of the batch: a batch that is cut leaves nothing behind that could be gone on with.
        let Some(mut open) = self.open.take() else {
            return Err(unavailable("writing the graph store", "the store is not open"));
        };
        let outcome = Box::pin(self.try_apply(&mut open, batch)).await;
        if matches!(outcome, Ok(_) | Err(SinkError::Rejected(_))) {
            self.open = Some(open);
        }
        outcome
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let Some((mut session, store)) = Box::pin(report::beside(self.setup()?)).await? else { return Ok(Vec::new()) };
        Ok(listed(&meta::partitions(&mut session, &meta::all(&store)).await?))
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        Ok(Box::pin(report::beside(self.setup()?)).await?.map(|(_, store)| store.log))
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        match &self.setup {
            Ok(setup) => Box::pin(report::check(setup, log)).await,
            Err(problem) => StoreReport { summary: "NebulaGraph".to_owned(), problems: vec![problem.clone()] },
        }
    }

    /// Drops the space; the next opening makes it anew. A writer that still runs finds its token gone.
    async fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        let setup = self.setup()?;
        let mut session = Session::new(&setup.client, None, 0);
        let statement = format!("DROP SPACE IF EXISTS {}", setup.space);
        let step = format!("emptying the space {}", setup.space);
        session.execute(&statement, &Properties::new()).await.map_err(|error| classify(error, &step))?;
        Ok(())
    }
}

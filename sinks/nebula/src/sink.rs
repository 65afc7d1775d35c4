//! The sink: opening, applying, emptying.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_schemas::Catalog;
use tidemark_sink_core::versions::{self, Versions};
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, StorePosition, StoreReport};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Pool, Properties, Session};
use crate::failure::{classify, fatal, unavailable};
use crate::meta::{self, PartitionRecord, Progress, Stand};
use crate::render::{Renderer, Style};
use crate::setup::Setup;
use crate::shape::STORE;
use crate::writer::Writer;
use crate::{Values, report, rows, schema, settle};

/// Raised when the same row would be kept otherwise.
const FORMAT: u64 = 1;

pub(crate) struct NebulaSink {
    setup: Result<Setup, String>,
    catalog: Arc<Catalog>,
    open: Option<Open>,
}

struct Open {
    writer: Writer,
    versions: Versions,
    style: Style,
    /// When whatever former writers left under way has arrived, if they did.
    settled: Option<Instant>,
    /// The store stands elsewhere than the engine knows.
    went_back: bool,
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
        let (taken, whole) = match share {
            Share::All => {
                meta::take_all(&mut session, &token).await?;
                (meta::take(&mut session, &meta::all(&store), &token).await?, true)
            }
            Share::Partitions(numbers) => (meta::take(&mut session, numbers, &token).await?, false),
        };
        let edges = setup.shapes.edges.iter().map(|shape| shape.name.clone()).collect();
        let pool = Pool::new(&setup.client, &setup.space, setup.sessions);
        let mut writer = Writer::new(pool, token, taken.records, looked, edges);
        self.begin(&mut writer, &taken.abandoned).await?;
        let told = writer.held().iter().flat_map(|(number, record)| {
            record.progress.stands.iter().map(|(entity, stand)| (*number, entity.as_str(), stand.unused))
        });
        let versions = Versions::of(told);
        let left = |record: &PartitionRecord| settle::left(&record.progress, settle::now(), settle::patience(&setup.client));
        let settled = writer.held().values().filter_map(left).max().map(|left| Instant::now() + left);
        Ok(Open { writer, versions, style, settled, went_back: false, whole })
    }

    /// Notes where abandoned partitions stand. Where the rows of an entity were derived otherwise, it is read again from the start,
    /// written where not older, up to where it had been.
    async fn begin(&self, writer: &mut Writer, abandoned: &BTreeSet<u32>) -> Result<(), SinkError> {
        let mut moved = BTreeMap::new();
        for (number, record) in writer.held() {
            let mut progress = record.progress.clone();
            if abandoned.contains(number) {
                settle::note(&mut progress, settle::now());
            }
            for (entity, stand) in &mut progress.stands {
                let Some(entity) = self.catalog.entity(entity) else { continue };
                let derived = entity.derivation ^ FORMAT;
                if stand.derived != derived {
                    *stand = Stand { next: 0, refresh_until: stand.refresh_until.max(stand.next), derived, ..*stand };
                }
            }
            if progress != record.progress {
                moved.insert(*number, progress);
            }
        }
        move_all(writer, moved).await
    }

    async fn try_apply(&self, open: &mut Open, batch: &SinkBatch) -> Result<Applied, SinkError> {
        let numbers: BTreeSet<u32> = batch.parts.iter().map(|part| part.partition).collect();
        if numbers.is_empty() {
            return Ok(Applied::default());
        }
        let (rows, skipped) = batch.collapse().map_err(SinkError::Rejected)?;
        take_new(open, &numbers).await?;
        open.writer.look(&numbers).await?;
        let tops = versions::tops(batch, &rows);
        let (told, moved) = next_progress(&open.writer, batch, &tops)?;
        move_all(&mut open.writer, told).await?;
        let unused = open.versions.pass(batch, &tops);
        open.writer.session().ensure().await.map_err(|error| classify(error, "connecting to the graph store"))?;
        let renderer = Renderer::new(open.style, open.writer.session().utc_offset_seconds());
        let written = rows::write(&mut open.writer, &numbers, renderer, batch, &rows, &unused).await?;
        crash::point("nebula.before-position");
        move_all(&mut open.writer, moved).await?;
        crash::point("nebula.after-position");
        Ok(Applied { written, skipped: skipped + rows.len() as u64 - written })
    }

    /// Goes back to where abandoned partitions stood, once whatever was under way then has arrived.
    async fn go_back(open: &mut Open) -> Result<(), SinkError> {
        if open.settled.is_none_or(|settled| Instant::now() < settled) {
            return Ok(());
        }
        let mut moved = Moved::new();
        let mut went_back = false;
        for (number, record) in open.writer.held() {
            let mut progress = record.progress.clone();
            went_back |= settle::follow(&mut progress);
            if progress != record.progress {
                moved.insert(*number, progress);
            }
        }
        move_all(&mut open.writer, moved).await?;
        (open.settled, open.went_back) = (None, went_back);
        if went_back {
            tracing::info!(
                "the graph store goes back to where a writer left it that was cut off; what came since is written once more"
            );
        }
        Ok(())
    }
}

/// Where partitions stand.
type Moved = BTreeMap<u32, Progress>;

/// What the store must be told before the batch, and where its partitions stand after it. Each part must begin where the store stands.
fn next_progress(writer: &Writer, batch: &SinkBatch, tops: &[u64]) -> Result<(Moved, Moved), SinkError> {
    let held = |number: u32| writer.held().get(&number).map(|held| held.progress.clone()).unwrap_or_default();
    let (mut told, mut moved) = (Moved::new(), Moved::new());
    for (part, top) in batch.parts.iter().zip(tops) {
        let (number, name) = (part.partition, &part.entity.name);
        let progress = moved.entry(number).or_insert_with(|| held(number));
        let fresh = || Stand { derived: part.entity.derivation ^ FORMAT, ..Stand::default() };
        let stand = progress.stands.entry(name.clone()).or_insert_with(fresh);
        if stand.next != part.from {
            let (stands, begins) = (stand.next, part.from);
            let text = format!("the graph store stands at {stands} of {name}, partition {number}, not at {begins}");
            return Err(SinkError::Stale(text));
        }
        if let Some(unused) = versions::told_before(*top, stand.unused) {
            stand.unused = unused;
            let told = told.entry(number).or_insert_with(|| held(number));
            told.stands.insert(name.clone(), *stand);
        }
        stand.unused = versions::told_after(*top, stand.unused);
        stand.next = part.next;
    }
    Ok((told, moved))
}

/// Takes partitions that nobody has written before, if all are this writer's.
async fn take_new(open: &mut Open, numbers: &BTreeSet<u32>) -> Result<(), SinkError> {
    let new: BTreeSet<u32> = numbers.iter().copied().filter(|number| !open.writer.held().contains_key(number)).collect();
    let Some(number) = new.first() else { return Ok(()) };
    let stale = || SinkError::Stale(format!("partition {number} of the graph store is not this writer's"));
    if !open.whole {
        return Err(stale());
    }
    let token = open.writer.token().to_owned();
    let store = meta::store(open.writer.session()).await?;
    if store.is_none_or(|store| store.writer != token) {
        return Err(stale());
    }
    let taken = meta::take(open.writer.session(), &new, &token).await?;
    if !taken.abandoned.is_empty() || taken.records.values().any(|record| record.progress != Progress::default()) {
        return Err(unavailable("writing the graph store", "somebody has written a partition meanwhile; it is opened anew"));
    }
    Ok(())
}

/// Moves positions and looks whether they moved.
async fn move_all(writer: &mut Writer, moved: Moved) -> Result<(), SinkError> {
    if moved.is_empty() {
        return Ok(());
    }
    let token = writer.token().to_owned();
    for (number, progress) in &moved {
        meta::move_to(writer.session(), *number, &token, progress).await?;
    }
    let numbers: BTreeSet<u32> = moved.keys().copied().collect();
    writer.look(&numbers).await?;
    for (number, progress) in &moved {
        if writer.held().get(number).map(|record| &record.progress) != Some(progress) {
            return Err(unavailable("moving where the graph store stands", "it does not stand where it was moved to"));
        }
    }
    Ok(())
}

fn listed(records: &BTreeMap<u32, PartitionRecord>) -> Vec<StorePosition> {
    let mut positions = Vec::new();
    for (partition, record) in records {
        for (entity, stand) in record.progress.stands.iter().filter(|(_, stand)| !stand.only_tells()) {
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
        let mut outcome = Box::pin(self.try_apply(&mut open, batch)).await;
        // Not after a refusal: the rest of that batch is still to be applied.
        if outcome.is_ok()
            && let Err(error) = Self::go_back(&mut open).await
        {
            outcome = Err(error);
        }
        if matches!(outcome, Ok(_) | Err(SinkError::Rejected(_))) {
            self.open = Some(open);
        }
        outcome
    }

    async fn look_after(&mut self) -> Result<(), SinkError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        Self::go_back(&mut open).await?;
        self.open = Some(open);
        Ok(())
    }

    fn went_back(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.went_back)
    }

    async fn release(&mut self) -> Result<(), SinkError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let mut left = Moved::new();
        for (number, record) in open.writer.held() {
            let mut progress = record.progress.clone();
            for (entity, stand) in &mut progress.stands {
                stand.unused = open.versions.unused(*number, entity);
            }
            left.insert(*number, progress);
        }
        open.writer.give_back(&left).await
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

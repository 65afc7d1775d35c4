//! The sink over one database: what is done in which order.
//!
//! A batch: whose the partitions are and which tables are there; the rows; the same look again; the positions last, all of them in one
//! insert. A look costs a query, so it counts for a moment ([`LOOK_EVERY`]). What happens within that moment does no harm: a stale
//! writer's rows are gated by version and its positions never read, and a position names the table whose rows it speaks of, so that of
//! a table that was dropped or replaced begins anew at the next open, which the next look brings about. What is cut off in between is
//! written again from the old positions, and merges away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidemark_log::{LogIdentity, Share, crash};
use tidemark_schemas::Catalog;
use tidemark_sink_core::{Applied, Role, Sink, SinkBatch, SinkError, SinkRow, StorePosition, StoreReport, TopicBatch, refused};
use tokio::time::Instant;

use crate::ClickHouseOptions;
use crate::client::Store;
use crate::epoch::{self, Claims, Writer};
use crate::failure::{Class, Failure};
use crate::gate::{self, Gate};
use crate::meta::{self, Meta};
use crate::migration;
use crate::position::{self, Place, Position};
use crate::report;
use crate::statement::literal;
use crate::table::Table;
use crate::views::{self, View};
use crate::write;

/// Each write makes at least two parts for the server to merge.
const BATCHES_PER_WRITE: usize = 12;
/// How long a look at who owns the store counts. Longer: an overtaken writer goes on for longer, for nothing; shorter: two queries more
/// for each batch, which are half of what a small one takes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The analytics sink.
pub(crate) struct ClickHouseSink {
    options: ClickHouseOptions,
    tables: Arc<Vec<Table>>,
    views: Vec<View>,
    vip_levels: Vec<String>,
    /// Its name as a writer, the same for all its opens.
    writer: String,
    /// [`LOOK_EVERY`].
    look_every: Duration,
    open: Option<Open>,
}

struct Open {
    store: Store,
    writer: Writer,
    /// Rises with each write of positions.
    step: u64,
    positions: BTreeMap<Place, Position>,
    /// Table → id.
    ids: BTreeMap<String, String>,
    /// When each place was last seen to be ours, and its table the one that was opened.
    looked: BTreeMap<Place, Instant>,
}

impl ClickHouseSink {
    pub(crate) fn new(options: ClickHouseOptions, catalog: &Catalog, vip_levels: Vec<String>, utc_offset: i32) -> Self {
        let tables: Vec<Table> = catalog.entities().iter().map(|entity| Table::new(catalog, entity)).collect();
        let views = tables.iter().flat_map(Table::views).chain(views::possible(catalog, utc_offset)).collect();
        Self {
            options,
            tables: Arc::new(tables),
            views,
            vip_levels,
            writer: epoch::new_writer(),
            look_every: LOOK_EVERY,
            open: None,
        }
    }

    /// The same, which looks before each step.
    #[cfg(test)]
    pub(crate) fn wary(self) -> Self {
        Self { look_every: Duration::ZERO, ..self }
    }

    fn place(&self) -> String {
        Store::place_of(&self.options)
    }

    async fn try_open(&self, log: LogIdentity, share: &Share) -> Result<(Open, Vec<StorePosition>), Failure> {
        let store = Store::connect(&self.options).await?;
        migration::make_database(&store).await?;
        migration::make_own(&store, &self.tables, &self.views).await?;
        meta::bind(&store, log).await?;
        let writer = epoch::raise(&store, &self.writer, share).await?;
        let ids = migration::make_tables(&store, &self.tables, &self.views, &self.vip_levels).await?;
        let mut positions = BTreeMap::new();
        for ((entity, partition), stood) in position::read(&store).await? {
            let Some(table) = self.tables.iter().find(|table| table.entity().name == entity) else { continue };
            if share.holds(partition) {
                let id = ids.get(table.name()).map_or("", String::as_str);
                positions.insert((entity, partition), stood.onto(table.fingerprint(), id));
            }
        }
        // Under the new epoch from here on: what an overtaken writer still writes is not read.
        position::write(&store, &writer, 0, &positions).await?;
        let shown = position::shown(&positions);
        Ok((Open { store, writer, step: 0, positions, ids, looked: BTreeMap::new() }, shown))
    }

    async fn try_reset(&self) -> Result<(), Failure> {
        let store = Store::connect(&self.options).await?;
        if !migration::is_there(&store).await? {
            return Ok(());
        }
        match epoch::raise(&store, &epoch::new_writer(), &Share::All).await {
            Ok(_) => {}
            Err(error) if error.class == Class::Gone => {}
            Err(error) => return Err(error.into()),
        }
        Ok(migration::drop_all(&store).await?)
    }

    fn table_of(&self, entity: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.entity().name == entity)
    }

    async fn try_apply(&self, open: &mut Open, batch: &SinkBatch) -> Result<Applied, Failure> {
        let (rows, skipped) =
            batch.collapse_where(|entity| self.table_of(&entity.name).is_some()).map_err(SinkError::Rejected)?;
        let with_nul = refused::with_nul(batch, &rows);
        if !with_nul.is_empty() {
            return Err(SinkError::Rejected(with_nul).into());
        }
        open.expect_positions(batch)?;
        open.look(batch, &self.tables, self.look_every).await?;
        let gates: Vec<Gate> = batch.parts.iter().map(|part| open.gate(part)).collect();
        let mut refused = Vec::new();
        let mut encoded = Vec::new();
        for (table, rows) in by_table(batch, &rows, |entity| self.table_of(entity)) {
            let admitted = gate::admitted(&open.store, table, rows, &gates).await?;
            encoded.push(write::encode(batch, table, admitted, &mut refused));
        }
        if !refused.is_empty() {
            return Err(SinkError::Rejected(refused).into());
        }
        let written = encoded.iter().map(write::Rows::len).sum::<usize>() as u64;
        for rows in encoded {
            refused.extend(rows.send(&open.store, batch).await?);
        }
        if !refused.is_empty() {
            return Err(SinkError::Rejected(refused).into());
        }
        crash::point("clickhouse.after-rows");
        if written > 0 {
            open.look(batch, &self.tables, self.look_every).await?;
        }
        open.move_positions(batch, &rows, &self.tables).await?;
        crash::point("clickhouse.after-positions");
        Ok(Applied { written, skipped: skipped + rows.len() as u64 - written })
    }
}

/// The rows of each entity.
fn by_table<'t, 'r, 'b>(
    batch: &SinkBatch,
    rows: &'r [SinkRow<'b>],
    table_of: impl Fn(&str) -> Option<&'t Table>,
) -> Vec<(&'t Table, &'r [SinkRow<'b>])> {
    let name = |row: &SinkRow<'_>| batch.parts[row.part].entity.name.as_str();
    let groups = rows.chunk_by(|one, other| name(one) == name(other));
    groups.filter_map(|rows| Some((table_of(name(rows.first()?))?, rows))).collect()
}

impl Open {
    /// A batch begins where the store stands.
    fn expect_positions(&self, batch: &SinkBatch) -> Result<(), SinkError> {
        for part in &batch.parts {
            let known = self.positions.get(&(part.entity.name.clone(), part.partition));
            if known.map_or(0, |known| known.next) != part.from {
                let (from, entity, partition) = (part.from, &part.entity.name, part.partition);
                let text = format!("{} does not stand at offset {from} of {entity}, partition {partition}", self.store.place);
                return Err(SinkError::Stale(text));
            }
        }
        Ok(())
    }

    /// Looks whether the store is ours, unless the last look at each place of the batch still counts.
    async fn look(&mut self, batch: &SinkBatch, tables: &[Table], every: Duration) -> Result<(), Failure> {
        let now = Instant::now();
        let places = || batch.parts.iter().map(|part| (part.entity.name.clone(), part.partition));
        let counts = |place: Place| self.looked.get(&place).is_some_and(|looked| now.duration_since(*looked) < every);
        if places().all(counts) {
            return Ok(());
        }
        self.expect_ours(batch, tables).await?;
        self.looked.extend(places().map(|place| (place, now)));
        Ok(())
    }

    /// No other writer has taken a partition of the batch, and its tables are those that were opened.
    async fn expect_ours(&self, batch: &SinkBatch, tables: &[Table]) -> Result<(), Failure> {
        let of_batch = |table: &&Table| batch.parts.iter().any(|part| part.entity.name == table.entity().name);
        let names: Vec<&str> = tables.iter().filter(of_batch).map(Table::name).collect();
        let list = names.iter().map(|name| literal(name)).chain([literal("")]).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "{}\nUNION ALL\nSELECT 'table', name, toString(uuid), '' FROM system.tables WHERE database = {} AND name IN ({list})",
            epoch::look(),
            literal(&self.store.database)
        );
        let mut claims = Claims::default();
        let mut found = BTreeMap::new();
        for (kind, name, value, writer) in self.store.rows::<(String, String, String, String)>(&sql).await? {
            if kind == "table" {
                found.insert(name, value);
            } else {
                claims.add(&name, &value, writer);
            }
        }
        if let Some(epoch) = claims.above(&self.writer, batch.parts.iter().map(|part| part.partition)) {
            let text = format!("{} has writer epoch {epoch}, this writer has {}", self.store.place, self.writer.epoch);
            return Err(SinkError::Stale(text).into());
        }
        if let Some(gone) = names.iter().find(|name| found.get(**name) != self.ids.get(**name)) {
            let cause = format!("`{gone}` was dropped or replaced; it is made where it is missing and read again from the log");
            return Err(SinkError::Unavailable { step: format!("writing {}", self.store.place), cause: cause.into() }.into());
        }
        Ok(())
    }

    fn gate(&self, part: &TopicBatch) -> Gate {
        let known = self.positions.get(&(part.entity.name.clone(), part.partition));
        known.map_or(Gate { mark: 0, is_refreshing: false }, |known| Gate {
            mark: known.mark,
            is_refreshing: part.from < known.refresh_until,
        })
    }

    /// Moves the positions of the batch. Last of all.
    async fn move_positions(&mut self, batch: &SinkBatch, rows: &[SinkRow<'_>], tables: &[Table]) -> Result<(), Failure> {
        let mut moved = BTreeMap::new();
        for (index, part) in batch.parts.iter().enumerate() {
            let Some(table) = tables.iter().find(|table| table.entity().name == part.entity.name) else { continue };
            let place = (part.entity.name.clone(), part.partition);
            let stood = self.positions.get(&place).cloned().unwrap_or_default();
            let highest = rows.iter().filter(|row| row.part == index).map(|row| row.state.version).max().unwrap_or(0);
            let position = Position {
                next: part.next,
                mark: stood.mark.max(highest),
                fingerprint: table.fingerprint(),
                table: self.ids.get(table.name()).cloned().unwrap_or_default(),
                ..stood
            };
            moved.insert(place, position);
        }
        self.step += 1;
        position::write(&self.store, &self.writer, self.step, &moved).await?;
        self.positions.extend(moved);
        Ok(())
    }
}

#[async_trait]
impl Sink for ClickHouseSink {
    fn role(&self) -> Role {
        Role::Analytics
    }

    async fn open(&mut self, log: LogIdentity, share: &Share) -> Result<Vec<StorePosition>, SinkError> {
        self.open = None;
        let (open, positions) = self.try_open(log, share).await.map_err(|failure| failure.classify("opening", &self.place()))?;
        self.open = Some(open);
        Ok(positions)
    }

    async fn apply(&mut self, batch: &SinkBatch) -> Result<Applied, SinkError> {
        // Taken: a call that is cut off, or fails with an unknown outcome, leaves a store that must be opened again.
        let Some(mut open) = self.open.take() else {
            let step = format!("writing {}", self.place());
            return Err(SinkError::Unavailable { step, cause: "the store is not open".into() });
        };
        if batch.parts.is_empty() {
            self.open = Some(open);
            return Ok(Applied::default());
        }
        let outcome = self.try_apply(&mut open, batch).await.map_err(|failure| failure.classify("writing", &self.place()));
        if matches!(outcome, Ok(_) | Err(SinkError::Rejected(_))) {
            self.open = Some(open);
        }
        outcome
    }

    fn batches_per_write(&self) -> usize {
        BATCHES_PER_WRITE
    }

    async fn positions(&self) -> Result<Vec<StorePosition>, SinkError> {
        let look = async { position::read(&Store::connect(&self.options).await?).await };
        let positions = look.await.map_err(|error| error.during("reading", &self.place()))?;
        Ok(position::shown(&positions))
    }

    async fn filled_from(&self) -> Result<Option<LogIdentity>, SinkError> {
        let look = async { Meta::read(&Store::connect(&self.options).await?).await };
        Ok(look.await.map_err(|error| error.during("reading", &self.place()))?.log())
    }

    async fn check(&self, log: LogIdentity) -> StoreReport {
        report::check(&self.options, &self.tables, log).await
    }

    async fn reset(&mut self) -> Result<(), SinkError> {
        self.open = None;
        self.try_reset().await.map_err(|failure| failure.classify("emptying", &self.place()))
    }
}

//! What the store keeps about itself, in vertices of tags of our own.
//!
//! - `tidemark:store`: log id, generation, format, the last that took all partitions, how many partitions there are;
//! - `tidemark:partition:<p>`: who writes this partition number now, and for each entity its position, how far it is being
//!   refreshed, which versions it was never given, and what its rows were derived by. It is one property of one vertex, so the
//!   positions of a batch move together.
//!
//! Who opens the store puts a new random token into each partition that it takes, and takes it out again when nothing of it is
//! under way any more. A position moves by an update that the server carries out only while the token stands (and is looked at
//! afterwards), so of two writers one is always told that it is stale. The rows themselves have no such guard: they are sent only
//! while a look at the token is younger than [`crate::writer::LEASE`], and who finds another's token in its place notes where to
//! go back to once whatever that one had under way has arrived ([`crate::settle`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemark_log::LogIdentity;
use tidemark_sink_core::SinkError;

use crate::client::{ClientError, Properties, Reply, Session, Statement};
use crate::failure::{REBUILD, classify, fatal, unavailable};
use crate::ngql::{Name, text};
use crate::settle::BackTo;
use crate::shape::{PARTITION, STORE};

/// Raised when the space would be laid out otherwise.
const FORMAT: i64 = 2;
/// In the place of a token: nobody's, and nothing is under way.
const NOBODY: &str = "";

const STORE_ID: &str = "tidemark:store";

/// What `tidemark:store` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreRecord {
    pub(crate) log: LogIdentity,
    pub(crate) format: i64,
    /// Token of the last that took all partitions.
    pub(crate) writer: String,
    /// One more than the highest partition number.
    pub(crate) partitions: u32,
}

/// Where one entity stands on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stand {
    /// Offset of the next state record.
    pub(crate) next: u64,
    /// Until here, rows are written where they are not older; then where they are newer.
    pub(crate) refresh_until: u64,
    /// No row of this version or a higher one was ever sent.
    pub(crate) unused: u64,
    /// Fingerprint of what the rows are derived by.
    pub(crate) derived: u64,
}

impl Stand {
    /// Whether it is no position: the store was told of versions, and no batch has come through yet.
    pub(crate) fn only_tells(&self) -> bool {
        self.unused > 0 && self.next == 0 && self.refresh_until == 0
    }
}

/// Where the entities stand on one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    pub(crate) stands: BTreeMap<String, Stand>,
    /// Where to go back to, since a writer left something under way.
    pub(crate) back_to: Option<BackTo>,
}

/// What `tidemark:partition:<p>` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PartitionRecord {
    pub(crate) owner: String,
    pub(crate) progress: Progress,
}

/// Whose the store is; `None` for one that is nobody's yet.
pub(crate) async fn store(session: &mut Session) -> Result<Option<StoreRecord>, SinkError> {
    let tag = Name::fixed(STORE);
    let statement = format!(
        "FETCH PROP ON {tag} {} YIELD {tag}.`log_id` AS log_id, {tag}.`generation` AS generation, {tag}.`format` AS format, \
         {tag}.`writer` AS writer, {tag}.`partitions` AS partitions",
        text(STORE_ID)
    );
    let reply = session.read(&statement).await.map_err(|error| classify(error, READING))?;
    let Some(row) = reply.rows.first() else { return Ok(None) };
    let cell = |index: usize| row.get(index);
    let int = |index: usize| cell(index).and_then(crate::client::Value::as_int).unwrap_or_default();
    let word = |index: usize| cell(index).and_then(crate::client::Value::as_text).unwrap_or_default();
    let (Ok(id), Ok(generation)) = (word(0).parse(), u32::try_from(int(1))) else {
        return Err(fatal(format!("the graph store does not say whose it is; {REBUILD}"), "its own record is damaged"));
    };
    let log = LogIdentity { id, generation };
    let partitions = u32::try_from(int(4)).unwrap_or_default();
    Ok(Some(StoreRecord { log, format: int(2), writer: word(3).to_owned(), partitions }))
}

const READING: &str = "reading where the graph store stands";
pub(crate) const MOVING: &str = "moving where the graph store stands";

/// Why the store does not belong to this log, or cannot be read.
pub(crate) fn foreign(store: &StoreRecord, space: &Name, log: LogIdentity) -> Option<String> {
    let (id, generation, format) = (store.log.id, store.log.generation, store.format);
    if id != log.id {
        return Some(format!("the space {space} was filled from another log ({id}, this one is {}); {REBUILD}", log.id));
    }
    if generation != log.generation {
        let now = log.generation;
        return Some(format!(
            "the space {space} was filled from generation {generation} of the log, which is at {now} now; {REBUILD}"
        ));
    }
    (format != FORMAT)
        .then(|| format!("the space {space} has format {format}, this version of tidemark reads format {FORMAT}; {REBUILD}"))
}

/// Binds a store that is nobody's to this log. Of two at once the first wins.
pub(crate) async fn bind(session: &mut Session, space: &Name, log: LogIdentity) -> Result<StoreRecord, SinkError> {
    let statement = format!(
        "INSERT VERTEX IF NOT EXISTS {} (`log_id`,`generation`,`format`,`writer`,`partitions`) VALUES {}:({},{},{FORMAT},{},0)",
        Name::fixed(STORE),
        text(STORE_ID),
        text(&log.id.to_string()),
        log.generation,
        text(""),
    );
    run(session, &statement, "binding the graph store to its log").await?;
    let Some(found) = store(session).await? else {
        return Err(unavailable("binding the graph store to its log", "its own record is not there yet"));
    };
    match foreign(&found, space, log) {
        Some(problem) => Err(SinkError::ForeignLog(problem)),
        None => Ok(found),
    }
}

/// The records of these partitions; none for one that was never written.
pub(crate) async fn partitions(
    session: &mut Session,
    numbers: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, PartitionRecord>, SinkError> {
    if numbers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let tag = Name::fixed(PARTITION);
    let ids: Vec<String> = numbers.iter().map(|number| text(&partition_id(*number))).collect();
    let statement = format!(
        "FETCH PROP ON {tag} {} YIELD id(vertex) AS vid, {tag}.`owner` AS owner, {tag}.`positions` AS positions",
        ids.join(",")
    );
    let reply = session.read(&statement).await.map_err(|error| classify(error, READING))?;
    read_partitions(&reply)
}

fn read_partitions(reply: &Reply) -> Result<BTreeMap<u32, PartitionRecord>, SinkError> {
    let mut records = BTreeMap::new();
    for row in &reply.rows {
        let cells: Vec<&str> = row.iter().filter_map(crate::client::Value::as_text).collect();
        let parsed = match cells.as_slice() {
            [vid, owner, positions] => partition_number(vid).zip(serde_json::from_str(positions).ok()).map(|pair| (pair, *owner)),
            _ => None,
        };
        let Some(((number, progress), owner)) = parsed else {
            return Err(fatal(
                format!("the graph store does not say where it stands; {REBUILD}"),
                "a partition's record is damaged",
            ));
        };
        records.insert(number, PartitionRecord { owner: owner.to_owned(), progress });
    }
    Ok(records)
}

/// All partitions' numbers that the store knows of, and 0.
pub(crate) fn all(store: &StoreRecord) -> BTreeSet<u32> {
    (0..store.partitions.max(1)).collect()
}

/// Partitions that were taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) records: BTreeMap<u32, PartitionRecord>,
    /// Those whose former writer has not given them back: something of it may be under way.
    pub(crate) abandoned: BTreeSet<u32>,
}

/// Takes partitions: puts the token in, then reads where they stand. What is read then no other writer can move any more. Each is
/// taken from the writer that was seen there, so of two at once one fails, to be tried again, and none passes another's work by.
pub(crate) async fn take(session: &mut Session, numbers: &BTreeSet<u32>, token: &str) -> Result<Taken, SinkError> {
    let mut seen = partitions(session, numbers).await?;
    let unknown: Vec<u32> = numbers.iter().copied().filter(|number| !seen.contains_key(number)).collect();
    for number in &unknown {
        make(session, *number).await?;
    }
    if !unknown.is_empty() {
        seen = partitions(session, numbers).await?;
    }
    for (number, record) in &seen {
        run(session, &updating(*number, &record.owner, &format!("`owner` = {}", text(token))), MOVING).await?;
    }
    let records = partitions(session, numbers).await?;
    if let Some(number) = numbers.iter().find(|number| records.get(number).is_none_or(|record| record.owner != token)) {
        return Err(unavailable(MOVING, format!("partition {number} was taken in the same moment")));
    }
    let abandoned = seen.into_iter().filter(|(_, record)| record.owner != NOBODY).map(|(number, _)| number).collect();
    Ok(Taken { records, abandoned })
}

/// The statement that gives a partition back, if the token still stands, and says where it was left.
pub(crate) fn giving_back(number: u32, token: &str, left: &Progress) -> Statement {
    updating(number, token, &format!("`positions` = {}, `owner` = {}", text(&json(left)), text(NOBODY))).into()
}

/// An update of a partition's record that is carried out only while this token stands.
fn updating(number: u32, token: &str, set: &str) -> String {
    let (tag, id, token) = (Name::fixed(PARTITION), text(&partition_id(number)), text(token));
    format!("UPDATE VERTEX ON {tag} {id} SET {set} WHEN `owner` == {token}")
}

/// Makes the record of a partition that has none. The count comes first: who is cut off in between takes what is counted when it
/// opens again, and would not find a record that is not.
async fn make(session: &mut Session, number: u32) -> Result<(), SinkError> {
    let (tag, id, count) = (Name::fixed(STORE), text(STORE_ID), u64::from(number) + 1);
    run(session, &format!("UPDATE VERTEX ON {tag} {id} SET `partitions` = {count} WHEN `partitions` < {count}"), MOVING).await?;
    let statement = format!(
        "INSERT VERTEX IF NOT EXISTS {} (`owner`,`positions`) VALUES {}:({},{})",
        Name::fixed(PARTITION),
        text(&partition_id(number)),
        text(NOBODY),
        text(&json(&Progress::default()))
    );
    run(session, &statement, MOVING).await
}

/// Says that this writer takes all partitions, also those that are not there yet.
pub(crate) async fn take_all(session: &mut Session, token: &str) -> Result<(), SinkError> {
    let (tag, id) = (Name::fixed(STORE), text(STORE_ID));
    run(session, &format!("UPDATE VERTEX ON {tag} {id} SET `writer` = {}", text(token)), MOVING).await
}

/// Refuses when another writer has taken the partition since.
pub(crate) fn expect_owner(record: Option<&PartitionRecord>, number: u32, token: &str) -> Result<(), SinkError> {
    match record {
        Some(record) if record.owner == token => Ok(()),
        _ => Err(SinkError::Stale(format!("another writer has taken partition {number} of the graph store"))),
    }
}

/// Moves a partition's positions, if the token still stands; the last thing that happens in a batch. The caller looks afterwards.
pub(crate) async fn move_to(session: &mut Session, number: u32, token: &str, progress: &Progress) -> Result<(), SinkError> {
    run(session, &updating(number, token, &format!("`positions` = {}", text(&json(progress)))), MOVING).await
}

async fn run(session: &mut Session, statement: &str, step: &str) -> Result<(), SinkError> {
    let outcome: Result<Reply, ClientError> = session.execute(statement, &Properties::new()).await;
    outcome.map(|_| ()).map_err(|error| classify(error, step))
}

fn json(progress: &Progress) -> String {
    serde_json::to_string(progress).expect("numbers under names are JSON")
}

fn partition_id(number: u32) -> String {
    format!("tidemark:partition:{number}")
}

fn partition_number(vid: &str) -> Option<u32> {
    vid.trim_end_matches('\0').strip_prefix("tidemark:partition:")?.parse().ok()
}

//! Whose the store is: role, format, log id and generation, in `tidemark_meta`.

use tidemark_log::LogIdentity;
use tidemark_sink_core::{Role, SinkError};

use crate::client::Store;
use crate::encoding::Encoder;
use crate::failure::{Class, Failure, REBUILD, StoreError, fatal};
use crate::statement::comment;
use crate::table::insert_into;

pub(crate) const TABLE: &str = "tidemark_meta";

/// Layout of the database; another number is not read.
const FORMAT: &str = "1";

pub(crate) fn ddl() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE}(name String, value String)\nENGINE = ReplacingMergeTree\nORDER BY name\n{}",
        comment("whose the store is")
    )
}

/// What is known of the store; nothing for one that is not there.
#[derive(Debug, Default)]
pub(crate) struct Meta(Vec<(String, String)>);

impl Meta {
    pub(crate) async fn read(store: &Store) -> Result<Self, StoreError> {
        match store.rows(&format!("SELECT name, value FROM {TABLE} FINAL")).await {
            Ok(rows) => Ok(Self(rows)),
            Err(error) if error.class == Class::Gone => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The log that the store belongs to, if it belongs to one.
    pub(crate) fn log(&self) -> Option<LogIdentity> {
        let id = self.get("log_id").and_then(|id| id.parse().ok());
        let generation = self.get("generation").and_then(|generation| generation.parse().ok());
        id.zip(generation).map(|(id, generation)| LogIdentity { id, generation })
    }

    /// Why the store does not belong to this log; `None` when it does, or to no log yet.
    pub(crate) fn foreign(&self, place: &str, log: LogIdentity) -> Option<String> {
        if let Some(id) = self.get("log_id")
            && id != log.id.to_string()
        {
            return Some(format!("{place} was filled from another log ({id}, this one is {}); {REBUILD}", log.id));
        }
        if let Some(generation) = self.get("generation")
            && generation != log.generation.to_string()
        {
            let now = log.generation;
            return Some(format!("{place} was filled from generation {generation} of the log, which is at {now} now; {REBUILD}"));
        }
        None
    }

    /// Refuses what is not this log's analytics store.
    pub(crate) fn expect(&self, place: &str, log: LogIdentity) -> Result<(), SinkError> {
        let role = Role::Analytics.name();
        if let Some(known) = self.get("role").filter(|known| *known != role) {
            let step = format!("{place} is the {known} store, not the {role} store; name another database in the configuration");
            return Err(fatal(step, "role differs"));
        }
        if let Some(known) = self.get("format").filter(|known| *known != FORMAT) {
            let step = format!("{place} has format {known}, this version of tidemark reads format {FORMAT}; {REBUILD}");
            return Err(fatal(step, "format differs"));
        }
        self.foreign(place, log).map_or(Ok(()), |problem| Err(SinkError::ForeignLog(problem)))
    }
}

/// Binds the store to its role and log on first use.
pub(crate) async fn bind(store: &Store, log: LogIdentity) -> Result<(), Failure> {
    let meta = Meta::read(store).await?;
    meta.expect(&store.place, log)?;
    if meta.log() == Some(log) {
        return Ok(());
    }
    let (id, generation) = (log.id.to_string(), log.generation.to_string());
    let mut encoder = Encoder::default();
    for (name, value) in [("role", Role::Analytics.name()), ("format", FORMAT), ("log_id", &id), ("generation", &generation)] {
        encoder.text(name);
        encoder.text(value);
    }
    store.insert(&insert_into(TABLE, ["name", "value"]), &encoder.bytes).await?;
    // Another log's worker may have bound it in the same moment: the later one stands.
    Meta::read(store).await?.expect(&store.place, log)?;
    Ok(())
}

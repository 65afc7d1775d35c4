//! The stages of this build: their names, and who runs each on this data folder.

use anyhow::Result;

use crate::configuration::Configuration;
use crate::exit::UsageError;
use crate::locks::{self, Attempt, StageLock};
use crate::workplace::Workplace;
use tidemark_sink_core::Role;

/// The file connector's stage.
pub(crate) const CONNECTOR: &str = "connector.file";
/// The fold's.
pub(crate) const FOLD: &str = "fold";
/// All stages, in the order of the flow.
pub(crate) const NAMES: [&str; 6] = [CONNECTOR, FOLD, "sink.relational", "sink.graph", "sink.vector", "sink.analytics"];

/// The fold's cache, in the data folder.
pub(crate) const CACHE_FOLDER: &str = "state";

/// The role of a sink's stage.
pub(crate) fn role_of(stage: &str) -> Option<Role> {
    let name = stage.strip_prefix("sink.")?;
    Role::ALL.into_iter().find(|role| role.name() == name)
}

/// The stages that the configuration asks for.
pub(crate) fn configured(configuration: &Configuration) -> Vec<&'static str> {
    let wanted = |stage: &&str| match role_of(stage) {
        Some(role) => configuration.sinks.contains_key(&role),
        None => *stage != CONNECTOR || configuration.file.is_some(),
    };
    NAMES.into_iter().filter(wanted).collect()
}

/// The stages of these names, each of which must be configured.
pub(crate) fn named(configuration: &Configuration, names: &[String]) -> Result<Vec<&'static str>> {
    let configured = configured(configuration);
    let find = |name: &String| {
        configured.iter().copied().find(|stage| stage == name).ok_or_else(|| {
            let text = match NAMES.contains(&name.as_str()) {
                true => format!("`{name}` is switched off by the configuration"),
                false => format!("there is no stage `{name}`; there are {}", configured.join(", ")),
            };
            UsageError(text).into()
        })
    };
    names.iter().map(find).collect()
}

/// Which stages are ours.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Those that we run.
    pub(crate) own: Vec<&'static str>,
    /// Those that another process runs, with who that is.
    pub(crate) others: Vec<(&'static str, String)>,
    /// Held as long as this lives.
    pub(crate) locks: Vec<StageLock>,
}

impl Claims {
    /// Takes every one of these stages that nobody holds.
    pub(crate) fn take(workplace: &Workplace, stages: &[&'static str]) -> Result<Self> {
        workplace.make_data_folder()?;
        let mut claims = Self::default();
        for stage in stages {
            match locks::acquire(&workplace.data, stage)? {
                Attempt::Held(lock) => {
                    claims.own.push(stage);
                    claims.locks.push(lock);
                }
                Attempt::Taken(holder) => claims.others.push((stage, holder)),
            }
        }
        Ok(claims)
    }

    /// Refuses when somebody holds one.
    pub(crate) fn all_or_error(self) -> Result<Self> {
        match self.others.first() {
            None => Ok(self),
            Some((stage, holder)) => {
                anyhow::bail!("`{stage}` is run by {holder} on this data folder; stop it, or use another --data")
            }
        }
    }

    /// Whether we run this one.
    pub(crate) fn runs(&self, stage: &str) -> bool {
        self.own.contains(&stage)
    }
}

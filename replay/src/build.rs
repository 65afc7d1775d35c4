//! What the progress topic says of a store: which build of it is current, and how far that one is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_log::Share;
use tidemark_sink_core::{Role, StorePosition};

/// Names a store on the progress topic.
///
/// A store on a server is one for all workers, and so is a file beside the embedded log. Where workers share a log on Kafka, a file
/// is each worker's own, and named by its data folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreName {
    role: Role,
    owner: Option<String>,
}

impl StoreName {
    /// The store of this role that all workers share.
    pub fn shared(role: Role) -> Self {
        Self { role, owner: None }
    }

    /// The store of this role that only this worker has.
    pub fn of_worker(role: Role, worker: String) -> Self {
        Self { role, owner: Some(worker) }
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// `build|<role>`, `build|<role>|<worker>`.
    pub(crate) fn key(&self) -> String {
        match &self.owner {
            None => format!("{KEY}{}", self.role.name()),
            Some(worker) => format!("{KEY}{}|{worker}", self.role.name()),
        }
    }

    /// Whether a worker with this share is the one that empties the store. Every share is held by one worker, so one holds number 0.
    pub(crate) fn is_emptied_with(&self, share: &Share) -> bool {
        self.owner.is_some() || share.holds(0)
    }
}

/// Whether a record of the progress topic says something of a build.
pub fn tells_of_build(key: &[u8]) -> bool {
    key.starts_with(KEY.as_bytes())
}

/// Start of the keys.
pub(crate) const KEY: &str = "build|";

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The store is to be emptied, whatever is in it.
    Asked,
    /// It was emptied, and is being filled.
    Emptied,
    /// Whoever asked has seen it filled.
    Filled,
}

/// `build|…`: the current build of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Rises with each time that the store is asked to be built.
    pub number: u64,
    /// How far it is.
    pub step: Step,
    /// Where the state topics ended when it was asked for: entity → next offset by partition. A store beyond them is filled.
    pub until: BTreeMap<String, Vec<u64>>,
}

impl Build {
    /// Offsets that a store has passed that stands there, of all that there were when the build was asked for.
    pub fn passed_at(&self, positions: &[StorePosition]) -> (u64, u64) {
        let next = |entity: &str, partition: usize| {
            let stands = |position: &&StorePosition| position.entity == entity && position.partition as usize == partition;
            positions.iter().find(stands).map_or(0, |position| position.next)
        };
        let (mut passed, mut total) = (0, 0);
        for (entity, ends) in &self.until {
            for (partition, end) in ends.iter().enumerate() {
                passed += next(entity, partition).min(*end);
                total += end;
            }
        }
        (passed, total)
    }

    /// Whether a store that stands there holds all of them.
    pub fn is_filled_at(&self, positions: &[StorePosition]) -> bool {
        let (passed, total) = self.passed_at(positions);
        passed == total
    }
}

//! What every stage says about itself: one board for status lines, `/ready` and `/metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// Topic, partition, next offset.
pub type StagePosition = (Arc<str>, u32, u64);

/// How a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StageState {
    /// Opening, or catching up for the first time.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Failing and retried; the text says why and what to do.
    Degraded(String),
    /// Ended for good.
    Stopped,
}

/// One stage's figures since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageStatus {
    /// State.
    pub state: StageState,
    /// Records read.
    pub read: u64,
    /// Records applied (written, published).
    pub applied: u64,
    /// Records rejected or refused.
    pub rejected: u64,
    /// Attempts that failed and were repeated.
    pub retried: u64,
    /// Records between the stage and the end of its topics.
    pub lag_records: u64,
    /// Age of the oldest record not yet applied, seconds; 0 when there is none.
    pub lag_seconds: u64,
    /// It is degraded by what time does not mend: a person must act, though it is tried again all the same.
    pub needs_a_person: bool,
    /// A connector: it has nothing to do and all that it took in is decided. A consumer: it stands at the end of its topics.
    pub quiet: bool,
}

/// The board. Stages write their own line; everybody reads.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard {
    lines: Arc<Mutex<BTreeMap<String, StageStatus>>>,
    positions: Arc<watch::Sender<BTreeMap<String, Vec<StagePosition>>>>,
}

impl StatusBoard {
    /// Changes one stage's line (made when missing).
    pub fn update(&self, stage: &str, change: impl FnOnce(&mut StageStatus)) {
        let mut lines = self.lines.lock().expect("no holder of this lock can panic");
        change(lines.entry(stage.to_owned()).or_default());
    }

    /// All lines, by stage name.
    pub fn lines(&self) -> BTreeMap<String, StageStatus> {
        self.lines.lock().expect("no holder of this lock can panic").clone()
    }

    /// Says how far a stage's committed work reaches on each of its topics.
    pub fn stands_at(&self, stage: &str, positions: Vec<StagePosition>) {
        self.positions.send_modify(|all| {
            all.insert(stage.to_owned(), positions);
        });
    }

    /// The same for the positions on one partition number, where a stage has units for some of them.
    pub(crate) fn stands_at_on(&self, stage: &str, number: u32, positions: Vec<StagePosition>) {
        self.positions.send_modify(|all| {
            let known = all.entry(stage.to_owned()).or_default();
            known.retain(|(_, partition, _)| *partition != number);
            known.extend(positions);
        });
    }

    /// The stage works on these partition numbers alone.
    pub(crate) fn stands_only_on(&self, stage: &str, numbers: &BTreeSet<u32>) {
        self.positions.send_modify(|all| {
            all.entry(stage.to_owned()).or_default().retain(|(_, partition, _)| numbers.contains(partition));
        });
    }

    /// How far each stage of this process has come; changes with every commit.
    pub fn positions(&self) -> watch::Receiver<BTreeMap<String, Vec<StagePosition>>> {
        self.positions.subscribe()
    }
}

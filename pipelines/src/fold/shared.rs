//! The fold as a stage: one unit for all partitions, or, where workers share them, one for each partition number held.
//!
//! Units of one worker are independent: each has its own positions, transactions and cache. What is revoked is drained and
//! committed before it is let go; what is lost is dropped at once, and the log's fencing sees that nothing of it is committed.
//! On failure of one unit all of this worker are drained, and the stage starts anew with what it should hold by then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::{Assignment, Membership, Share};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::stage::{CONSUMER, FoldUnit};
use crate::engine::failure::{Class, Failure};
use crate::engine::supervise::{Session, Stage};
use crate::engine::{BatchLimits, Pipeline, membership};

/// The fold.
pub(crate) struct FoldStage<'p> {
    pipeline: &'p Pipeline,
    directory: PathBuf,
    limits: BatchLimits,
    /// Kept over failures, so that they move no partitions from worker to worker.
    membership: Option<Arc<dyn Membership>>,
    /// The unit of a stage that has all partitions.
    whole: Option<FoldUnit>,
}

/// The units of this worker.
#[derive(Default)]
struct Units {
    tasks: JoinSet<Ended>,
    running: BTreeMap<u32, Unit>,
}

/// What a unit's task came to.
struct Ended {
    number: u32,
    worked: bool,
    result: Result<(), Failure>,
}

struct Unit {
    stop: CancellationToken,
    task: AbortHandle,
}

impl<'p> FoldStage<'p> {
    pub(crate) fn new(pipeline: &'p Pipeline, directory: PathBuf, limits: BatchLimits) -> Self {
        Self { pipeline, directory, limits, membership: None, whole: None }
    }

    /// Runs the units of what this worker should hold, until shutdown.
    async fn run_units(
        &self,
        session: &mut Session,
        membership: &dyn Membership,
        wanted: &mut watch::Receiver<Option<Assignment>>,
    ) -> Result<(), Failure> {
        let mut units = Units::default();
        let ended = self.drive(&mut units, session, membership, wanted).await;
        // Whatever ended it, nothing is left half done.
        let drained = units.keep(&BTreeSet::new()).await;
        ended.and(drained)
    }

    async fn drive(
        &self,
        units: &mut Units,
        session: &mut Session,
        membership: &dyn Membership,
        wanted: &mut watch::Receiver<Option<Assignment>>,
    ) -> Result<(), Failure> {
        let mut losses = None;
        loop {
            let Some(assignment) = membership::next(wanted, &self.pipeline.shutdown).await else { return Ok(()) };
            let Share::Partitions(numbers) = &assignment.share else { return Ok(()) };
            if losses.replace(assignment.losses).is_some_and(|before| before != assignment.losses) {
                units.drop_all().await;
            }
            units.keep(numbers).await?;
            membership.holds(&assignment.share);
            session.report.divided(numbers);
            for number in numbers {
                units.start(*number, self, session);
            }
            if numbers.is_empty() {
                session.worked();
            }
            tokio::select! {
                biased;
                () = self.pipeline.shutdown.cancelled() => return Ok(()),
                changed = wanted.changed() => if changed.is_err() { return Ok(()) },
                Some(ended) = units.tasks.join_next() => units.ended(ended, session)?,
            }
        }
    }
}

impl Units {
    /// Drains the units of other numbers, all of them, whatever one of them comes to. Fails if a unit that is kept failed
    /// meanwhile, or any broke down.
    async fn keep(&mut self, numbers: &BTreeSet<u32>) -> Result<(), Failure> {
        for (_, unit) in self.running.iter().filter(|(number, _)| !numbers.contains(number)) {
            unit.stop.cancel();
        }
        let mut outcome = Ok(());
        while self.running.keys().any(|number| !numbers.contains(number)) {
            let Some(ended) = self.tasks.join_next().await else { break };
            match self.take_out(ended) {
                // It has committed nothing of what it failed at; the next owner reads it again.
                Ok(ended) if !numbers.contains(&ended.number) => {}
                Ok(ended) => outcome = outcome.and(ended.result),
                Err(failure) => outcome = outcome.and(Err(failure)),
            }
        }
        outcome
    }

    /// Takes an ended unit out of those that run.
    fn take_out(&mut self, ended: Result<Ended, JoinError>) -> Result<Ended, Failure> {
        match ended {
            Ok(ended) => {
                self.running.remove(&ended.number);
                Ok(ended)
            }
            Err(error) => {
                self.running.retain(|_, unit| unit.task.id() != error.id());
                Err(Failure::new(Class::Fatal, format!("a unit of the fold broke down: {error}")))
            }
        }
    }

    /// Gives up everything in hand.
    async fn drop_all(&mut self) {
        for unit in self.running.values() {
            unit.task.abort();
        }
        self.running.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, number: u32, stage: &FoldStage<'_>, session: &Session) {
        if self.running.contains_key(&number) {
            return;
        }
        let stop = stage.pipeline.shutdown.child_token();
        let pipeline = Pipeline { shutdown: stop.clone(), ..stage.pipeline.clone() };
        let share = Share::Partitions(BTreeSet::from([number]));
        let mut unit = FoldUnit::new(pipeline, share, stage.directory.join(number.to_string()), stage.limits);
        let mut own = session.of_partition(number);
        let task = self.tasks.spawn(async move {
            let result = unit.run(&mut own).await;
            Ended { number, worked: own.has_worked(), result }
        });
        self.running.insert(number, Unit { stop, task });
    }

    /// A unit ended by itself.
    fn ended(&mut self, ended: Result<Ended, JoinError>, session: &mut Session) -> Result<(), Failure> {
        let ended = self.take_out(ended)?;
        if ended.worked {
            session.worked();
        }
        ended.result
    }
}

#[async_trait]
impl Stage for FoldStage<'_> {
    async fn run(&mut self, session: &mut Session) -> Result<(), Failure> {
        let membership = membership::joined(&mut self.membership, &*self.pipeline.log, CONSUMER).await?;
        let mut wanted = membership.wanted();
        let Some(assignment) = membership::next(&mut wanted, &self.pipeline.shutdown).await else {
            membership.leave().await;
            return Ok(());
        };
        match assignment.share {
            Share::All => {
                let whole = || FoldUnit::new(self.pipeline.clone(), Share::All, self.directory.clone(), self.limits);
                self.whole.get_or_insert_with(whole).run(session).await?;
            }
            share @ Share::Partitions(_) => {
                // The word that was just taken is looked at again.
                wanted.mark_changed();
                let ended = self.run_units(session, &*membership, &mut wanted).await;
                ended.map_err(|failure| membership::failed(&*membership, &share, failure))?;
            }
        }
        membership.leave().await;
        Ok(())
    }

    fn membership(&self) -> Option<&dyn Membership> {
        self.membership.as_deref()
    }
}

#[cfg(test)]
mod tests;

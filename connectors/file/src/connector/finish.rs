//! Publishing, waiting for the fold's answers, and putting the file to its place.

use std::sync::Arc;

use tidemark_connector_core::receipt::Decided;
use tidemark_connector_core::{ConnectorError, Step, progress};
use tidemark_log::{Append, crash};

use super::{FileConnector, Settlement, Work, aside};
use crate::claim::Claim;
use crate::outcome::Outcome;
use crate::places::Places;
use crate::publish::{Batch, Publication};
use crate::receipts::Answers;
use crate::scan::INITIAL;
use crate::settle::{SettleError, Settler};
use crate::stats::FileReport;
use crate::tree::Tree;

/// A batch, unless the disk did not give it: then its claim stays open, and is gone on with where it stands.
fn readable(publication: &Publication, batch: std::io::Result<Batch>) -> Result<Batch, ConnectorError> {
    let step = || format!("read {}; its records up to {} are taken in", publication.claim.path, publication.claim.counts.next);
    batch.map_err(|cause| ConnectorError::Unavailable { step: step(), cause: cause.into() })
}

impl FileConnector {
    /// Appends a batch while the next one is made.
    pub(super) async fn publish(
        &mut self,
        mut publication: Box<Publication>,
        batch: Option<Box<Batch>>,
    ) -> Result<Step, ConnectorError> {
        let now = self.clock.wall_micros();
        publication.prepare(self.log.as_ref()).await?;
        let Some(batch) = batch else {
            let (publication, batch) = aside(publication.claim.signature.size, move || {
                let batch = publication.batch(now);
                (publication, batch)
            })
            .await?;
            let batch = readable(&publication, batch)?;
            if batch.last {
                return self.append_last(batch).await;
            }
            self.work = Work::Publishing(publication, Some(Box::new(batch)));
            return Ok(Step::Progress);
        };
        self.check_disk().inspect_err(|_| self.queue.clear())?;
        let mut batch = batch;
        let mut append = std::mem::take(&mut batch.append);
        self.put_closing(&mut append);
        let made = aside(publication.claim.signature.size, move || {
            let batch = publication.batch(now);
            (publication, batch)
        });
        crash::point("connector.before-publish");
        let (appended, made) = tokio::join!(self.log.append(append), made);
        crash::point("connector.after-publish");
        appended?;
        self.closing.clear();
        self.appended(&batch);
        let (publication, next) = made?;
        let next = readable(&publication, next)?;
        if next.last {
            return self.append_last(next).await;
        }
        self.work = Work::Publishing(publication, Some(Box::new(next)));
        Ok(Step::Progress)
    }

    async fn append_last(&mut self, mut batch: Batch) -> Result<Step, ConnectorError> {
        let append = std::mem::take(&mut batch.append);
        crash::point("connector.before-last");
        self.append_with_closing(append).await?;
        crash::point("connector.after-last");
        self.appended(&batch);
        let answers = Answers::new(&batch.claim);
        self.work = Work::Settling(Box::new(Settlement { claim: batch.claim, answers, counted: false }));
        Ok(Step::Progress)
    }

    /// A batch is durable.
    fn appended(&mut self, batch: &Batch) {
        self.counts.read += batch.read;
        self.counts.published += batch.published;
        self.counts.rejected += batch.rejected;
        self.statistics.working_on(&batch.claim.path, 2, batch.offset, batch.claim.signature.size);
        self.ledger.put(batch.claim.clone());
    }

    /// Looks for answers; with all of them there, puts everything to its place.
    pub(super) async fn settle(&mut self, mut settlement: Box<Settlement>) -> Result<Step, ConnectorError> {
        self.appended.mark_unchanged();
        let complete = settlement.answers.complete(self.log.as_ref(), &self.topics, &settlement.claim).await;
        self.receipts_at = self.receipts_at.max(settlement.answers.offset());
        match complete {
            Ok(true) => {}
            Ok(false) => {
                // What closed before need not wait for this one.
                self.sync_settled_if_due().await?;
                if !self.closing.is_empty() {
                    self.append_with_closing(Append::default()).await?;
                }
                self.work = Work::Settling(settlement);
                return Ok(Step::Waiting);
            }
            Err(error) => {
                self.work = Work::Settling(settlement);
                return Err(error.into());
            }
        }
        match self.put_away(&mut settlement).await {
            Ok(()) => {
                self.sync_settled_if_due().await?;
                Ok(Step::Progress)
            }
            Err(SettleError::Log(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, path = settlement.claim.path, "a decided file cannot be put to its place; it is tried again");
                self.unarchived.push(*settlement);
                Ok(Step::Progress)
            }
        }
    }

    /// Puts a decided claim's files away and closes it.
    pub(super) async fn put_away(&mut self, settlement: &mut Settlement) -> Result<(), SettleError> {
        self.note_vanished(&mut settlement.claim).await?;
        let answers: Vec<_> = settlement.answers.by_partition.iter().map(|(partition, receipt)| (*partition, *receipt)).collect();
        let kind = self.forms.of_file(settlement.claim.file_name()).map_or("", |form| form.kind.as_str()).to_owned();
        let outcome = Outcome::new(&settlement.claim, kind, &answers.iter().map(|(_, receipt)| *receipt).sum());
        // Also when a failing log made this claim be taken up a second time.
        if !settlement.counted && self.reported != Some(settlement.claim.first) {
            self.reported = Some(settlement.claim.first);
            self.report(&outcome);
        }
        settlement.counted = true;
        // A changed file stands where it stood, and gets its result when it is read as it is now.
        let read_again = settlement.claim.changed && settlement.claim.failed.is_none();
        while let Some(tree) = self.tree.clone().filter(|_| !read_again) {
            let superseded = self.ledger.is_superseded(&settlement.claim);
            let settler = Settler { log: self.log.as_ref(), topics: &self.topics, tree: &tree, superseded };
            match settler.settle(&settlement.claim, &answers, &outcome).await {
                Ok(()) => break,
                Err(SettleError::Taken(path)) => self.choose_again(settlement, &tree, &path).await?,
                Err(error) => return Err(error),
            }
        }
        if read_again {
            tracing::warn!(path = settlement.claim.path, "the file changed while it was read; it is read again as it is now");
            self.look_again();
        }
        let closed = settlement.claim.clone().closed(outcome.report.decided.rejected);
        self.ledger.put(closed.clone());
        self.settled.add(closed, self.clock.now());
        Ok(())
    }

    /// A file that is gone before its end was read: no other claim will say what became of it, so this one does.
    async fn note_vanished(&mut self, claim: &mut Claim) -> Result<(), SettleError> {
        let Some(tree) = self.tree.clone() else { return Ok(()) };
        if !claim.changed || claim.failed.is_some() || tree.exists(&claim.path) {
            return Ok(());
        }
        let (read, records) = (claim.counts.next, claim.numbers);
        claim.failed = Some(format!(
            "the file vanished while it was read, after {read} of {records} records, which count; drop it again for the others"
        ));
        Places { tree: &tree, ledger: &self.ledger }.choose_for_vanished(claim);
        self.keep(claim).await
    }

    async fn choose_again(&mut self, settlement: &mut Settlement, tree: &Tree, taken: &str) -> Result<(), SettleError> {
        Places { tree, ledger: &self.ledger }.choose_again(&mut settlement.claim, taken);
        self.keep(&settlement.claim).await
    }

    /// Makes other destinations durable, before anything is put there.
    async fn keep(&mut self, claim: &Claim) -> Result<(), SettleError> {
        let mut append = Append::default();
        progress::put(&mut append, &self.topics, &claim.key(), claim);
        self.log.append(append).await?;
        self.ledger.put(claim.clone());
        Ok(())
    }

    fn report(&mut self, outcome: &Outcome) {
        let FileReport { path, read, decided, repeats_of, failed, .. } = &outcome.report;
        let Decided { inserted, updated, deleted, unchanged, rejected } = *decided;
        // Why it failed stands in its result: the text may quote what the file holds.
        let (repeats_of, failed) = (repeats_of.as_deref(), failed.is_some());
        tracing::info!(path, read, inserted, updated, deleted, unchanged, rejected, repeats_of, failed, "file decided");
        self.statistics.add(outcome.report.clone());
        if path.starts_with(INITIAL) {
            self.initial_read.insert(path.clone());
        }
        for (id, statistics) in &mut self.requests {
            let asked = self.ledger.requests().get(id).is_some_and(|request| request.selection.takes(&outcome.report.path));
            if asked {
                statistics.add(outcome.report.clone());
            }
        }
    }

    async fn sync_settled_if_due(&mut self) -> Result<(), ConnectorError> {
        if self.settled.is_due(self.clock.now()) { self.sync_settled().await } else { Ok(()) }
    }

    /// Waits for the disk to have what settled claims left, so that they can be closed on the log.
    pub(super) async fn sync_settled(&mut self) -> Result<(), ConnectorError> {
        if self.settled.claims().is_empty() {
            return Ok(());
        }
        let (settled, tree) = (std::mem::take(&mut self.settled), Arc::clone(self.tree()?));
        let synced = aside(u64::MAX, move || settled.sync(&tree)).await?;
        match synced {
            Ok(closed) => self.closing.extend(closed),
            Err((settled, cause)) => {
                self.settled = settled;
                let step = format!("write the results of decided files to the disk of {}", self.options.root.display());
                return Err(ConnectorError::Unavailable { step, cause: cause.into() });
            }
        }
        Ok(())
    }

    /// Closes a claim that left nothing: at once here, on the log with the next append.
    pub(super) fn close(&mut self, claim: Claim, rejected: u64) {
        let closed = claim.closed(rejected);
        self.ledger.put(closed.clone());
        self.closing.push(closed);
    }
}

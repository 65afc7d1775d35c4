//! Putting a decided file to its place: rejects, original, result, in this order and each step repeatable.
//!
//! Relies on the destinations in the claim, which are durable before anything is moved and which no other open claim has. After a
//! crash every step is done again: what stands at a destination already counts as done only if it is what would be put there.
//! Nothing of anybody else's is overwritten; who finds a name taken chooses another.

use std::io::{self, Write};
use std::sync::Arc;

use tidemark_connector_core::receipt::Receipt;
use tidemark_log::{Log, LogError, Topics, crash};
use tokio::sync::mpsc;

use crate::claim::Claim;
use crate::outcome::Outcome;
use crate::receipts::Rejections;
use crate::rejects;
use crate::tree::{Tree, folder_of};

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Somebody took a name in the meantime: choose others.
    #[error("the name {0} is taken")]
    Taken(String),
    /// The file cannot be put there; try later.
    #[error("cannot put {path} to its place")]
    Place {
        /// What was being made.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Rejected records that the log has named and the writer has not reached; more would only fill memory.
const INDEXES_WAITING_MAX: usize = 1_024;

/// What is needed to put files to their places.
pub(crate) struct Settler<'s> {
    pub(crate) log: &'s dyn Log,
    pub(crate) topics: &'s Topics,
    pub(crate) tree: &'s Arc<Tree>,
    /// A newer reading of the same initial file has its result already.
    pub(crate) superseded: bool,
}

impl Settler<'_> {
    /// Does all steps for a claim that is decided.
    pub(crate) async fn settle(&self, claim: &Claim, answers: &[(u32, Receipt)], outcome: &Outcome) -> Result<(), SettleError> {
        let result = &claim.destinations.result;
        crash::point("connector.before-result");
        self.make_folder_of(result)?;
        let draft = temporary(result, claim.first);
        let any = self.write_result(claim, answers, outcome, &draft).await?;
        if let Some(place) = claim.destinations.rejects.as_ref().filter(|_| any) {
            self.write_rejects(claim, answers, place).await?;
        }
        crash::point("connector.before-archive");
        if let Some(place) = &claim.destinations.original {
            self.move_original(claim, place)?;
        }
        crash::point("connector.after-archive");
        self.put_result(claim, &draft)?;
        crash::point("connector.after-result");
        Ok(())
    }

    /// True when there are rejections.
    async fn write_result(
        &self,
        claim: &Claim,
        answers: &[(u32, Receipt)],
        outcome: &Outcome,
        draft: &str,
    ) -> Result<bool, SettleError> {
        let place = |cause| SettleError::Place { path: claim.destinations.result.clone(), cause };
        let file = self.tree.create(draft).map_err(place)?;
        let mut out = io::BufWriter::new(file);
        outcome.start(&mut out).map_err(place)?;
        let mut any = false;
        if outcome.report.decided.rejected > 0 {
            let mut rejections = rejections(claim, answers);
            while let Some(rejection) = rejections.next(self.log, self.topics).await? {
                Outcome::rejection(&mut out, &rejection, !any).map_err(place)?;
                any = true;
            }
        }
        Outcome::finish(&mut out, any).map_err(place)?;
        out.flush().map_err(place)?;
        Ok(any)
    }

    async fn write_rejects(&self, claim: &Claim, answers: &[(u32, Receipt)], place: &str) -> Result<(), SettleError> {
        let failed = |cause| SettleError::Place { path: place.to_owned(), cause };
        let Some(source) = self.source(claim) else {
            tracing::warn!(path = claim.path, "the file is gone; its rejected records stand in the result and the receipts only");
            return Ok(());
        };
        let source = self.tree.open_file(&source).map_err(failed)?;
        self.make_folder_of(place)?;
        let draft = temporary(place, claim.first);
        let target = self.tree.create(&draft).map_err(failed)?;
        let envelope = claim.envelope.clone();
        let (indexes, mut wanted) = mpsc::channel(INDEXES_WAITING_MAX);
        let wanted = std::iter::from_fn(move || wanted.blocking_recv());
        let writer = tokio::task::spawn_blocking(move || rejects::write(source, wanted, &envelope, target));
        let fed = self.feed(rejections(claim, answers), indexes).await;
        // Awaited also after an error: nobody else may write this draft while the task does.
        let written = writer.await;
        fed?;
        written.map_err(io::Error::other).and_then(|written| written).map_err(failed)?;
        self.put(&draft, place)
    }

    /// Tells the writer which records were rejected, as the log gives them.
    async fn feed(&self, mut rejections: Rejections, indexes: mpsc::Sender<u64>) -> Result<(), LogError> {
        while let Some(rejection) = rejections.next(self.log, self.topics).await? {
            if indexes.send(rejection.index).await.is_err() {
                // The writer has ended, and says why itself.
                break;
            }
        }
        Ok(())
    }

    /// Where the bytes that were read are now.
    fn source(&self, claim: &Claim) -> Option<String> {
        let same = |path: &&str| self.tree.signature(path).is_ok_and(|found| found == claim.signature);
        let places = [Some(claim.path.as_str()), claim.destinations.original.as_deref()];
        places.into_iter().flatten().find(same).map(str::to_owned)
    }

    fn move_original(&self, claim: &Claim, place: &str) -> Result<(), SettleError> {
        match self.tree.signature(&claim.path) {
            Ok(found) if found == claim.signature => {}
            // Moved before a crash, taken away, or another file by now, which is read for itself.
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(SettleError::Place { path: place.to_owned(), cause }),
        }
        self.make_folder_of(place)?;
        self.rename(&claim.path, place)?;
        // Replaced between the look and the rename: that file was not read, so it goes back.
        let moved =
            self.tree.signature(place).map(|found| found.inode == claim.signature.inode && found.size == claim.signature.size);
        if matches!(moved, Ok(false)) {
            return self.rename(place, &claim.path);
        }
        Ok(())
    }

    fn make_folder_of(&self, path: &str) -> Result<(), SettleError> {
        self.tree.ensure_dir(folder_of(path)).map_err(|cause| SettleError::Place { path: path.to_owned(), cause })
    }

    /// An initial file has one result, the last one's.
    fn put_result(&self, claim: &Claim, draft: &str) -> Result<(), SettleError> {
        let result = &claim.destinations.result;
        let done = match (claim.initial, self.superseded) {
            (false, _) => return self.put(draft, result),
            (true, false) => self.tree.replace(draft, result),
            (true, true) => self.tree.remove(draft),
        };
        done.map_err(|cause| SettleError::Place { path: result.clone(), cause })
    }

    /// Gives a draft its name. What stands there already is this claim's own if it says the same, byte for byte, or the first
    /// part of it (perhaps none) with nothing or zeros behind, which no whole result or envelope of another is: then an earlier
    /// attempt came this far, or was torn by a power cut. Anything else is somebody's, and stays.
    fn put(&self, draft: &str, place: &str) -> Result<(), SettleError> {
        match self.rename(draft, place) {
            Err(SettleError::Taken(_)) if self.tree.is_torn_copy(draft, place) => {
                self.tree.replace(draft, place).map_err(|cause| SettleError::Place { path: place.to_owned(), cause })
            }
            other => other,
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), SettleError> {
        match self.tree.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SettleError::Taken(to.to_owned())),
            other => other.map_err(|cause| SettleError::Place { path: to.to_owned(), cause }),
        }
    }
}

/// All rejections of a claim, of the connector and of the partitions that had any.
fn rejections(claim: &Claim, answers: &[(u32, Receipt)]) -> Rejections {
    let partitions = answers.iter().filter(|(_, receipt)| receipt.decided.rejected > 0).map(|(partition, _)| *partition);
    Rejections::new(&claim.id(), claim.receipts_from, partitions)
}

/// A name beside the destination that no scan sees.
fn temporary(place: &str, first: u64) -> String {
    match place.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/.tidemark-{first}.tmp"),
        None => format!(".tidemark-{first}.tmp"),
    }
}

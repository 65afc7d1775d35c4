//! What there is to do when no file is: close, answer, clean up, try again what could not be put away, watch the disk.

use std::collections::HashSet;
use std::time::Duration;

use tidemark_connector_core::{ConnectorError, Step, progress};
use tidemark_log::Append;

use super::FileConnector;
use crate::ledger::{ScanAnswer, answer_key};
use crate::options::Selection;
use crate::retention;
use crate::settle::SettleError;
use crate::stats::Statistics;
use crate::templates;
use crate::tree::folder_of;

/// How often old files are looked for.
const CLEANING_INTERVAL: Duration = Duration::from_secs(3_600);

impl FileConnector {
    pub(super) async fn idle(&mut self) -> Result<Step, ConnectorError> {
        if self.close_settled().await? {
            return Ok(Step::Progress);
        }
        self.statistics.working_on("", 0, 0, 0);
        let young = self.next_look.is_some();
        if !young {
            self.answer_requests().await?;
        }
        self.clean()?;
        self.put_away_again().await?;
        self.close_settled().await?;
        Ok(if young { Step::Waiting } else { Step::Quiet })
    }

    /// Closes what is settled, on the disk and on the log. False when nothing was.
    async fn close_settled(&mut self) -> Result<bool, ConnectorError> {
        self.sync_settled().await?;
        let any = !self.closing.is_empty();
        self.append_with_closing(Append::default()).await?;
        Ok(any)
    }

    /// Requests of other processes start to count here.
    pub(super) fn note_requests(&mut self) {
        let new: Vec<String> = self.ledger.requests().keys().filter(|id| !self.requests.contains_key(*id)).cloned().collect();
        for id in new {
            // What is queued was chosen before the request.
            self.queue.clear();
            self.read_again.clear();
            self.requests.insert(id, Statistics::default());
        }
    }

    /// Whether the file is read all the same though it is known: whoever insists does so on what they selected.
    pub(super) fn again(&self, path: &str) -> bool {
        let insists = |selection: &Selection| selection.again && selection.takes(path);
        let asked = || self.requests.keys().filter_map(|id| self.ledger.requests().get(id));
        insists(&self.options.selection) || asked().any(|request| insists(&request.selection))
    }

    async fn answer_requests(&mut self) -> Result<(), ConnectorError> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let mut append = Append::default();
        for (id, statistics) in &self.requests {
            progress::put(&mut append, &self.topics, &answer_key(id), &ScanAnswer { statistics: statistics.clone() });
        }
        self.log.append(append).await?;
        self.ledger.catch_up(self.log.as_ref(), &self.topics).await?;
        self.requests.clear();
        Ok(())
    }

    /// While decided files wait for a place and nothing else can be done, opening fails, so that the stage stays visibly degraded
    /// and is tried less and less often.
    pub(super) async fn try_kept(&mut self) -> Result<(), ConnectorError> {
        if self.unarchived.is_empty() {
            return Ok(());
        }
        self.look()?;
        let open = self.ledger.open_claims().count() > self.unarchived.len();
        if open || !self.queue.is_empty() || self.next_look.is_some() {
            return Ok(());
        }
        self.put_away_again().await
    }

    /// Oldest first. What else goes to a folder that was just refused waits for the next time; the others need not.
    async fn put_away_again(&mut self) -> Result<(), ConnectorError> {
        let mut waiting = std::mem::take(&mut self.unarchived).into_iter();
        let mut refused: Option<SettleError> = None;
        let mut refused_folders: HashSet<String> = HashSet::new();
        while let Some(mut settlement) = waiting.next() {
            if settlement.claim.reserves().any(|place| refused_folders.contains(folder_of(place))) {
                self.unarchived.push(settlement);
                continue;
            }
            let Err(error) = self.put_away(&mut settlement).await else { continue };
            self.unarchived.push(settlement);
            match &error {
                SettleError::Log(_) => {
                    self.unarchived.extend(waiting);
                    return Err(refusal(error, self.unarchived.len()));
                }
                SettleError::Place { path, .. } | SettleError::Taken(path) => {
                    refused_folders.insert(folder_of(path).to_owned());
                }
            }
            refused.get_or_insert(error);
        }
        refused.map_or(Ok(()), |error| Err(refusal(error, self.unarchived.len())))
    }

    fn clean(&mut self) -> Result<(), ConnectorError> {
        let Some(days) = self.options.processed_days else { return Ok(()) };
        let now = self.clock.now();
        if self.last_cleaning.is_some_and(|last| now.saturating_sub(last) < CLEANING_INTERVAL) {
            return Ok(());
        }
        self.last_cleaning = Some(now);
        let before = self.clock.wall_micros() / 1_000_000 - i64::from(days) * 86_400;
        let removed = retention::clean(self.tree()?, before);
        let removed = removed.map_err(|cause| ConnectorError::Unavailable {
            step: "remove old files from processed/".to_owned(),
            cause: cause.into(),
        })?;
        if removed > 0 {
            tracing::info!(removed, days, "old files were removed from processed/");
        }
        Ok(())
    }

    /// Refuses to take in more while the disk is nearly full.
    pub(super) fn check_disk(&self) -> Result<(), ConnectorError> {
        let needed = self.options.disk_free_min;
        if needed == 0 {
            return Ok(());
        }
        let mut disks = vec![(self.options.root.display().to_string(), self.tree()?.free())];
        for path in &self.options.disk_paths {
            let free = rustix::fs::statvfs(path).map(|found| found.f_bavail.saturating_mul(found.f_frsize));
            disks.push((path.display().to_string(), free.map_err(Into::into)));
        }
        for (path, free) in disks {
            let free = free.map_err(|cause| ConnectorError::Unavailable {
                step: format!("ask how much is free on the disk of {path}"),
                cause: cause.into(),
            })?;
            if free < needed {
                let step = format!(
                    "intake pauses: {} MiB are free on the disk of {path}, {} MiB must be; free space or lower disk.free_min",
                    free >> 20,
                    needed >> 20
                );
                return Err(ConnectorError::Unavailable { step, cause: "the disk is nearly full".into() });
            }
        }
        Ok(())
    }

    /// Example files, where nobody has put others.
    pub(super) fn put_templates(&self) -> Result<(), ConnectorError> {
        let tree = self.tree()?;
        for (name, text) in templates::forms(&self.catalog) {
            let path = format!("templates/{name}");
            if tree.exists(&path) {
                continue;
            }
            // Whole or not at all: a torn one would be there and so never be written again.
            let draft = format!("templates/.{name}.tmp");
            let written = tree
                .create(&draft)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .and_then(|()| tree.replace(&draft, &path));
            if let Err(error) = written {
                // They only help people; intake must not stop for them.
                tracing::warn!(%error, path, "a template cannot be written");
                break;
            }
        }
        Ok(())
    }
}

fn refusal(error: SettleError, waiting: usize) -> ConnectorError {
    let step = format!("{error} ({waiting} decided files wait); make the folder writable or free space on its disk");
    match error {
        SettleError::Log(error) => error.into(),
        SettleError::Place { cause, .. } => ConnectorError::Unavailable { step, cause: cause.into() },
        SettleError::Taken(_) => ConnectorError::Unavailable { step, cause: error.into() },
    }
}

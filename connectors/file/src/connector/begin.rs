//! Choosing the next file, the first pass, and making its claim.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidemark_connector_core::{ConnectorError, Step};
use tidemark_log::{Append, crash};
use tidemark_schemas::Operation;

use super::{FileConnector, REQUEST_LOOK, Settlement, Work, aside};
use crate::claim::{Claim, Counts, Stage, hex};
use crate::forms::mapper::Mapper;
use crate::forms::{FORMS_VERSION, Form};
use crate::inspect::{self, InspectError, Inspected, Inspection};
use crate::ledger::{Past, Remembered, Verdict};
use crate::options::Part;
use crate::places::Places;
use crate::publish::Publication;
use crate::receipts::{Answers, Rejections};
use crate::retried::Retried;
use crate::scan::{self, Candidate};
use crate::splitter::SplitError;
use crate::stats::Unchanged;
use crate::tree::Tree;

/// Bytes of the first pass in one step.
const INSPECT_BYTES: u64 = 16 << 20;

impl FileConnector {
    /// Takes up what a dead instance left, else the next file, else whatever there is to do without files.
    pub(super) async fn begin(&mut self) -> Result<Step, ConnectorError> {
        let kept: HashSet<u64> = self.unarchived.iter().map(|settlement| settlement.claim.first).collect();
        let open = self.ledger.open_claims().find(|claim| !kept.contains(&claim.first)).cloned();
        if let Some(claim) = open {
            return self.take_up(claim).await;
        }
        self.check_disk()?;
        let now = self.clock.now();
        // Between two small files there is no need to ask the log who else there is.
        if self.queue.is_empty() || self.caught_up.is_none_or(|last| now.saturating_sub(last) >= REQUEST_LOOK) {
            self.caught_up = Some(now);
            self.appended.mark_unchanged();
            self.ledger.catch_up(self.log.as_ref(), &self.topics).await?;
            if self.ledger.newest_epoch() > self.epoch {
                return Err(ConnectorError::Fenced(crate::claim::SOURCE.to_owned()));
            }
            self.note_requests();
        }
        if self.looked_at.is_some_and(|last| now.saturating_sub(last) > self.options.scan_interval) {
            // What arrived since may have to be read before what is queued.
            self.queue.clear();
        }
        if let Some(candidate) = self.queue.pop_front()
            && self.tree()?.signature(&candidate.path).is_ok_and(|found| found == candidate.signature)
        {
            return self.start(candidate).await;
        }
        // Nothing is queued, or what is next changed: then what stands behind it must not come before it.
        self.look()?;
        match self.queue.pop_front() {
            Some(candidate) => self.start(candidate).await,
            None => self.idle().await,
        }
    }

    /// Scans, and queues the files that may be read now, in their order.
    pub(super) fn look(&mut self) -> Result<(), ConnectorError> {
        let tree = Arc::clone(self.tree()?);
        if !tree.is_at(&self.options.root) {
            self.watcher = None;
            let step = format!("look through the import root {}", self.options.root.display());
            return Err(ConnectorError::Unavailable { step, cause: "another folder stands there now; it is opened anew".into() });
        }
        let announced = self.watcher.as_ref().map(crate::watch::Watcher::announced).unwrap_or_default();
        let found = self.list(&tree).map_err(|cause| ConnectorError::Unavailable {
            step: format!("look through the import root {}", self.options.root.display()),
            cause: cause.into(),
        })?;
        let paths: HashSet<&str> = found.iter().map(|candidate| candidate.path.as_str()).collect();
        self.completeness.keep(&paths);
        self.peeked.retain(|path, _| paths.contains(path.as_str()));
        self.next_look = None;
        self.looked_at = Some(self.clock.now());
        self.queue.clear();
        self.count_unchanged(&found);
        let mut held: HashSet<&str> = HashSet::new();
        for group in found.chunk_by(|one, other| one.group() == other.group()) {
            let mut ready: Vec<&Candidate> = Vec::new();
            for candidate in group {
                if self.is_known(candidate) {
                    continue;
                }
                let closed = announced.contains(&candidate.path);
                self.completeness.observe(&candidate.path, candidate.signature, closed, &self.clock);
                match self.completeness.wait(&candidate.path, self.waits(), &self.clock) {
                    Some(wait) => {
                        self.next_look = Some(self.next_look.map_or(wait, |known| known.min(wait)));
                        held.extend(candidate.entity.as_deref());
                    }
                    None => ready.push(candidate),
                }
            }
            // An incomplete file says no time yet, so it holds back its entity in its own group too.
            ready.retain(|candidate| candidate.entity.as_deref().is_none_or(|entity| !held.contains(entity)));
            self.sort(&tree, &mut ready);
            self.queue.extend(ready.into_iter().cloned());
        }
        Ok(())
    }

    /// Initial files that are passed over, in these statistics and in those of each request.
    fn count_unchanged(&mut self, found: &[Candidate]) {
        self.statistics.pass_over(self.unchanged(found, |path| !self.initial_read.contains(path)));
        let mut requests = std::mem::take(&mut self.requests);
        for (id, statistics) in &mut requests {
            let Some(request) = self.ledger.requests().get(id) else { continue };
            let read: HashSet<&str> = statistics.files.iter().map(|file| file.path.as_str()).collect();
            let passed_over = self.unchanged(found, |path| request.selection.takes(path) && !read.contains(path));
            drop(read);
            statistics.pass_over(passed_over);
        }
        self.requests = requests;
    }

    /// Known initial files among those found, as far as they count.
    fn unchanged(&self, found: &[Candidate], counts: impl Fn(&str) -> bool) -> Unchanged {
        let mut unchanged = Unchanged::default();
        for candidate in found.iter().filter(|candidate| candidate.is_initial() && counts(&candidate.path)) {
            if self.is_known(candidate) {
                let known = self.ledger.initial(&candidate.path);
                unchanged.count += 1;
                unchanged.failed += u64::from(known.is_some_and(|known| known.failed));
                unchanged.rejected += u64::from(known.is_some_and(|known| known.rejected > 0));
            }
        }
        unchanged
    }

    /// What is selected, and what other processes asked for beyond it.
    fn list(&self, tree: &Tree) -> std::io::Result<Vec<Candidate>> {
        let own = &self.options.selection;
        let mut found = scan::list(tree, &self.forms, own)?;
        if own.part != Part::All {
            for request in self.ledger.requests().values() {
                found.extend(scan::list(tree, &self.forms, &request.selection)?);
            }
            scan::sort(&mut found);
            found.dedup_by(|one, other| one.path == other.path);
        }
        Ok(found)
    }

    /// By the envelope's time, then by operation, then by name.
    fn sort(&mut self, tree: &Tree, group: &mut [&Candidate]) {
        if group.len() < 2 || group[0].is_initial() {
            return;
        }
        for candidate in group.iter() {
            if self.peeked.get(&candidate.path).is_none_or(|known| known.0 != candidate.signature) {
                let envelope = tree
                    .open_file(&candidate.path)
                    .map(|file| inspect::peek(file, candidate.signature.size, &self.options.zone))
                    .unwrap_or_default();
                let rank = envelope.parsed().map_or(candidate.hinted_rank(), |operation| operation as u8);
                self.peeked.insert(candidate.path.clone(), (candidate.signature, (envelope.occurred_at, rank)));
            }
        }
        group.sort_by(|one, other| {
            let of = |candidate: &Candidate| self.peeked.get(&candidate.path).map(|known| known.1);
            of(one).cmp(&of(other)).then_with(|| one.path.cmp(&other.path))
        });
    }

    /// Whether there is nothing to do for a file as it stands.
    fn is_known(&self, candidate: &Candidate) -> bool {
        let aside = |claim: &Claim| claim.path == candidate.path && claim.signature == candidate.signature;
        if self.unarchived.iter().any(|settlement| aside(&settlement.claim)) {
            return true;
        }
        if !candidate.is_initial() || (self.again(&candidate.path) && !self.read_again.contains(&candidate.path)) {
            return false;
        }
        let derivation = self.derivation(candidate);
        // Who may read a file changes neither its size nor its time: one that failed is looked at more closely.
        let stands = |known: &Remembered| !known.failed || known.signature.changed == candidate.signature.changed;
        self.ledger
            .initial(&candidate.path)
            .is_some_and(|known| known.signature == candidate.signature && known.derivation == derivation && stands(known))
    }

    async fn start(&mut self, candidate: Candidate) -> Result<Step, ConnectorError> {
        let name = candidate.name().to_owned();
        let failure = scan::refusal(&candidate, &self.forms);
        if let Some(failure) = failure {
            return self.fail(candidate, String::new(), failure).await;
        }
        match self.tree()?.open_file(&candidate.path) {
            Ok(file) => {
                self.statistics.working_on(&candidate.path, 1, 0, candidate.signature.size);
                let inspection = Box::new(Inspection::new(file, candidate.signature.size, self.options.zone.clone()));
                self.inspect(candidate, inspection).await
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && candidate.signature.regular => Ok(self.look_again()),
            Err(error) => self.fail(candidate, String::new(), format!("{name} cannot be read: {error}")).await,
        }
    }

    /// A file changed since it was found: the next scan sees it as it is, and what stands behind it waits for that.
    pub(super) fn look_again(&mut self) -> Step {
        self.queue.clear();
        Step::Progress
    }

    pub(super) async fn inspect(
        &mut self,
        candidate: Candidate,
        mut inspection: Box<Inspection>,
    ) -> Result<Step, ConnectorError> {
        let (inspection, advanced) = aside(candidate.signature.size, move || {
            let advanced = inspection.advance(INSPECT_BYTES);
            (inspection, advanced)
        })
        .await?;
        match advanced {
            Ok(None) => {
                self.statistics.working_on(&candidate.path, 1, inspection.offset(), candidate.signature.size);
                self.work = Work::Inspecting(candidate, inspection);
                Ok(Step::Progress)
            }
            Ok(Some(inspected)) => self.claim(candidate, inspected).await,
            Err(InspectError::Envelope(problem)) => {
                let sha256 = self.whole_digest(&candidate);
                self.fail(candidate, sha256, problem).await
            }
            Err(InspectError::Broken(error)) => {
                self.completeness.broke(&candidate.path);
                if self.completeness.may_grow(&candidate.path, self.waits(), &self.clock) {
                    // Perhaps its end is not written yet. What stands behind it of the same entity must wait too.
                    self.queue.clear();
                    return Ok(Step::Progress);
                }
                // What could not be read is not known by its contents, so that it is read when it can be.
                let (detail, sha256) = match &error {
                    SplitError::Read(cause) => (format!("{error}: {cause}"), String::new()),
                    _ => (error.to_string(), self.whole_digest(&candidate)),
                };
                self.fail(candidate, sha256, detail).await
            }
        }
    }

    /// sha-256 of a file that fails, for its result; empty when it cannot be read.
    fn whole_digest(&self, candidate: &Candidate) -> String {
        let mut hasher = Sha256::new();
        let copied = self
            .tree()
            .ok()
            .and_then(|tree| tree.open_file(&candidate.path).ok())
            .map(|mut file| std::io::copy(&mut file, &mut hasher));
        if matches!(copied, Some(Ok(_))) { hex(&hasher.finalize()) } else { String::new() }
    }

    /// Everything is known of the file that the first pass can know.
    async fn claim(&mut self, candidate: Candidate, inspected: Inspected) -> Result<Step, ConnectorError> {
        let unchanged = self.tree()?.signature(&candidate.path).is_ok_and(|found| found == candidate.signature);
        if !unchanged || inspected.size != candidate.signature.size {
            return Ok(self.look_again());
        }
        let sha256 = hex(&inspected.sha256);
        let envelope = scan::envelope_of(&candidate, inspected.outline, &inspected.envelope);
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(problem) => return self.fail(candidate, sha256, problem).await,
        };
        let again = self.again(&candidate.path);
        let mut claim = self.draft(&candidate, sha256, inspected.records)?;
        claim.envelope = envelope;
        claim.counts.notes = inspected.notes;
        let mut only = None;
        if claim.initial {
            self.read_again.insert(candidate.path.clone());
            let known = self.ledger.initial(&candidate.path).cloned();
            if let Some(known) =
                known.filter(|known| !again && known.sha256.as_ref() == claim.sha256 && known.derivation == claim.derivation)
            {
                // Touched, but the same: only how it looks is remembered anew.
                let numbers = 0;
                claim.first = known.first;
                claim.failed = known.failed.then(|| "as before".to_owned());
                self.close(Claim { numbers, ..claim }, known.rejected);
                return Ok(Step::Progress);
            }
        } else if let Some(past) = self.known_content(&claim).filter(|_| !again) {
            match past.verdict {
                Verdict::Whole => {
                    claim.repeats_of = Some(past.path.to_string());
                    claim.stage = Stage::Published;
                    return self.announce(claim).await;
                }
                Verdict::SomeRejected => {
                    let (first, from) = (past.first, past.receipts_from);
                    claim.only = Some(first);
                    only = Some(self.rejected_of(first, from, 0).await?);
                }
                Verdict::Failed => {}
            }
        }
        let file = match self.tree()?.open_file(&candidate.path) {
            Ok(file) => file,
            Err(_) => return Ok(self.look_again()),
        };
        self.publish_from(claim, file, only).await
    }

    /// What became of the same contents before, read by the same form: a name decides what records are.
    fn known_content(&self, claim: &Claim) -> Option<&Past> {
        let form = |path: &str| self.forms.of_file(path.rsplit('/').next().unwrap_or(path)).map(|form| form.kind.as_str());
        self.ledger.content(&claim.sha256).filter(|past| form(&past.path) == form(&claim.path))
    }

    /// A claim with a number, a place and a receipts position, and nothing decided.
    fn draft(&self, candidate: &Candidate, sha256: String, records: u64) -> Result<Claim, ConnectorError> {
        Ok(Claim {
            path: candidate.path.clone(),
            sha256,
            signature: candidate.signature,
            first: self.ledger.next_number(),
            // At least one, so that no two claims have the same id.
            numbers: records.max(1),
            initial: candidate.is_initial(),
            derivation: self.derivation(candidate),
            receipts_from: self.receipts_at,
            destinations: self.places()?.choose(candidate, false, &self.today()),
            counts: Counts::default(),
            ..Claim::default()
        })
    }

    fn places(&self) -> Result<Places<'_>, ConnectorError> {
        Ok(Places { tree: self.tree()?, ledger: &self.ledger })
    }

    /// A file that failed whole.
    async fn fail(&mut self, candidate: Candidate, sha256: String, problem: String) -> Result<Step, ConnectorError> {
        let mut claim = self.draft(&candidate, sha256, 0)?;
        claim.destinations = self.places()?.choose(&candidate, true, &self.today());
        claim.failed = Some(problem);
        claim.stage = Stage::Published;
        self.read_again.insert(candidate.path);
        self.announce(claim).await
    }

    /// A claim without records: durable, then put to its place.
    async fn announce(&mut self, claim: Claim) -> Result<Step, ConnectorError> {
        let mut append = Append::default();
        tidemark_connector_core::progress::put(&mut append, &self.topics, &claim.key(), &claim);
        crash::point("connector.before-announce");
        self.append_with_closing(append).await?;
        crash::point("connector.after-announce");
        self.ledger.put(claim.clone());
        let answers = Answers::new(&claim);
        self.work = Work::Settling(Box::new(Settlement { claim, answers, counted: false }));
        Ok(Step::Progress)
    }

    /// Goes on with a claim of an instance that died.
    async fn take_up(&mut self, mut claim: Claim) -> Result<Step, ConnectorError> {
        if claim.stage == Stage::Reading {
            let tree = Arc::clone(self.tree()?);
            let same = tree.signature(&claim.path).is_ok_and(|found| found == claim.signature);
            if let Some(file) = same.then(|| tree.open_file(&claim.path).ok()).flatten() {
                let only = match claim.only {
                    Some(first) => Some(self.rejected_of(first, 0, claim.counts.next).await?),
                    None => None,
                };
                return self.publish_from(claim, file, only).await;
            }
            claim.changed = true;
            claim.stage = Stage::Published;
        }
        let answers = Answers::new(&claim);
        self.work = Work::Settling(Box::new(Settlement { claim, answers, counted: false }));
        Ok(Step::Progress)
    }

    async fn publish_from(&mut self, claim: Claim, file: File, only: Option<Retried>) -> Result<Step, ConnectorError> {
        let form = self.form(&claim)?;
        let topic = self.topics.changes(&form.entity.name);
        let partitions = self.partitions.get(topic.as_ref()).copied().ok_or_else(|| {
            ConnectorError::Fatal(format!("there is no topic {topic}; run `tidemark init` with this configuration"))
        })?;
        let operation = claim.envelope.parsed().unwrap_or(Operation::Insert);
        let mapper = Mapper::new(form, operation, claim.envelope.institution.clone(), self.options.zone.clone());
        let path = claim.path.clone();
        let publication = Publication::new(file, mapper, claim, &self.topics, partitions, only);
        let publication =
            publication.map_err(|cause| ConnectorError::Unavailable { step: format!("read {path}"), cause: cause.into() })?;
        self.publish(Box::new(publication), None).await
    }

    fn form(&self, claim: &Claim) -> Result<Arc<Form>, ConnectorError> {
        let form = self.forms.of_file(claim.file_name()).cloned();
        form.ok_or_else(|| {
            ConnectorError::Fatal(format!("no schema knows files like {}; put the schema that did back", claim.path))
        })
    }

    /// What a claim had rejected of the records `next` on; its receipts stand at `from` or behind.
    async fn rejected_of(&self, first: u64, from: u64, next: u64) -> Result<Retried, ConnectorError> {
        let from = from.max(self.log.bounds(&self.topics.receipts, 0).await?.start);
        let partitions = 0..self.partitions.values().copied().max().unwrap_or(1);
        let id = tidemark_connector_core::receipt::claim_id(crate::claim::SOURCE, first);
        Ok(Retried::new(Rejections::new(&id, from, partitions), next))
    }

    /// What the rows of an initial file depend on besides the file: schema, vocabularies, forms, zone.
    fn derivation(&self, candidate: &Candidate) -> u64 {
        let mut hasher = Sha256::new();
        if let Some(entity) = candidate.entity.as_ref().and_then(|name| self.catalog.entity(name)) {
            hasher.update(entity.derivation.to_le_bytes());
        }
        hasher.update(self.vocabularies.to_le_bytes());
        hasher.update(FORMS_VERSION.to_le_bytes());
        hasher.update(self.options.zone.iana_name().unwrap_or_default());
        let digest = hasher.finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest is longer than eight bytes"))
    }
}

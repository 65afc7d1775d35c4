//! What was put to its place and may still be lost by a power cut.
//!
//! A claim is closed only after its result, its rejects and the folders that name them are on the disk. Waiting for the disk costs
//! as much as deciding a small file, so it is done for many claims at once; those that are not closed yet are settled again after
//! a power cut, which changes nothing where everything stands.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::claim::Claim;
use crate::tree::{Tree, folder_of};

/// Claims that wait for the disk together: so many are settled again after a crash.
const CLAIMS_MAX: usize = 256;
/// Longest wait of one of them while others come.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Settled claims that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// As they are closed afterwards.
    claims: Vec<Claim>,
    /// When the first of them was added, on the monotonic clock.
    since: Duration,
}

impl Unsynced {
    /// One more that is settled.
    pub(crate) fn add(&mut self, closed: Claim, now: Duration) {
        if self.claims.is_empty() {
            self.since = now;
        }
        self.claims.push(closed);
    }

    /// Those that wait.
    pub(crate) fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Whether they have waited long enough for others.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.claims.len() >= CLAIMS_MAX || (!self.claims.is_empty() && now.saturating_sub(self.since) >= AGE_MAX)
    }

    /// Waits for the disk; gives the claims that may be closed now.
    pub(crate) fn sync(self, tree: &Tree) -> Result<Vec<Claim>, (Self, io::Error)> {
        match self.wait(tree) {
            Ok(()) => Ok(self.claims),
            Err(error) => Err((self, error)),
        }
    }

    fn wait(&self, tree: &Tree) -> io::Result<()> {
        let mut folders: BTreeSet<&str> = BTreeSet::new();
        for claim in &self.claims {
            claim.written().try_for_each(|path| tree.sync_file(path))?;
            for path in claim.written().chain(&claim.destinations.original).chain([&claim.path]) {
                // And the folder's own name: it may be the first file of its day.
                folders.extend([folder_of(path), folder_of(folder_of(path))]);
            }
        }
        // After the files that they name.
        folders.into_iter().try_for_each(|path| tree.sync_folder(path))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CLAIMS_MAX, Unsynced};
    use crate::claim::Claim;

    #[test]
    fn many_or_old_ones_are_due() {
        let mut unsynced = Unsynced::default();
        let start = Duration::from_secs(100);
        assert!(!unsynced.is_due(start));
        unsynced.add(Claim::default(), start);
        unsynced.add(Claim::default(), start + Duration::from_millis(999));
        assert!(!unsynced.is_due(start + Duration::from_millis(999)));
        assert!(unsynced.is_due(start + Duration::from_millis(1_000)));
        while unsynced.claims().len() < CLAIMS_MAX {
            assert!(!unsynced.is_due(start));
            unsynced.add(Claim::default(), start);
        }
        assert!(unsynced.is_due(start));
    }
}

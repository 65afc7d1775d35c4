//! The watcher: says that something changed, and which files their writers have finished. Events get lost; scanning does not
//! depend on them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Paths remembered as finished; of more, the rest waits like a file that nobody announced.
const ANNOUNCED_MAX: usize = 100_000;

/// Watches the tree.
pub(crate) struct Watcher {
    _watcher: RecommendedWatcher,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    announced: Mutex<HashSet<String>>,
    changed: Notify,
}

impl Watcher {
    /// Starts watching; where the system cannot, files are found by scanning alone.
    pub(crate) fn start(root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok()?;
        let shared = Arc::new(Shared::default());
        let (known, base) = (Arc::clone(&shared), root.clone());
        let watcher = notify::recommended_watcher(move |event| known.take(event, &base));
        let started = watcher.and_then(|mut watcher| {
            watcher.watch(&root, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match started {
            Ok(watcher) => Some(Self { _watcher: watcher, shared }),
            Err(error) => {
                tracing::warn!(%error, "the import root cannot be watched; files are found by scanning alone");
                None
            }
        }
    }

    /// Takes the paths (below the root) that were finished since the last time.
    pub(crate) fn announced(&self) -> HashSet<String> {
        std::mem::take(&mut *self.shared.announced.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when something changed.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Shared {
    fn take(&self, event: notify::Result<notify::Event>, base: &Path) {
        let Ok(event) = event else {
            return self.changed.notify_one();
        };
        let finished = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => event.paths.first(),
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => event.paths.last(),
            EventKind::Access(_) => return,
            _ => None,
        };
        if let Some(path) = finished.and_then(|path| below(path, base)) {
            let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
            if announced.len() < ANNOUNCED_MAX {
                announced.insert(path);
            }
        }
        self.changed.notify_one();
    }
}

fn below(path: &Path, base: &Path) -> Option<String> {
    path.strip_prefix(base).ok()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::time::Duration;

    use super::Watcher;

    #[tokio::test]
    async fn a_closed_and_a_renamed_file_are_announced_and_an_open_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        let watcher = Watcher::start(&root).unwrap();
        let open = fs::File::create(root.join("a/open.json")).unwrap();
        fs::write(root.join("a/closed.json"), "[]").unwrap();
        fs::write(folder.path().join("outside.json"), "[]").unwrap();
        fs::rename(folder.path().join("outside.json"), root.join("a/renamed.json")).unwrap();
        let expected = HashSet::from(["a/closed.json".to_owned(), "a/renamed.json".to_owned()]);
        let mut found = HashSet::new();
        let collected = tokio::time::timeout(Duration::from_secs(30), async {
            while found != expected {
                watcher.changed().await;
                found.extend(watcher.announced());
            }
        });
        collected.await.unwrap_or_else(|_| panic!("announced so far: {:?}", watcher.announced()));
        drop(open);
    }
}

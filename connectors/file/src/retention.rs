//! Removes what has stood in `processed/` for longer than it is kept, with its result files.

use std::io;

use crate::tree::Tree;

const PROCESSED: &str = "incremental/processed";

/// Removes files put there before a moment (seconds since 1970), and folders that become empty. Gives the number of files.
pub(crate) fn clean(tree: &Tree, before: i64) -> io::Result<u64> {
    let mut removed = 0;
    for folder in tree.entries(PROCESSED)? {
        if !folder.is_dir {
            continue;
        }
        let folder = format!("{PROCESSED}/{}", folder.name);
        let entries = tree.entries(&folder)?;
        let mut left = 0;
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            if !entry.is_dir && tree.changed_at(&path)? < before {
                tree.remove(&path)?;
                removed += 1;
            } else {
                left += 1;
            }
        }
        if left == 0 {
            // Not empty when something hidden stands there: then it stays.
            let _ = tree.remove_empty_dir(&folder);
        }
    }
    Ok(removed)
}

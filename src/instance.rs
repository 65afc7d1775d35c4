//! The name of a data folder among those that share a log on Kafka: made once, kept in the folder, so that a worker that comes
//! back is the one that it was and gets its partitions back without a new division.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use uuid::Uuid;

const FILE: &str = "instance";

/// The folder's name; made when it has none.
pub(crate) fn of(data: &Path) -> Result<String> {
    let path = data.join(FILE);
    let reading = || format!("reading {}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(reading),
        Err(_) => {}
    }
    // Whole under its name at once: another process may make one at the same moment, and the first one counts.
    let (name, draft) = (Uuid::new_v4().to_string(), data.join(format!(".{FILE}-{}", std::process::id())));
    let made = File::create(&draft).and_then(|mut file| file.write_all(name.as_bytes()).and_then(|()| file.sync_all()));
    made.and_then(|()| fs::hard_link(&draft, &path))
        .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .with_context(|| format!("making {}", path.display()))?;
    fs::remove_file(&draft).with_context(|| format!("removing {}", draft.display()))?;
    fs::read_to_string(&path).map(|text| text.trim().to_owned()).with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_folder_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = of(folder.path()).unwrap();
        assert_eq!(of(folder.path()).unwrap(), name);
        let another = tempfile::tempdir().unwrap();
        assert_ne!(of(another.path()).unwrap(), name);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays");
    }
}

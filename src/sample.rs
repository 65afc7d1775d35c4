//! `--sample`: a small believable data set in the import root.
//!
//! Guarantees: a file appears whole (written aside, renamed in) and with an old modification time, so that it counts as complete
//! at once; a second call writes the same files again, which the connector recognises. Both vocabularies and all three shapes of
//! consumption records are in it, an update, a delete, and one record that is wrong on purpose.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::exit::UsageError;

const COMMON: &str = "initial/common";
const HANGZHOU: &str = "initial/institutions/HZ-YL-001";
const CHENGDU: &str = "initial/institutions/CD-QH-002";
const DAY: &str = "incremental/pending/2026-01-15";

/// Folder, file name, text.
const FILES: [(&str, &str, &str); 16] = [
    (COMMON, "institutions.json", include_str!("sample/institutions.json")),
    (COMMON, "doctors.json", include_str!("sample/doctors.json")),
    (COMMON, "consultants.json", include_str!("sample/consultants.json")),
    (COMMON, "projects.json", include_str!("sample/projects.json")),
    (COMMON, "products.json", include_str!("sample/products.json")),
    (COMMON, "medical_relations.json", include_str!("sample/medical_relations.json")),
    (HANGZHOU, "customers.json", include_str!("sample/customers-hz.json")),
    (HANGZHOU, "consumption_records.json", include_str!("sample/consumption_records-hz.json")),
    (CHENGDU, "customers.json", include_str!("sample/customers-cd.json")),
    (CHENGDU, "consumption_records.json", include_str!("sample/consumption_records-cd.json")),
    (DAY, "customers_add.json", include_str!("sample/customers_add.json")),
    (DAY, "customers_update.json", include_str!("sample/customers_update.json")),
    (DAY, "customers_delete.json", include_str!("sample/customers_delete.json")),
    (DAY, "consumption_records.json", include_str!("sample/consumption_records.json")),
    (DAY, "consumption_records_add.json", include_str!("sample/consumption_records-table.json")),
    (DAY, "write_off_records.json", include_str!("sample/write_off_records.json")),
];

/// Older than any time that a file must rest before it counts as complete.
const AGE: Duration = Duration::from_secs(3600);

/// Writes the files; says how many. Nothing is written where a file of one of these names holds something else.
pub(crate) fn write(root: &Path) -> Result<usize> {
    let target = |folder: &str, name: &str| root.join(folder).join(name);
    let taken = |folder, name, text| fs::read(target(folder, name)).is_ok_and(|known| known != str::as_bytes(text));
    if let Some((folder, name, _)) = FILES.iter().find(|(folder, name, text)| taken(folder, name, text)) {
        let file = target(folder, name);
        return Err(UsageError(format!(
            "{} holds something else than the sample, which overwrites nothing; name another folder by --data, or move the file away",
            file.display()
        ))
        .into());
    }
    let old = SystemTime::now() - AGE;
    for (number, (folder, name, text)) in FILES.iter().enumerate() {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let target = folder.join(name);
        if fs::read_to_string(&target).is_ok_and(|known| known == *text) {
            continue;
        }
        // Beside the folders that are watched, on the same file system.
        let aside = root.join(format!(".sample-{number}.part"));
        let written = fs::write(&aside, text)
            .and_then(|()| fs::File::options().write(true).open(&aside)?.set_modified(old))
            .and_then(|()| fs::rename(&aside, &target));
        written.with_context(|| format!("writing {}", target.display()))?;
    }
    Ok(FILES.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_json_and_appear_whole_and_old() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(write(root.path()).unwrap(), FILES.len());
        assert_eq!(write(root.path()).unwrap(), FILES.len(), "a second time too");
        for (folder, name, text) in FILES {
            serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let path = root.path().join(folder).join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert!(fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap() > Duration::from_secs(60));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left aside");
    }

    #[test]
    fn a_file_of_somebody_else_is_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let theirs = root.path().join(HANGZHOU).join("customers.json");
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "[]").unwrap();
        let error = write(root.path()).unwrap_err();
        assert!(error.is::<UsageError>() && error.to_string().contains("customers.json"), "{error}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "[]");
        assert!(!root.path().join(COMMON).exists(), "nothing was written");
    }
}

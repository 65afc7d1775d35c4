//! Reads what was written: the file, the environment, the files that hold secrets. The only part that touches the disk.

use std::path::{Path, PathBuf};

use super::raw::{Entry, Raw, Value};
use super::reference::{self, Kind};
use super::valid::{self, Configuration};
use super::{Problem, Problems};

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "tidemark.toml";

/// Largest file that a secret is read from: anything larger is no secret but a mistake.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Loads and judges the configuration. `file` = `--config`, `data` = `--data`.
pub(crate) fn load(file: Option<&Path>, data: &Path) -> Result<Configuration, Problems> {
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_from(file, data, environment)
}

fn load_from(
    file: Option<&Path>,
    data: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Configuration, Problems> {
    let mut raw = Raw::default();
    if let Some((file, text)) = read_file(file).map_err(|problem| Problems(vec![problem]))? {
        raw.add_file(&file, &text).map_err(Problems)?;
    }
    raw.add_environment(environment, Path::new(""));
    let mut problems = read_secrets(&mut raw);
    match valid::validate(&raw, data) {
        Ok(configuration) if problems.is_empty() => Ok(configuration),
        Ok(_) => Err(Problems(problems)),
        Err(more) => {
            problems.extend(more);
            Err(Problems(problems))
        }
    }
}

fn read_file(given: Option<&Path>) -> Result<Option<(PathBuf, String)>, Problem> {
    let path = given.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if given.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Problem { place: path.display().to_string(), path: String::new(), text: format!("cannot be read: {error}") })
        }
    }
}

/// Puts the content of every `<key>_file` of a secret in the key's place.
fn read_secrets(raw: &mut Raw) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in reference::KEYS.iter().filter(|key| key.kind == Kind::Secret) {
        let path = format!("{}_file", key.path);
        let Some(entry) = raw.entries.remove(&path) else { continue };
        let mut refuse = |text: String| problems.push(Problem { place: entry.place.clone(), path: path.clone(), text });
        let Value::Text(file) = &entry.value else {
            refuse("must be a path".to_owned());
            continue;
        };
        if raw.entries.contains_key(key.path) {
            refuse(format!("`{}` is set as well; leave one of the two away", key.path));
            continue;
        }
        let file = entry.base.join(file);
        match read_secret(&file) {
            Ok(secret) => {
                raw.entries.insert(key.path.to_owned(), Entry { value: Value::Text(secret), ..entry });
            }
            Err(problem) => refuse(format!("{}: {problem}", file.display())),
        }
    }
    problems
}

fn read_secret(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > SECRET_BYTES_MAX {
        return Err(format!("has {length} bytes; a secret has at most {SECRET_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err("is empty".to_owned()) } else { Ok(secret.to_owned()) }
}

#[cfg(test)]
mod tests;

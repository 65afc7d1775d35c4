//! A place to run the binary in: a data folder of its own, an import tree, a free HTTP port; gone when the test ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::running::Running;

/// A data folder with everything that belongs to it.
#[derive(Debug)]
pub struct Place {
    _folder: Option<TempDir>,
    data: PathBuf,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    port: u16,
}

/// What a command said.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// One line of `state ENTITY --json`.
#[derive(Debug, Clone, PartialEq)]
pub struct StateLine {
    /// Version.
    pub version: u64,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Institution code.
    pub tenant: Option<String>,
    /// Row, nested.
    pub row: Value,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A new, empty one for the plain binary.
    pub fn new() -> Self {
        Self::with_binary(binary::plain())
    }

    /// A new, empty one for another binary.
    pub fn with_binary(binary: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("tidemark-e2e-").tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let place = Self { _folder: Some(folder), ..Self::at(data, binary) };
        for name in ["initial/common", "initial/institutions", "incremental/pending"] {
            fs::create_dir_all(place.import().join(name)).expect("folders below a new one");
        }
        place
    }

    /// A data folder that somebody else keeps.
    pub fn at(data: PathBuf, binary: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        Self { _folder: None, data, binary: binary.to_owned(), environment: Vec::new(), port }
    }

    /// Sets an environment variable for all later commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes it away again.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The import root.
    pub fn import(&self) -> PathBuf {
        self.data.join("import")
    }

    /// The HTTP port that commands of this place use.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts a file into the import tree under a name relative to it, as a writer should: written aside, then renamed in.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.import().join(name);
        fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("folders in the import tree");
        let aside = self.data.join(format!(".put-{}", self.port));
        fs::write(&aside, bytes).expect("a file in the data folder");
        // As if it had lain there for a while: nobody needs to wait whether it still grows.
        let old = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(&aside).and_then(|file| file.set_modified(old)).expect("a file of our own");
        fs::rename(&aside, &path).expect("a rename within the data folder");
        path
    }

    /// A command line, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--data").arg(&self.data);
        command.env("TIDEMARK__HTTP__LISTEN", format!("127.0.0.1:{}", self.port));
        command.env_remove("TIDEMARK_CRASH_AT");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().expect("the binary starts");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must end with 0; gives its standard output.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?} failed:\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// `up --once`: everything that lies there is decided and in all stores.
    pub fn once(&self) -> String {
        self.succeed(&["up", "--once"])
    }

    /// Starts a command that keeps running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments), &self.data)
    }

    /// How many live rows `state` shows; 0 as long as there is nothing to look at.
    pub fn state_count(&self, entity: &str) -> usize {
        let outcome = self.run(&["state", entity, "--json"]);
        if outcome.code == Some(0) { outcome.stdout.lines().count() } else { 0 }
    }

    /// Whether a store's file holds this table already.
    pub fn has_table(&self, file: &str, table: &str) -> bool {
        self.data.join(file).exists()
            && crate::stores::content_tables(&crate::stores::open(&self.data, file)).iter().any(|name| name == table)
    }

    /// `state ENTITY --json`, deleted ones too, by key.
    pub fn state(&self, entity: &str) -> BTreeMap<String, StateLine> {
        let text = self.succeed(&["state", entity, "--deleted", "--json"]);
        text.lines().map(|line| read_state_line(entity, line)).collect()
    }
}

fn read_state_line(entity: &str, line: &str) -> (String, StateLine) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("state says {line:?}: {error}"));
    assert_eq!(value["entity"], entity, "{line}");
    let state = StateLine {
        version: value["version"].as_u64().unwrap_or_else(|| panic!("no version in {line}")),
        deleted: value["deleted"].as_bool().unwrap_or_else(|| panic!("no `deleted` in {line}")),
        tenant: value["tenant"].as_str().map(str::to_owned),
        row: value["row"].clone(),
    };
    (value["key"].as_str().unwrap_or_else(|| panic!("no key in {line}")).to_owned(), state)
}

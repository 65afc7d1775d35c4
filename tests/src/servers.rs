//! Servers of a test's own: started empty, killed, stopped and started again by the test, and gone with it.
//!
//! A shared server's address is in the environment (`./dev servers up` prints it); one of a test's own is a second instance of the
//! same kind, started by the same script (`tests/servers/servers`). Where the shared one is not to be had, neither is the other.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tidemark_test_support::Kind;

/// `<script> ARGUMENTS…` of the server's folder by the interpreter that has its official client, not started.
///
/// # Panics
/// When there is no such interpreter.
pub fn script(kind: Kind, script: &str, arguments: &[&str]) -> Command {
    python(kind, &folder().join(kind.name()).join(script), arguments)
}

/// The same for a script that stands elsewhere.
///
/// # Panics
/// When there is no such interpreter.
pub fn python(kind: Kind, script: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(servers(&["python", kind.name()]).trim());
    command.arg("-B").arg(script).args(arguments);
    command
}

/// Runs a script of the server's folder to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run_script(kind: Kind, name: &str, arguments: &[&str]) -> Output {
    script(kind, name, arguments).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The folder with the server's jars, its official client in Java among them.
///
/// # Panics
/// When they are not to be had.
#[must_use]
pub fn jars(kind: Kind) -> PathBuf {
    PathBuf::from(servers(&["jars", kind.name()]).trim())
}
/// A server of this test's own; its data are gone when this is dropped.
#[derive(Debug)]
pub struct Own {
    name: String,
    address: String,
}

impl Own {
    /// Starts one, empty; `None` where such servers are not to be had, and then `test` is listed as skipped.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start(kind: Kind, test: &str) -> Option<Self> {
        kind.address(test)?;
        Some(Self::launch(kind))
    }

    /// Starts one, empty, wherever the shared one is.
    ///
    /// # Panics
    /// When it cannot be had, or does not answer.
    #[must_use]
    pub fn launch(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Made first: what a failed start leaves behind is taken away too.
        let mut own = Self { name: format!("{}@{}-{number}", kind.name(), std::process::id()), address: String::new() };
        let line = servers(&["up", &own.name]);
        let (_, address) = line.trim().split_once('=').unwrap_or_else(|| panic!("an address was expected, not {line:?}"));
        own.address = address.to_owned();
        own
    }

    /// The same address as long as this lives, whether it runs or not.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `kill -9` of the server and its children.
    pub fn kill(&self) {
        servers(&["kill", &self.name]);
    }

    /// The orderly end.
    pub fn stop(&self) {
        servers(&["stop", &self.name]);
    }

    /// Starts it again with its data; returns when it answers.
    pub fn start_again(&self) {
        servers(&["start", &self.name]);
    }

    /// Its main process, to be paused or looked at.
    #[must_use]
    pub fn process(&self) -> u32 {
        let said = self.known("pid");
        said.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| panic!("no process number: {said}"))
    }

    /// The folder with its data and its `log`.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(self.known("folder").as_str().expect("the launcher writes it as text"))
    }

    fn known(&self, field: &str) -> serde_json::Value {
        let path = folder().join(format!("../../target/servers/run/{}.json", self.name));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str::<serde_json::Value>(&text).expect("the launcher writes JSON")[field].clone()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let done = Command::new(folder().join("servers")).args(["down", &self.name]).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} may still run", self.name);
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("servers")
}

/// Runs the script; what it said on stdout.
///
/// # Panics
/// When it failed, with all that it said.
fn servers(arguments: &[&str]) -> String {
    let output = Command::new(folder().join("servers")).args(arguments).output().expect("the servers' script can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "servers {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

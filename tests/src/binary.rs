//! The binary under test: `TIDEMARK_BIN` where it is set, else a release build of this workspace, made once per test process.
//!
//! Relies on `cargo` in the path and on the target folder that this test itself was built into; where nothing changed the build
//! costs a fraction of a second. The binary is copied aside, so that the plain one and the one with crash points do not take
//! each other's place.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// As users run it.
///
/// # Panics
/// When it cannot be built.
pub fn plain() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TIDEMARK_BIN") {
        Some(path) => path.into(),
        None => build("tidemark-plain", &[]),
    })
}

/// With crash points compiled in (see `tidemark_log::crash`).
///
/// # Panics
/// When it cannot be built.
pub fn with_crash_points() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TIDEMARK_CRASH_BIN") {
        Some(path) => path.into(),
        None => build("tidemark-crash-points", &["--features", "crash-points"]),
    })
}

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in a folder of the workspace")
}

fn build(name: &str, features: &[&str]) -> PathBuf {
    let target = target_folder();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo` tells this test of its own package would make some dependencies look changed, and be built anew for minutes.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["build", "--release", "-p", "tidemark", "--bin", "tidemark"])
        .args(features)
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the binary does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let aside = target.join("e2e");
    std::fs::create_dir_all(&aside).expect("the target folder takes another folder");
    let copy = aside.join(name);
    let fresh = aside.join(format!("{name}.{}", std::process::id()));
    std::fs::copy(target.join("release/tidemark"), &fresh).expect("the binary was just built");
    std::fs::rename(&fresh, &copy).expect("a rename within one folder");
    copy
}

/// `target/debug/deps/oracle-…` (a test) or `target/release/bench` (a program) → `target`.
fn target_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    let folder = own.parent().expect("a file lies in a folder");
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    profile.and_then(Path::parent).expect("programs lie in a profile of cargo's target folder").to_owned()
}

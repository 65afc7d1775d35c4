//! Rules of the house that no compiler knows: how long a file may be, what a log line looks like, what may not be left lying.

#![allow(clippy::unwrap_used, reason = "a rule that cannot be read is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A reader must be able to hold a file in mind.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All sources of the project: path from the root, text.
fn sources(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "data", ".cache"].contains(&name.as_str()) {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, endings, &mut found);
    found.sort();
    assert!(!found.is_empty());
    let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs", ".sh", ".py"]) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{path}: {lines} lines, split it"));
        }
    }
    assert_none("files over 500 lines", &wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // spelt apart so that this file does not find itself
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs", ".sh", ".py", ".md", ".toml"]) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) && !path.ends_with("Cargo.toml") {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("left for later", &wrong);
}

#[test]
fn log_text_is_lower_case() {
    let macros = ["error!(", "warn!(", "info!(", "debug!("];
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        for (number, line) in text.lines().enumerate() {
            let Some(call) = macros.iter().find_map(|name| line.find(name).map(|at| &line[at..])) else { continue };
            // the message is the last literal of the call on its line
            let Some(message) = call.rsplit_once("\")").and_then(|(before, _)| before.rsplit_once('"')).map(|(_, text)| text)
            else {
                continue;
            };
            if message.chars().next().is_some_and(char::is_uppercase) {
                wrong.push(format!("{path}:{}: {message}", number + 1));
            }
        }
    }
    assert_none("log messages that begin with a capital", &wrong);
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        if !text.starts_with("//!") && !path.ends_with("tests.rs") {
            wrong.push(path);
        }
    }
    assert_none("files without a module doc", &wrong);
}

#[test]
fn both_readmes_tell_the_same() {
    let sections = |name: &str| {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let mut inside = false;
        let mut headings = 0;
        let mut blocks = Vec::new();
        for line in text.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if inside {
                blocks.push(line.split(" #").next().unwrap_or(line).trim_end().to_owned());
            } else if line.starts_with('#') {
                headings += 1;
            }
        }
        (headings, blocks.into_iter().filter(|line| line.starts_with("cargo") || line.starts_with("./dev")).collect::<Vec<_>>())
    };
    assert_eq!(sections("README.md"), sections("README.zh-CN.md"), "headings and commands of both must be equal");
}

//! The graph store in a space of NebulaGraph, read by the official client (`tests/servers/nebula/look.py`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;
use tidemark_test_support::Kind;

use super::Graph;
use crate::servers;
use crate::stores::Edge;

/// A process that looks into one space when it is asked.
#[derive(Debug)]
pub(crate) struct Nebula {
    space: String,
    process: RefCell<Child>,
    answers: RefCell<BufReader<ChildStdout>>,
}

impl Nebula {
    /// Starts it; the server is not spoken to yet.
    pub(crate) fn new(address: &str, space: &str) -> Self {
        let mut command = servers::script(Kind::Nebula, "look.py", &[address]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the interpreter starts");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        Self { space: space.to_owned(), process: RefCell::new(process), answers: RefCell::new(answers) }
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, what: &str) -> Vec<T> {
        let mut process = self.process.borrow_mut();
        let asking = process.stdin.as_mut().expect("it was asked for");
        writeln!(asking, "{what} {}", self.space).expect("the process reads what it is asked");
        let mut found = Vec::new();
        for line in self.answers.borrow_mut().by_ref().lines() {
            let line = line.expect("it answers in UTF-8");
            if line.is_empty() {
                return found;
            }
            found.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{what}: {error}: {line}")));
        }
        panic!("NebulaGraph, {what} {}: no whole answer; stderr says why", self.space)
    }

    /// Takes the space away.
    pub(crate) fn remove(&self) {
        self.ask::<Value>("drop");
    }
}

impl Drop for Nebula {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        // Nothing is left to ask; what it says about that is of no interest.
        let _ = process.kill().and_then(|()| process.wait());
    }
}

impl Graph for Nebula {
    fn vertices(&self) -> BTreeMap<String, (String, Value)> {
        let found: Vec<(String, String, Value)> = self.ask("vertices");
        let many = found.len();
        let vertices: BTreeMap<_, _> = found.into_iter().map(|(vid, tag, properties)| (vid, (tag, properties))).collect();
        assert_eq!(vertices.len(), many, "a vertex has two tags");
        vertices
    }

    fn edges(&self) -> BTreeSet<Edge> {
        let found: Vec<(String, String, String, i64)> = self.ask("edges");
        let many = found.len();
        let edges: BTreeSet<_> =
            found.into_iter().map(|(source, target, kind, rank)| Edge { source, target, kind, rank }).collect();
        assert_eq!(edges.len(), many, "an edge stands there twice");
        edges
    }
}

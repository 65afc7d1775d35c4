//! A store in a file under the data folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::{Graph, Points, Tables};
use crate::stores::{self, Cells, Edge, Point};

/// One of the four.
pub(super) struct File {
    pub(super) data: PathBuf,
    pub(super) name: &'static str,
}

impl Tables for File {
    fn rows(&self, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, Cells> {
        stores::rows(&self.data, self.name, table, key)
    }
}

impl Graph for File {
    fn vertices(&self) -> BTreeMap<String, (String, Value)> {
        stores::vertices(&self.data)
    }

    fn edges(&self) -> BTreeSet<Edge> {
        stores::edges(&self.data)
    }
}

impl Points for File {
    fn points(&self) -> BTreeMap<(String, String), Point> {
        stores::points(&self.data)
    }
}

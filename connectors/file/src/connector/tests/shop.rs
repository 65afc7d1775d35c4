//! A folder, a log in memory, a connector, and a fold that is just enough of one to answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidemark_connector_core::receipt::{Receipt, Rejection, index_of, receipt_key, rejection_key};
use tidemark_connector_core::{Connector, ConnectorError, Step};
use tidemark_log::memory::{Fault, MemoryLog, MemoryOptions};
use tidemark_log::{Append, Log, ReadLimit, Topics};
use tidemark_schemas::{Catalog, Operation, codec, json as rows};

use crate::clock::Clock;
use crate::options::FileOptions;
use crate::{FileConnector, Statistics};

pub(super) const PARTITIONS: u32 = 3;

pub(super) struct Shop {
    pub(super) folder: tempfile::TempDir,
    pub(super) log: Arc<MemoryLog>,
    pub(super) topics: Topics,
    pub(super) catalog: Arc<Catalog>,
    pub(super) options: FileOptions,
    pub(super) wall: Arc<AtomicI64>,
    pub(super) millis: Arc<AtomicU64>,
    /// Fault of the append with this countdown.
    pub(super) fault: Arc<Mutex<Option<(u32, Fault)>>>,
    pub(super) fold: FakeFold,
    pub(super) connector: FileConnector,
}

#[derive(Default)]
pub(super) struct FakeFold {
    offsets: BTreeMap<(String, u32), u64>,
    /// (entity, key) → row as JSON; `None` = deleted.
    pub(super) state: BTreeMap<(String, String), Option<Value>>,
    receipts: BTreeMap<(String, u32), Receipt>,
    /// Every source number, in the order of the log.
    pub(super) numbers: Vec<u64>,
    pub(super) marks: BTreeMap<(String, u32), u64>,
}

impl Shop {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fault: Arc<Mutex<Option<(u32, Fault)>>> = Arc::default();
        let plan = Arc::clone(&fault);
        let log = Arc::new(MemoryLog::new(MemoryOptions {
            fault: Arc::new(move |operation| {
                let tidemark_log::memory::Operation::Append(append) = operation else { return Fault::None };
                // The fold has its own log, as far as faults go.
                if !append.records().any(|record| record.topic.ends_with("progress")) {
                    return Fault::None;
                }
                let mut planned = plan.lock().unwrap();
                match &mut *planned {
                    Some((0, _)) => planned.take().map_or(Fault::None, |(_, fault)| fault),
                    Some((left, _)) => {
                        *left -= 1;
                        Fault::None
                    }
                    None => Fault::None,
                }
            }),
            ..MemoryOptions::default()
        }));
        let topics = Topics::new("tidemark");
        let catalog = Arc::new(Catalog::built_in());
        let names: Vec<&str> = catalog.entities().iter().map(|entity| entity.name.as_str()).collect();
        log.create_topics(&topics.specs(names, PARTITIONS)).await.unwrap();
        let mut options = FileOptions::new(folder.path().join("import"));
        options.watch = false;
        options.disk_free_min = 0;
        let wall = Arc::new(AtomicI64::new(4_000_000_000_000_000));
        let millis = Arc::new(AtomicU64::new(0));
        let connector = make(&log, &topics, &catalog, &options, &wall, &millis);
        let mut shop = Self { folder, log, topics, catalog, options, wall, millis, fault, fold: FakeFold::default(), connector };
        shop.connector.open().await.unwrap();
        shop
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("import").join(path)
    }

    pub(super) fn drop_file(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub(super) fn result(&self, path: &str) -> Value {
        let path = self.path(&format!("{path}.result.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let result: Value = serde_json::from_str(&text).unwrap();
        let sum: u64 =
            ["inserted", "updated", "deleted", "unchanged", "rejected"].iter().map(|name| result[name].as_u64().unwrap()).sum();
        assert_eq!(result["read"].as_u64(), Some(sum), "{result}");
        result
    }

    /// A new process on the same folder and log.
    pub(super) async fn restart(&mut self) {
        self.connector = make(&self.log, &self.topics, &self.catalog, &self.options, &self.wall, &self.millis);
        self.connector.open().await.unwrap();
    }

    /// Steps and folds until everything is decided.
    pub(super) async fn run(&mut self) -> Statistics {
        self.try_run().await.unwrap()
    }

    pub(super) async fn try_run(&mut self) -> Result<Statistics, ConnectorError> {
        for _ in 0..100_000 {
            if self.step().await? == Step::Quiet {
                return Ok(self.connector.statistics().snapshot());
            }
        }
        panic!("never quiet");
    }

    /// One step, and what it waits for.
    pub(super) async fn step(&mut self) -> Result<Step, ConnectorError> {
        let step = self.connector.step().await?;
        if step == Step::Waiting {
            self.fold.run(&self.log, &self.topics, &self.catalog).await;
            self.millis.fetch_add(100, Ordering::SeqCst);
        }
        Ok(step)
    }

    pub(super) fn row(&self, entity: &str, key: &str) -> Option<&Value> {
        self.fold.state.get(&(entity.to_owned(), key.to_owned()))?.as_ref()
    }
}

fn make(
    log: &Arc<MemoryLog>,
    topics: &Topics,
    catalog: &Arc<Catalog>,
    options: &FileOptions,
    wall: &Arc<AtomicI64>,
    millis: &Arc<AtomicU64>,
) -> FileConnector {
    let (wall, millis) = (Arc::clone(wall), Arc::clone(millis));
    let clock = Clock {
        wall: Arc::new(move || wall.load(Ordering::SeqCst)),
        monotonic: Arc::new(move || Duration::from_millis(millis.load(Ordering::SeqCst))),
    };
    FileConnector::new(Arc::clone(log) as Arc<dyn Log>, topics.clone(), Arc::clone(catalog), options.clone(), clock)
}

impl FakeFold {
    pub(super) async fn run(&mut self, log: &MemoryLog, topics: &Topics, catalog: &Catalog) {
        for entity in catalog.entities() {
            let topic = topics.changes(&entity.name);
            for partition in 0..PARTITIONS {
                let place = (topic.to_string(), partition);
                let limit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX };
                let offset = self.offsets.get(&place).copied().unwrap_or(0);
                let batch = log.read(&topic, partition, offset, limit).await.unwrap();
                let mut append = Append::default();
                for record in batch.iter() {
                    let change = codec::decode_change(catalog, entity, record.value).unwrap();
                    self.numbers.push(change.source_seq);
                    let mark = self.marks.entry(place.clone()).or_default();
                    if change.source_seq <= *mark {
                        continue;
                    }
                    *mark = change.source_seq;
                    let receipt = self.receipts.entry((change.claim.to_string(), partition)).or_default();
                    let key = (entity.name.clone(), change.key.to_string());
                    let known = self.state.get(&key).is_some_and(Option::is_some);
                    let row = change.row.as_ref().map(|row| rows::row_to_json(&entity.record, row));
                    match change.operation {
                        Operation::Insert if self.state.get(&key) == Some(&row) => receipt.decided.unchanged += 1,
                        Operation::Insert if known => receipt.decided.updated += 1,
                        Operation::Insert => receipt.decided.inserted += 1,
                        _ if !known => {
                            receipt.decided.rejected += 1;
                            let index = index_of(&change.claim, change.source_seq).unwrap();
                            let rejection = Rejection {
                                index,
                                key: Some(change.key.to_string()),
                                reason: "unknown_key".to_owned(),
                                detail: "no such key".to_owned(),
                            };
                            let name = rejection_key(&change.claim, &partition.to_string(), index);
                            append.record(&topics.receipts, 0, name.as_bytes(), |out| {
                                serde_json::to_writer(out, &rejection).unwrap();
                            });
                            continue;
                        }
                        Operation::Update => receipt.decided.updated += 1,
                        Operation::Delete => receipt.decided.deleted += 1,
                    }
                    self.state.insert(key, row);
                }
                for ((claim, of), receipt) in self.receipts.iter().filter(|((_, of), _)| *of == partition) {
                    append.record(&topics.receipts, 0, receipt_key(claim, *of).as_bytes(), |out| {
                        serde_json::to_writer(out, receipt).unwrap();
                    });
                }
                if let Some(next) = batch.next_offset() {
                    self.offsets.insert(place, next);
                    log.append(append).await.unwrap();
                }
            }
        }
    }
}

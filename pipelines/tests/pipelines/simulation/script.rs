//! A source that follows a script, checkpoints behind what it published, and so repeats itself after a crash.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidemark_connector_core::port::ConnectorCounts;
use tidemark_connector_core::{Connector, ConnectorError, Step, progress};
use tidemark_log::{Append, Log, Topics, partition};
use tidemark_schemas::Catalog;
use tidemark_schemas::change::Operation;
use tidemark_schemas::codec::encode_change;

use crate::chaos::{Chaos, Random};
use crate::store::POISON;
use crate::thing::{Spec, delete, insert, listed, thing, update};

/// Changes published in one append.
const STEP_RECORDS: usize = 7;
/// Records of one claim.
const CLAIM_RECORDS: usize = 10;

/// What a source will publish, in order.
pub(crate) fn script(source: &'static str, random: &mut Random) -> Vec<Spec> {
    let count = 20 + random.below(60) as usize;
    let mut specs: Vec<Spec> = (0..count).map(|_| any_spec(source, random)).collect();
    for (number, spec) in specs.iter_mut().enumerate() {
        spec.source_seq = number as u64 + 1;
        if source == "file" {
            let first = number / CLAIM_RECORDS * CLAIM_RECORDS + 1;
            spec.claim = format!("file-{first}");
        }
    }
    specs
}

fn any_spec(source: &'static str, random: &mut Random) -> Spec {
    let code = format!("K{}", random.below(9));
    let text = |random: &mut Random| match random.below(8) {
        0 => json!(POISON),
        1 | 2 => Value::Null,
        number => json!(number.to_string()),
    };
    let person = match random.below(3) {
        0 => Value::Null,
        _ => json!({"x": random.below(3).to_string(), "y": text(random)}),
    };
    let whole =
        json!({"code": code, "name": random.below(3).to_string(), "a": text(random), "b": random.below(4), "person": person});
    match random.below(10) {
        0..2 => insert(source, whole),
        2..6 => listed(source, whole),
        6..9 => {
            let names: &[&'static str] =
                [&["a"][..], &["a", "b"], &["name"], &["person.y"], &["a", "person"]][random.below(5) as usize];
            let mut row = json!({"code": code});
            for name in names {
                match *name {
                    "person.y" => row["person"] = json!({"x": null, "y": text(random)}),
                    "name" if random.percent(20) => row["name"] = Value::Null,
                    name => row[name] = whole[name].clone(),
                }
            }
            update(source, row, names)
        }
        _ => delete(source, &code),
    }
}

/// The source.
pub(crate) struct Scripted {
    pub(crate) source: &'static str,
    pub(crate) specs: Arc<Vec<Spec>>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) topics: Topics,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) chaos: Arc<Chaos>,
    pub(crate) partitions: u32,
    next: usize,
    counts: ConnectorCounts,
}

impl Scripted {
    pub(crate) fn new(
        source: &'static str,
        specs: Arc<Vec<Spec>>,
        (log, topics, catalog, chaos, partitions): (Arc<dyn Log>, Topics, Arc<Catalog>, Arc<Chaos>, u32),
    ) -> Self {
        Self { source, specs, log, topics, catalog, chaos, partitions, next: 0, counts: ConnectorCounts::default() }
    }

    fn key(&self) -> String {
        format!("checkpoint|{}", self.source)
    }
}

#[async_trait]
impl Connector for Scripted {
    fn source(&self) -> &str {
        self.source
    }

    async fn open(&mut self) -> Result<(), ConnectorError> {
        let key = self.key();
        let found = progress::load(&*self.log, &self.topics, &key).await?;
        self.next = found.get(&key).map_or(0, |text| text.parse().unwrap());
        self.counts = ConnectorCounts::default();
        Ok(())
    }

    async fn step(&mut self) -> Result<Step, ConnectorError> {
        let end = (self.next + STEP_RECORDS).min(self.specs.len());
        if self.next == end {
            return Ok(Step::Quiet);
        }
        self.chaos.delay().await;
        let entity = thing(&self.catalog);
        let topic = self.topics.changes("thing");
        let mut append = Append::default();
        for spec in &self.specs[self.next..end] {
            let change = spec.change(entity);
            assert!(spec.operation != Operation::Update || !change.mask.is_empty());
            let partition = partition::of(change.key.as_bytes(), self.partitions);
            append.record(&topic, partition, change.key.as_bytes(), |out| encode_change(entity, &change, out));
        }
        self.log.append(append).await?;
        self.counts.published += (end - self.next) as u64;
        self.counts.read += (end - self.next) as u64;
        // Behind the records, in an append of its own: a crash in between makes repeats.
        let mut append = Append::default();
        progress::put(&mut append, &self.topics, &self.key(), &end);
        self.log.append(append).await?;
        self.next = end;
        Ok(Step::Progress)
    }

    async fn wait(&mut self) {
        std::future::pending::<()>().await;
    }

    fn counts(&self) -> ConnectorCounts {
        self.counts
    }
}

//! `./dev bench kafka`: how fast, how dear and how large, from Kafka into each store on a server.
//!
//! For each store, narrow rows and consumption rows: the topic is filled, then the program's own sink and a bare writer take it in,
//! one after the other, each into tables of its own; the same again for an update of every row. What is compared so runs under the
//! same conditions, and whoever begins changes from round to round. Then the fold, in transactions and without; then the whole
//! program at a steady rate, from the append of a record to all stores. What is measured are processes of their own.
//!
//! Nothing is asserted about time: the tables are for people. `--help` says the sizes.

mod arguments;
mod bare;
mod child;
mod fold;
mod latency;
mod marks;
mod ours;
mod report;
mod rows;
mod stores;
mod topics;

use std::sync::Arc;

use anyhow::{Context, Result};
use tidemark_log::Share;
use tidemark_test_support::Kind as ServerKind;

use arguments::Wanted;
use bare::{Task, Way};
use marks::Taken;
use report::{Phase, Runs};
use rows::Kind;
use stores::{Server, Store};
use topics::Topic;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", task] => bare::main(task),
        ["fold", rest @ ..] => fold::main(rest),
        _ => match Wanted::read(&arguments)? {
            Some(wanted) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(run(&wanted))
            }
            None => Ok(()),
        },
    }
}

async fn run(wanted: &Wanted) -> Result<()> {
    let bench = Bench {
        kafka: Server::of(ServerKind::Kafka),
        servers: wanted.stores().map(|(store, ..)| (store, Server::of(store.server()))).collect(),
        name: format!("bench_{}", std::process::id()),
        batch: wanted.batch,
    };
    let mut runs = Runs::default();
    for round in 0..wanted.rounds {
        for (store, narrow, consumption) in wanted.stores() {
            for (kind, rows) in [(Kind::Narrow, narrow), (Kind::Consumption, consumption)] {
                if !store.keeps(kind) {
                    continue;
                }
                bench.store(store, kind, rows, round, &mut runs).await?;
            }
        }
    }
    let mut folds = (Vec::new(), Vec::new());
    for round in 0..wanted.rounds.min(wanted.fold) {
        for way in [fold::Way::Transactions, fold::Way::Plain] {
            let taken = bench.fold(way, wanted.fold, round).await?;
            report::fold_line(way, &taken);
            if way == fold::Way::Plain { folds.1.push(taken) } else { folds.0.push(taken) }
        }
    }
    let latencies = if wanted.latency.is_zero() { None } else { Some(bench.latency(wanted).await?) };
    runs.show();
    if !folds.0.is_empty() {
        report::fold_table(&folds.0, &folds.1);
    }
    if let Some(latencies) = latencies {
        report::latencies(&latencies);
    }
    Ok(())
}

/// Where everything is.
struct Bench {
    kafka: Server,
    servers: Vec<(Store, Server)>,
    /// What every name of this run begins with.
    name: String,
    batch: usize,
}

impl Bench {
    fn server(&self, store: Store) -> Result<&Server> {
        let server = self.servers.iter().find(|(known, _)| *known == store).map(|(_, server)| server);
        server.with_context(|| format!("no server for {}", store.name()))
    }

    /// One round of one store: every row inserted, every row updated, by the sink and by the bare writers.
    async fn store(&self, store: Store, kind: Kind, rows: u64, round: u64, runs: &mut Runs) -> Result<()> {
        let server = self.server(store)?;
        let name = format!("{}_{}_{}_{round}", self.name, store.name(), kind.name());
        let topic = Topic::open(&self.kafka.address, &name).await?;
        let mut place = ours::place(&self.kafka.address, &name, self.batch)?;
        for (key, value) in store.settings(&server.address, &name) {
            place.set(&key, &value);
        }
        let stage = format!("sink.{}", store.role().name());
        for revision in 0..2 {
            rows::append_states(&topic, kind, rows, revision).await?;
            let phase = Phase { store, kind, revision };
            let mut writers: Vec<report::Writer> = std::iter::once(None).chain(store.ways().iter().copied().map(Some)).collect();
            let first = usize::try_from(round)? % writers.len();
            writers.rotate_left(first);
            for writer in writers {
                let taken = match writer {
                    None => tokio::task::block_in_place(|| ours::measure(&place, &stage, rows, server.process()))?,
                    Some(way) => self.bare(&topic, phase, way, rows, &name).await?,
                };
                runs.add(phase, writer, taken);
            }
        }
        for place in std::iter::once(name.clone()).chain(store.ways().iter().map(|way| way.place(&name))) {
            store.sink(&server.address, &place, Arc::clone(&topic.catalog)).reset().await?;
        }
        Ok(())
    }

    /// A bare writer on the log of this name.
    async fn bare(&self, topic: &Topic, phase: Phase, way: Way, rows: u64, name: &str) -> Result<Taken> {
        let Phase { store, kind, revision } = phase;
        let server = self.server(store)?;
        let place = way.place(name);
        let mut sink = store.sink(&server.address, &place, Arc::clone(&topic.catalog));
        // An open makes the tables, and the indexes of those that are filled already.
        sink.open(topic.identity, &Share::All).await?;
        let task = Task {
            store,
            way,
            address: server.address.clone(),
            place,
            brokers: self.kafka.address.clone(),
            prefix: name.to_owned(),
            kind,
            revision,
            rows,
            batch: self.batch * sink.batches_per_write(),
        };
        tokio::task::block_in_place(|| task.measure(server.process()))
    }

    async fn fold(&self, way: fold::Way, keys: u64, round: u64) -> Result<Taken> {
        let prefix = format!("{}_fold_{}_{round}", self.name, way.name());
        fold::measure(way, &self.kafka.address, &prefix, keys, self.batch).await
    }

    async fn latency(&self, wanted: &Wanted) -> Result<latency::Latencies> {
        let name = format!("{}_latency", self.name);
        let topic = Topic::open(&self.kafka.address, &name).await?;
        let mut place = ours::place(&self.kafka.address, &name, self.batch)?;
        place.set("TIDEMARK__CONNECTORS__FILE__ENABLED", "false");
        for store in Store::ALL {
            let Ok(server) = self.server(store) else { continue };
            for (key, value) in store.settings(&server.address, &name) {
                place.set(&key, &value);
            }
        }
        let found = latency::measure(&place, &topic, wanted.latency).await?;
        for (store, server) in &self.servers {
            store.sink(&server.address, &name, Arc::clone(&topic.catalog)).reset().await?;
        }
        Ok(found)
    }
}

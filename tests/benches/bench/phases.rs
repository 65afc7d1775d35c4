//! The phases that run the program: the first import, and everything dropped again with half of the orders changed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemark_tests::binary;
use tidemark_tests::bulk::{self, BulkFile, Size};
use tidemark_tests::place::Place;
use tidemark_tests::random::Random;
use tidemark_tests::running::Running;
use tidemark_tests::wait;

use crate::positions::{self, Watch};

/// What a phase took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    /// Records in files.
    pub(crate) records: u64,
    /// Of them, such as changed a row.
    pub(crate) changed: u64,
    /// From the start of the process until all four stores agree.
    pub(crate) agreed: Duration,
    /// Until the indexes that a first fill postpones are there too.
    pub(crate) wall: Duration,
    cpu: Duration,
    /// Highest resident set.
    pub(crate) peak_bytes: u64,
}

impl Phase {
    /// CPU microseconds a record, over all stages.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.records as f64
    }
}

/// A data folder that goes through the phases.
pub(crate) struct Run {
    place: Place,
    size: Size,
    /// States of orders so far: one for each insert and each change.
    order_states: u64,
    /// Indexes of all stores when nothing is postponed.
    indexes: i64,
}

impl Run {
    /// Writes the files of the first import.
    pub(crate) fn start(size: Size) -> Result<Self> {
        let empty = Place::with_binary(binary::plain());
        empty.once();
        let indexes = positions::indexes(empty.data())?;
        let place = Place::with_binary(binary::plain());
        bulk::write(&place.import(), &bulk::customers(size)).context("writing customers")?;
        bulk::write(&place.import(), &bulk::orders(size, |_| 0)).context("writing orders")?;
        Ok(Self { place, size, order_states: 0, indexes })
    }

    pub(crate) fn data(&self) -> &Path {
        self.place.data()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn first_import(&mut self) -> Result<Phase> {
        self.order_states = self.size.orders;
        let records = self.size.customers + self.size.orders;
        self.run(records, records)
    }

    /// Every second order has another amount; all files come again, their records shuffled.
    pub(crate) fn changed_again(&mut self) -> Result<Phase> {
        let mut random = Random::new(7);
        let mut orders = bulk::orders(self.size, |number| number % 2);
        shuffle_records(&mut orders, &mut random)?;
        let mut files = bulk::customers(self.size);
        files.append(&mut orders);
        random.shuffle(&mut files);
        bulk::write(&self.place.import(), &files)?;
        let changed = self.size.orders.div_ceil(2);
        self.order_states += changed;
        self.run(self.size.customers + self.size.orders, changed)
    }

    fn run(&self, records: u64, changed: u64) -> Result<Phase> {
        let started = Instant::now();
        let mut running = self.place.start(&["up"]);
        let pending = self.place.import().join("incremental/pending");
        let mut watch = None;
        wait::until("all four stores to agree", Duration::from_secs(1800), || {
            assert!(running.ended().is_none(), "the process ended:\n{}", running.output());
            if watch.is_none() {
                watch = Watch::open(self.data());
            }
            let watch = watch.as_ref()?;
            let there = watch.lowest("consumption") >= self.order_states && watch.lowest("customer") >= self.size.customers;
            there.then_some(())
        });
        let agreed = started.elapsed();
        // A first fill counts as over a moment after its last batch.
        wait::until("the postponed indexes", Duration::from_secs(300), || {
            positions::indexes(self.data()).is_ok_and(|there| there >= self.indexes).then_some(())
        });
        let wall = started.elapsed();
        let usage = running.usage();
        // What follows (receipts, results, the archive) is not measured but must come to its end.
        wait::until("every file to be archived", Duration::from_secs(300), || {
            let left = tidemark_tests::results::files_below(&pending)
                .iter()
                .any(|path| !path.to_string_lossy().ends_with(".result.json"));
            (!left).then_some(())
        });
        stop(running)?;
        Ok(Phase { records, changed, agreed, wall, cpu: usage.cpu, peak_bytes: usage.peak_bytes })
    }
}

/// Ctrl-C, and a clean end.
pub(crate) fn stop(mut running: Running) -> Result<()> {
    running.interrupt();
    let status = running.wait(Duration::from_secs(60));
    ensure!(status.success(), "the process ended with {status}:\n{}", running.output());
    Ok(())
}

/// Puts the records of all files into a random order, as many in each file as before.
fn shuffle_records(files: &mut [BulkFile], random: &mut Random) -> Result<()> {
    let mut records = Vec::new();
    for file in files.iter() {
        let body = file.text.split_once("\"data\":[").context("an envelope")?.1.trim_end().trim_end_matches("]}");
        records.extend(body.split(",\n").map(|record| record.trim().to_owned()));
    }
    random.shuffle(&mut records);
    let mut left = records.as_slice();
    for file in files {
        let (head, body) = file.text.split_once("\"data\":[").context("an envelope")?;
        let (own, rest) = left.split_at(body.matches(",\n").count() + 1);
        file.text = format!("{head}\"data\":[\n{}]}}\n", own.join(",\n"));
        left = rest;
    }
    ensure!(left.is_empty(), "records left over");
    Ok(())
}

//! What is printed: a line for each run as it ends, and at the end the middle figures as tables, beside what is wanted.

use std::collections::BTreeMap;

use crate::bare::Way;
use crate::fold;
use crate::latency::{Latencies, Latency};
use crate::marks::{Taken, median};
use crate::rows::Kind;
use crate::stores::Store;

/// Which phase of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Phase {
    pub(crate) store: Store,
    pub(crate) kind: Kind,
    pub(crate) revision: u64,
}

impl Phase {
    fn name(&self) -> String {
        let step = if self.revision == 0 { "insert" } else { "update" };
        format!("{}, {} {step}", self.store.name(), self.kind.name())
    }
}

/// Who wrote: the sink, or a bare writer.
pub(crate) type Writer = Option<Way>;

/// All runs so far.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<Phase, BTreeMap<Writer, Vec<Taken>>>);

impl Runs {
    /// Adds one, and says so.
    pub(crate) fn add(&mut self, phase: Phase, writer: Writer, taken: Taken) {
        println!("{}, {}: {}", phase.name(), who(writer), line(&taken));
        self.0.entry(phase).or_default().entry(writer).or_default().push(taken);
    }

    /// The table of all.
    pub(crate) fn show(&self) {
        println!("\n| store, rows | who | rows/s | of bare | own CPU s/M | server CPU s/M | both | peak MB |");
        println!("|---|---|---|---|---|---|---|---|");
        for (phase, writers) in &self.0 {
            for (writer, runs) in writers {
                let taken = Taken::median(runs);
                let ratio = match writers.get(&Some(Way::Sink)) {
                    // Of runs that followed each other: the machine is another one an hour later.
                    Some(bare) if writer.is_none() => {
                        let ratios = runs.iter().zip(bare).map(|(ours, bare)| ours.rate / bare.rate);
                        format!("{:.0} %", 100.0 * median(ratios.collect()))
                    }
                    _ => String::new(),
                };
                let seconds = |figure: Option<f64>| figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.2}"));
                println!(
                    "| {} | {} | {:.0} | {ratio} | {:.2} | {} | {} | {:.0} |",
                    phase.name(),
                    who(*writer),
                    taken.rate,
                    taken.own,
                    seconds(taken.server),
                    seconds(taken.total()),
                    taken.peak_bytes as f64 / 1e6
                );
            }
        }
        println!(
            "wanted: each sink at least 80 % of the bare rate; Postgres, narrow: own CPU at most 1.5 s, both at most 1 s above bare, \
             at most 100 MB, 162,000 rows/s insert and 146,000 update on a quiet machine of two cores"
        );
    }
}

fn who(writer: Writer) -> &'static str {
    writer.map_or("tidemark", Way::name)
}

fn line(taken: &Taken) -> String {
    let server = taken.server.map_or_else(String::new, |server| format!(", server {server:.2}"));
    let (rate, own, peak) = (taken.rate, taken.own, taken.peak_bytes as f64 / 1e6);
    format!("{rate:.0} rows/s; CPU seconds a million: own {own:.2}{server}; peak {peak:.0} MB")
}

/// One run of the fold.
pub(crate) fn fold_line(way: fold::Way, taken: &Taken) {
    println!("fold, {}: {}", way.name(), line(taken));
}

/// The fold, both ways.
pub(crate) fn fold_table(transactions: &[Taken], plain: &[Taken]) {
    println!("\n| fold | changes/s | CPU µs a change | peak MB |\n|---|---|---|---|");
    for (name, runs) in [("in transactions", transactions), ("without", plain)] {
        let taken = Taken::median(runs);
        println!("| {name} | {:.0} | {:.2} | {:.0} |", taken.rate, taken.own, taken.peak_bytes as f64 / 1e6);
    }
    let of = |figure: &dyn Fn(&Taken) -> f64| {
        let ratios = transactions.iter().zip(plain).map(|(with, without)| figure(with) / figure(without) - 1.0);
        100.0 * median(ratios.collect())
    };
    let (slower, dearer) = (of(&|taken| 1.0 / taken.rate), of(&|taken| taken.own));
    println!("in transactions it takes {slower:+.1} % time and {dearer:+.1} % CPU a change (wanted: at most 5 % slower)");
}

/// From the append to the stores.
pub(crate) fn latencies(found: &Latencies) {
    println!("\n| append to | p50 ms | p99 ms |\n|---|---|---|");
    let row = |name: &str, latency: &Latency| println!("| {name} | {:.0} | {:.0} |", latency.p50, latency.p99);
    for (role, latency) in &found.each {
        row(role.name(), latency);
    }
    row("all stores", &found.all);
    println!("at {:.0} records/s (wanted: p50 at most 120 ms, p99 at most 250 ms, at 1,000)", found.rate);
}

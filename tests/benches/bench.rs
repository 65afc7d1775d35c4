//! `./dev bench`: how fast, how dear and how large, from files to four stores that agree.
//!
//! Phases: the first import; the bare rate (the same final rows, ready in memory, written into four equal SQLite files by plain
//! multi-row statements, a thread a file), as they came and, to show how far that goes, sorted over the whole import; half of the
//! orders changed and everything dropped again in another order; the bare update rate; single records at a steady rate, from append
//! to all four stores; the first import at four times the size.
//! The program under test is a child process of this small one, so its peak memory is its own.
//!
//! Nothing is asserted about time: the table is for people. Run it on a quiet machine: `./dev bench`, or
//! `./dev bench bench --customers 5000 --orders 20000 --without-large` for a quick look.

#[path = "bench/bare.rs"]
mod bare;
#[path = "bench/latency.rs"]
mod latency;
#[path = "bench/phases.rs"]
mod phases;
#[path = "bench/positions.rs"]
mod positions;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidemark_tests::bulk::Size;

use bare::Bare;
use phases::Phase;

/// What is asked for on the command line.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    size: Size,
    large: bool,
    latency: Duration,
}

fn main() -> Result<()> {
    let wanted = read_arguments(std::env::args().skip(1))?;
    let size = wanted.size;
    println!("{} customers and {} orders in files, {} cores", size.customers, size.orders, cores());
    let mut base = phases::Run::start(size)?;
    let first = base.first_import()?;
    show("first import", &first);

    let rows = bare::Rows::read(base.data(), 0, bare::Order::Key)?;
    let bare_sorted = bare::Stores::like(base.data())?.write(&rows, bare::Way::Insert)?;
    show_bare("bare insert, sorted by key beforehand", size.customers + size.orders, bare_sorted);
    drop(rows);
    let rows = bare::Rows::read(base.data(), 0, bare::Order::Arrival)?;
    let mut plain = bare::Stores::like(base.data())?;
    let bare_insert = plain.write(&rows, bare::Way::Insert)?;
    drop(rows);
    show_bare("bare insert", size.customers + size.orders, bare_insert);

    let version = bare::highest_version(base.data())?;
    let changed = base.changed_again()?;
    show("changed half, all dropped again", &changed);
    let rows = bare::Rows::read(base.data(), version, bare::Order::Arrival)?;
    let bare_update = plain.write(&rows, bare::Way::Upsert)?;
    drop(rows);
    show_bare("bare update", changed.changed, bare_update);

    let first_ratio = |bare: Bare| 100.0 * rate(first.records, first.wall) / rate(size.customers + size.orders, bare.wall);
    let update_ratio = rate(changed.changed, changed.wall) / rate(changed.changed, bare_update.wall);
    println!(
        "first import is {:.0} % of the bare rate, {:.0} % of that over rows sorted beforehand (wanted 55, of both)",
        first_ratio(bare_insert),
        first_ratio(bare_sorted)
    );
    println!("changed half is {:.0} % of the bare update rate, counting only what changed (wanted 40)", 100.0 * update_ratio);

    let latencies = latency::measure(&base, wanted.latency)?;
    println!(
        "append of one record to all four stores, 100 a second, {} records: p50 {:.1} ms, p99 {:.1} ms (wanted 200), most {:.1} ms",
        latencies.count, latencies.p50, latencies.p99, latencies.most
    );
    drop(base);

    if wanted.large {
        let size = Size { customers: size.customers * 4, orders: size.orders * 4 };
        let mut large = phases::Run::start(size)?;
        let whole = large.first_import()?;
        show("first import, four times the size", &whole);
        println!(
            "CPU per record is {:.2} times that of the smaller one (wanted at most 1.6)",
            whole.cpu_micros() / first.cpu_micros()
        );
    }
    Ok(())
}

fn show(name: &str, phase: &Phase) {
    println!(
        "{name}: {} records in {:.2} s (rows in all stores after {:.2} s, then the postponed indexes) = {:.0}/s, {:.1} CPU µs a record, \
         peak {:.0} MB",
        phase.records,
        phase.wall.as_secs_f64(),
        phase.agreed.as_secs_f64(),
        rate(phase.records, phase.wall),
        phase.cpu_micros(),
        phase.peak_bytes as f64 / 1e6,
    );
}

fn show_bare(name: &str, records: u64, bare: Bare) {
    let cpu = bare.cpu.as_secs_f64() * 1e6 / records as f64;
    println!(
        "{name}: {records} records in {:.2} s = {:.0}/s, {cpu:.1} CPU µs a record",
        bare.wall.as_secs_f64(),
        rate(records, bare.wall)
    );
}

fn rate(records: u64, wall: Duration) -> f64 {
    records as f64 / wall.as_secs_f64()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_arguments(arguments: impl Iterator<Item = String>) -> Result<Wanted> {
    let mut wanted = Wanted { size: Size { customers: 50_000, orders: 200_000 }, large: true, latency: Duration::from_secs(20) };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let text = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            text.parse().with_context(|| format!("{argument} {text}"))
        };
        match argument.as_str() {
            "--customers" => wanted.size.customers = number()?,
            "--orders" => wanted.size.orders = number()?,
            "--latency-seconds" => wanted.latency = Duration::from_secs(number()?),
            "--without-large" => wanted.large = false,
            other => bail!("unknown argument {other}; known: --customers N, --orders N, --latency-seconds N, --without-large"),
        }
    }
    Ok(wanted)
}

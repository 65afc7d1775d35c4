//! Random inputs against an oracle with a fold of its own: after every round, every result file, `state` and all four stores say
//! what the oracle says. On the embedded log and stores, and on servers with two workers that share three partitions.
//!
//! A fixed set of seeds always runs; `TIDEMARK_SOAK=1` runs 200 more, starting at `TIDEMARK_SEED`. A failure names its seed:
//! `TIDEMARK_SEED=<seed> TIDEMARK_ROUNDS=1` repeats just that one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidemark_tests::generator::rounds::World;
use tidemark_tests::judge::Judge;
use tidemark_tests::on_servers::{OnServers, run_with};
use tidemark_tests::place::Place;
use tidemark_tests::random::Random;
use tidemark_tests::readers::Readers;
use tidemark_tests::running::http_get;
use tidemark_tests::second::{self, LogPlace};
use tidemark_tests::wait;

const FIXED_SEEDS: u64 = 20;
/// On servers a seed takes ten times as long, most of it waiting.
const FIXED_SEEDS_ON_SERVERS: u64 = 4;
const SIDE_BY_SIDE: usize = 2;
const SIDE_BY_SIDE_ON_SERVERS: usize = 3;
const SOAK_SEEDS: u64 = 200;
const ROUNDS: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Runs so many seeds side by side; what runs when one fails is still ended, no further one is begun.
fn for_each_seed(fixed: u64, side_by_side: usize, run: impl Fn(u64) + Sync) {
    let seeds: Vec<u64> = match (number("TIDEMARK_SEED"), number("TIDEMARK_ROUNDS")) {
        (Some(seed), Some(many)) => (seed..seed + many).collect(),
        (seed, None) if std::env::var_os("TIDEMARK_SOAK").is_some() => {
            let start = seed.unwrap_or(1000);
            (0..fixed).chain(start..start + SOAK_SEEDS).collect()
        }
        _ => (0..fixed).collect(),
    };
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let take = || {
        while !failed.load(Ordering::Relaxed)
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(cause) = std::panic::catch_unwind(AssertUnwindSafe(|| run(*seed))) {
                failed.store(true, Ordering::Relaxed);
                eprintln!("seed {seed} failed; repeat it by TIDEMARK_SEED={seed} TIDEMARK_ROUNDS=1");
                std::panic::resume_unwind(cause);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(take);
        }
    });
}

#[test]
fn stores_equal_the_oracle() {
    for_each_seed(FIXED_SEEDS, SIDE_BY_SIDE, |seed| {
        let place = Place::new();
        run(seed, &place, place.data().into(), &Readers::embedded(place.data()));
    });
}

#[test]
fn stores_on_servers_equal_the_oracle() {
    const NAME: &str = "stores_on_servers_equal_the_oracle";
    if OnServers::shared(NAME).is_none() {
        return;
    }
    for_each_seed(FIXED_SEEDS_ON_SERVERS, SIDE_BY_SIDE_ON_SERVERS, |seed| {
        let servers = OnServers::shared(NAME).expect("they were there");
        let (place, beside) = (servers.worker(), servers.worker());
        let mut workers = [place.start(&run_with(&["connector.file"])), beside.start(&run_with(&[]))];
        // It must have its port before another process of that folder looks for one.
        wait::until("the worker to answer", wait::PATIENCE, || http_get(place.port(), "/health"));
        run(seed, &place, servers.log(), &servers.readers());
        for worker in &mut workers {
            worker.interrupt();
            assert_eq!(worker.wait(wait::PATIENCE).code(), Some(0), "{}", worker.output());
        }
        servers.remove();
    });
}

fn run(seed: u64, place: &Place, log: LogPlace<'_>, stores: &Readers) {
    let mut world = World::new(seed);
    let mut judge = Judge::default();
    let mut random = Random::new(!seed);
    let mut second_seq = 1;
    for round in 0..ROUNDS {
        if round > 0 {
            let events = world.second_source();
            second::publish(log, second_seq, &events);
            second_seq += events.len() as u64;
            for (event, snapshot) in &events {
                judge.oracle.take(second::SOURCE, *snapshot, event);
            }
        }
        let drops = world.round(round, &judge.oracle);
        for drop in &drops {
            place.put(&drop.path, &drop.bytes);
        }
        let expected = judge.fold(&drops);
        take_in(place, &mut random);
        judge.check_results(place, &expected);
        judge.check_stores(place, stores);
    }
    // Nothing new: nothing changes, whichever way it is taken in.
    take_in(place, &mut random);
    judge.check_stores(place, stores);
}

/// By either way; 4 means that something was rejected, which is what was asked for.
fn take_in(place: &Place, random: &mut Random) {
    if random.chance(50) {
        place.once();
        return;
    }
    for part in ["initial", "incremental"] {
        let outcome = place.run(&["import", part]);
        assert!(matches!(outcome.code, Some(0 | 4)), "import {part}: {outcome:#?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_files() {
    let files = |seed| {
        let mut world = World::new(seed);
        let judge = Judge::default();
        (0..2).flat_map(|round| world.round(round, &judge.oracle)).map(|drop| (drop.path, drop.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(files(7), files(7));
    assert_ne!(files(7), files(8));
}

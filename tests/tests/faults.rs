//! What goes wrong on real servers, one after the other, under load: workers, Kafka and the stores are killed, stay away, are
//! stopped beyond their session, answer late, twice or not at all, and partitions move all the time. After each, result files,
//! `state` and all stores say what the oracle says, with no dead letter, and work goes on within five seconds of the first answer.
//!
//! A fixed plan always runs; `TIDEMARK_SOAK=1` runs every fault on several places, drawn from `TIDEMARK_SEED`. The figures are printed
//! (`--nocapture`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::time::Duration;

use tidemark_tests::arena::{Arena, FAULTS, Figure, RESUMED_WITHIN};
use tidemark_tests::machine;
use tidemark_tests::random::Random;

const NAME: &str = "what_goes_wrong_leaves_no_trace";
/// Faults of the fixed plan.
const FIXED: usize = 5;
/// Places that suffer everything in a soak.
const SOAK_PLACES: u64 = 6;
/// How long a store stays away, and how long on the first place of a soak.
const AWAY: Duration = Duration::from_secs(4);
const AWAY_LONG: Duration = Duration::from_secs(60);

#[test]
fn what_goes_wrong_leaves_no_trace() {
    let soak = std::env::var_os("TIDEMARK_SOAK").is_some();
    let first = std::env::var("TIDEMARK_SEED").map_or(1, |text| text.parse().expect("TIDEMARK_SEED must be a number"));
    let mut figures = Vec::new();
    for seed in if soak { first..first + SOAK_PLACES } else { first..first + 1 } {
        let away = if soak && seed == first { AWAY_LONG } else { AWAY };
        let Some(mut arena) = Arena::start(NAME, seed, away) else { return };
        let mut plan = FAULTS.to_vec();
        if soak {
            Random::new(seed).shuffle(&mut plan);
        } else {
            plan.truncate(FIXED);
        }
        for (number, fault) in plan.into_iter().enumerate() {
            println!("seed {seed}, fault {number}: {fault:?}");
            let figure = arena.run(fault);
            println!("{figure}");
            figures.push(figure);
        }
    }
    let slowest = figures.iter().filter_map(|figure| figure.resumed).max().unwrap_or_default();
    let every = machine::times_busier_than_it_can_be();
    println!("{} faults, slowest to go on {slowest:.2?}, the machine {every:.1} times as busy as it can be", figures.len());
    let late: Vec<&Figure> =
        figures.iter().filter(|figure| figure.resumed.is_some_and(|took| took > RESUMED_WITHIN.mul_f64(every))).collect();
    assert!(late.is_empty(), "did not go on in time: {late:#?}");
}

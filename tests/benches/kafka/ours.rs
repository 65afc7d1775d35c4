//! The program's own sink on a topic that is filled already, in a process of its own.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tidemark_tests::binary;
use tidemark_tests::place::Place;
use tidemark_tests::running::{Running, metric};
use tidemark_tests::wait;

use crate::marks::{Mark, Taken};
use crate::rows;
use crate::topics::PARTITIONS;

/// Longest phase.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often the program is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a stage has applied: it counts when the store has acknowledged rows and position.
pub(crate) const APPLIED: &str = "tidemark_records_out_total";

/// A data folder whose log is on Kafka under this prefix, and which knows the narrow entity.
pub(crate) fn place(brokers: &str, prefix: &str, batch: usize) -> Result<Place> {
    let mut place = Place::with_binary(binary::plain());
    let schemas = place.data().join("schemas");
    rows::write_schema(&schemas)?;
    for (key, value) in [
        ("LOG__KIND", "kafka"),
        ("LOG__BROKERS", brokers),
        ("LOG__PREFIX", prefix),
        ("LOG__PARTITIONS", &PARTITIONS.to_string()),
        ("SCHEMAS__FOLDER", &schemas.to_string_lossy()),
        ("BATCH__RECORDS_MAX", &batch.to_string()),
    ] {
        place.set(&format!("TIDEMARK__{key}"), value);
    }
    Ok(place)
}

/// Runs one sink until it has applied so many rows.
pub(crate) fn measure(place: &Place, stage: &str, rows: u64, server: Option<u32>) -> Result<Taken> {
    let mut running = place.start(&["run", stage]);
    let mut until = |least: u64| -> Mark {
        wait::until(&format!("{stage} to have applied {least} rows"), PATIENCE, || {
            assert!(running.ended().is_none(), "the process ended:\n{}", running.output());
            let applied = metric(place.port(), APPLIED, &[stage]).map_or(0, |applied| applied as u64);
            if applied < least {
                wait::pass(LOOK_EVERY);
                return None;
            }
            Some(Mark::now(applied, running.id(), server))
        })
    };
    let (first, last) = (until(1), until(rows));
    stop(running)?;
    if first.rows() >= rows {
        bail!("{stage} was through after one look; ask for more rows");
    }
    ensure!(last.rows() == rows, "{stage} applied {} of {rows} rows", last.rows());
    Ok(Taken::between(&first, &last))
}

/// Ctrl-C, and a clean end.
pub(crate) fn stop(mut running: Running) -> Result<()> {
    running.interrupt();
    let status = running.wait(Duration::from_secs(60));
    ensure!(status.success(), "the process ended with {status}:\n{}", running.output());
    Ok(())
}

//! The command line.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::stores::Store;

/// Consumption rows are dearer: their phases have this part of the narrow ones.
const CONSUMPTION_PART: u64 = 3;

const HELP: &str = "\
./dev bench kafka [OPTION NUMBER]…

Measures each sink from Kafka into its store beside a bare writer, the fold in transactions beside one without, and how long a
record takes from its append to all stores. A server whose address is in the environment is used (TIDEMARK_TEST_KAFKA,
TIDEMARK_TEST_POSTGRES …; its CPU is not seen then), others are started for the run. Nothing else should run meanwhile.

  --postgres N    narrow rows of a phase on Postgres; consumption rows are a third of it; 0 leaves the store out [300000]
  --clickhouse N  the same on ClickHouse [300000]
  --nebula N      the same on NebulaGraph, whose stand-in is slow [24000]
  --qdrant N      narrow rows on Qdrant; consumption rows are no points [24000]
  --rounds N      how often all of that is done, each time into empty stores; the middle figures count [3]
  --batch N       records of a batch, of the sinks and of the bare writers [the program's own default]
  --fold N        keys that are folded, each inserted and updated; 0 leaves it out [150000]
  --latency N     seconds of a steady 1,000 records/s; 0 leaves it out [30]

Example: ./dev bench kafka --rounds 1 --nebula 0
";

/// The program's own default (`batch.records_max`).
const BATCH: u64 = 4_000;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Narrow rows by store.
    narrow: Vec<(Store, u64)>,
    pub(crate) rounds: u64,
    pub(crate) batch: usize,
    /// Keys that are folded, each twice.
    pub(crate) fold: u64,
    pub(crate) latency: Duration,
}

impl Wanted {
    /// Reads them; `None` when only help was asked for, which is printed.
    pub(crate) fn read(arguments: &[String]) -> Result<Option<Self>> {
        let narrow =
            vec![(Store::Postgres, 300_000), (Store::ClickHouse, 300_000), (Store::Nebula, 24_000), (Store::Qdrant, 24_000)];
        let mut wanted = Self { narrow, rounds: 3, batch: BATCH as usize, fold: 150_000, latency: Duration::from_secs(30) };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--help" || argument == "-h" {
                print!("{HELP}");
                return Ok(None);
            }
            let mut number = || -> Result<u64> {
                let text = arguments.next().with_context(|| format!("{argument} needs a number; --help says more"))?;
                text.parse().with_context(|| format!("{argument} {text}"))
            };
            match argument.as_str() {
                "--rounds" => wanted.rounds = number()?.max(1),
                "--batch" => wanted.batch = usize::try_from(number()?.max(1))?,
                "--fold" => wanted.fold = number()?,
                "--latency" => wanted.latency = Duration::from_secs(number()?),
                other => {
                    let named = |(store, _): &&mut (Store, u64)| other.strip_prefix("--") == Some(store.name());
                    let Some((_, rows)) = wanted.narrow.iter_mut().find(named) else {
                        bail!("unknown argument {other}; --help says which there are");
                    };
                    *rows = number()?;
                }
            }
        }
        Ok(Some(wanted))
    }

    /// Stores with the rows of a phase, narrow and consumption.
    pub(crate) fn stores(&self) -> impl Iterator<Item = (Store, u64, u64)> {
        let wanted = self.narrow.iter().filter(|(_, rows)| *rows > 0);
        wanted.map(|(store, rows)| (*store, *rows, (*rows / CONSUMPTION_PART).max(1)))
    }
}

//! What a run took, between two marks: after its first batch, so that no start of a process counts, and after its last.

use std::time::{Duration, Instant};

use tidemark_tests::running::{family_cpu, usage_of};

/// A moment of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: Instant,
    rows: u64,
    own: Duration,
    peak_bytes: u64,
    server: Option<Duration>,
}

impl Mark {
    /// Now, with so many rows done by a process; `server` is the store's, where it is ours to look at.
    pub(crate) fn now(rows: u64, process: u32, server: Option<u32>) -> Self {
        let usage = usage_of(process);
        Self { at: Instant::now(), rows, own: usage.cpu, peak_bytes: usage.peak_bytes, server: server.map(family_cpu) }
    }

    /// Rows done by then.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Rows a second.
    pub(crate) rate: f64,
    /// CPU seconds of the process for a million rows.
    pub(crate) own: f64,
    /// Those of the store's server, where it is ours to look at.
    pub(crate) server: Option<f64>,
    /// Highest resident set of the process.
    pub(crate) peak_bytes: u64,
}

impl Taken {
    /// Between two marks.
    pub(crate) fn between(first: &Mark, last: &Mark) -> Self {
        let rows = last.rows.saturating_sub(first.rows) as f64;
        let per_million = |time: Duration| time.as_secs_f64() * 1e6 / rows;
        Self {
            rate: rows / (last.at - first.at).as_secs_f64(),
            own: per_million(last.own - first.own),
            server: first.server.zip(last.server).map(|(first, last)| per_million(last - first)),
            peak_bytes: last.peak_bytes,
        }
    }

    /// CPU seconds of process and server for a million rows.
    pub(crate) fn total(&self) -> Option<f64> {
        self.server.map(|server| self.own + server)
    }

    /// The middle of several runs, figure by figure.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        Self {
            rate: of(&|run| run.rate),
            own: of(&|run| run.own),
            server: runs.iter().all(|run| run.server.is_some()).then(|| of(&|run| run.server.unwrap_or(f64::NAN))),
            peak_bytes: of(&|run| run.peak_bytes as f64) as u64,
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) }
}

//! What a person sees of running stages: a live block on a terminal, log lines elsewhere.
//!
//! Log lines and the block share the terminal: [`View::line_writer`] gives the log a writer that puts its lines above the block.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidemark_connector_file::StatisticsHandle;
use tidemark_pipelines::status::{StageState, StageStatus, StatusBoard};
use tidemark_sink_core::report::grouped;
use tokio_util::sync::CancellationToken;

/// Between two paintings of the block: fast enough to look alive, slow enough to cost nothing.
const PAINT_INTERVAL: Duration = Duration::from_millis(200);

/// Between two log lines of a stage, where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The terminal's block, empty until stages run.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    block: MultiProgress,
}

impl View {
    /// A writer for log lines, above the block.
    pub(crate) fn line_writer(&self) -> LineWriter {
        LineWriter { block: self.block.clone() }
    }

    /// Prints a line for a person, above the block.
    pub(crate) fn say(&self, line: &str) {
        self.block.suspend(|| {
            // Nobody listens any more when standard error is closed, and the work goes on without.
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }

    /// Adds a bar to the block.
    pub(crate) fn add_bar(&self, bar: ProgressBar) -> ProgressBar {
        self.block.add(bar)
    }

    /// Shows the board until `shutdown`, then takes the block away.
    pub(crate) async fn show(&self, board: &StatusBoard, files: Option<&StatisticsHandle>, shutdown: &CancellationToken) {
        if std::io::stderr().is_terminal() {
            self.paint(board, files, shutdown).await;
        } else {
            log_lines(board, shutdown).await;
        }
    }

    /// The bar of the file that is being read.
    fn file_bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix:16} {bar:20} {bytes:>10} / {total_bytes:10} {wide_msg}");
        let style = style.expect("the template is fixed");
        self.block.insert(0, ProgressBar::new(0)).with_style(style)
    }

    async fn paint(&self, board: &StatusBoard, files: Option<&StatisticsHandle>, shutdown: &CancellationToken) {
        let style = ProgressStyle::with_template("{prefix:16} {wide_msg}").expect("the template is fixed");
        let mut bars: BTreeMap<String, ProgressBar> = BTreeMap::new();
        let current = files.map(|files| (files, self.file_bar()));
        let mut ticks = tokio::time::interval(PAINT_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => break,
            }
            for (stage, status) in board.lines() {
                let bar = bars.entry(stage).or_insert_with_key(|stage| {
                    let bar = self.block.add(ProgressBar::no_length()).with_style(style.clone());
                    bar.with_prefix(stage.clone())
                });
                bar.set_message(line_of(&status));
            }
            if let Some((files, bar)) = &current {
                let file = files.current();
                bar.set_length(file.bytes_total);
                bar.set_position(file.bytes_done);
                bar.set_prefix(if file.pass == 1 { "checking" } else { "reading" });
                bar.set_message(file.path.escape_debug().to_string());
            }
        }
        if let Some((_, bar)) = current {
            bar.finish_and_clear();
        }
        for bar in bars.values() {
            bar.finish_and_clear();
        }
    }
}

async fn log_lines(board: &StatusBoard, shutdown: &CancellationToken) {
    let mut known: BTreeMap<String, StageStatus> = BTreeMap::new();
    let mut ticks = tokio::time::interval(LOG_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        for (stage, status) in board.lines() {
            if *known.entry(stage.clone()).or_default() != status {
                let (read, applied, rejected, retried) = (status.read, status.applied, status.rejected, status.retried);
                let (lag, lag_seconds, state) = (status.lag_records, status.lag_seconds, word_of(&status.state));
                tracing::info!(stage, state, read, applied, rejected, retried, lag, lag_seconds, "stage");
                known.insert(stage, status);
            }
        }
    }
}

/// One stage in one line.
pub(crate) fn line_of(status: &StageStatus) -> String {
    let mut line = format!(
        "{:9} read {:>9}  applied {:>9}  lag {:>7}  errors {:>5}",
        word_of(&status.state),
        grouped(status.read),
        grouped(status.applied),
        grouped(status.lag_records),
        grouped(status.rejected + status.retried),
    );
    if let StageState::Degraded(why) = &status.state {
        line.push_str("  ");
        line.push_str(why);
    }
    line
}

/// A state in one word.
pub(crate) fn word_of(state: &StageState) -> &'static str {
    match state {
        StageState::Starting => "starting",
        StageState::Running => "running",
        StageState::Degraded(_) => "degraded",
        StageState::Stopped => "stopped",
    }
}

/// Writes log lines above the block.
#[derive(Debug, Clone)]
pub(crate) struct LineWriter {
    block: MultiProgress,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.block.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degraded_stage_says_why() {
        let status =
            StageStatus { state: StageState::Degraded("the disk is full".to_owned()), read: 1200, ..StageStatus::default() };
        let line = line_of(&status);
        assert!(line.starts_with("degraded  read     1,200"), "{line}");
        assert!(line.ends_with("the disk is full"), "{line}");
    }
}

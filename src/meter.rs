//! How far a long piece of work is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemark_sink_core::report::grouped;
use tokio::time::Instant;

use crate::view::View;

/// Longest time between two lines while something moves: a person who watches a file of them wants to see that it lives.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// One piece of work.
pub(crate) struct Meter {
    view: View,
    what: String,
    /// What is counted: `records`.
    unit: &'static str,
    bar: Option<ProgressBar>,
    told: Option<Told>,
}

/// The last line.
#[derive(Clone, Copy)]
struct Told {
    done: u64,
    tenth: u64,
    at: Instant,
}

impl Meter {
    /// For work of this name, counted in `unit`.
    pub(crate) fn new(view: &View, what: &str, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:16} {bar:30} {percent:>3} %  {human_pos} / {human_len} {wide_msg}");
            let style = style.expect("the template is fixed");
            view.add_bar(ProgressBar::new(0)).with_style(style).with_prefix(what.to_owned())
        });
        Self { view: view.clone(), what: what.to_owned(), unit, bar, told: None }
    }

    /// So much of so much is done.
    pub(crate) fn stands_at(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(self.unit);
            return;
        }
        let tenth = (done * 10).checked_div(total).unwrap_or(10);
        let is_due = self.told.is_none_or(|told| tenth > told.tenth || (done > told.done && told.at.elapsed() >= LINE_INTERVAL));
        if is_due {
            self.told = Some(Told { done, tenth, at: Instant::now() });
            let percent = (done * 100).checked_div(total).unwrap_or(100);
            self.view.say(&format!("{}: {percent} %, {} of {} {}", self.what, grouped(done), grouped(total), self.unit));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

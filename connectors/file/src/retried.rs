//! Which records of a file are tried again: those that an earlier reading of the same content had rejected.
//!
//! Read from the receipts in the order of the file, a window at a time, so that memory does not grow with their number. The pass
//! over the file asks record by record and ends its batch where the window ends; `fill` moves the window on.

use std::collections::VecDeque;

use tidemark_log::{Log, LogError, Topics};

use crate::receipts::Rejections;

/// Indexes held at once, 8 bytes each: as many as make a batch.
const WINDOW: usize = 4_000;

/// The records that are tried again.
#[derive(Debug)]
pub(crate) struct Retried {
    rejections: Rejections,
    /// The first record that is asked for: where an earlier pass stopped.
    from: u64,
    /// Ascending.
    window: VecDeque<u64>,
    /// Nothing comes after the window.
    complete: bool,
}

impl Retried {
    /// Those that were rejected, of the records `from` on; `fill` comes first.
    pub(crate) fn new(rejections: Rejections, from: u64) -> Self {
        Self { rejections, from, window: VecDeque::new(), complete: false }
    }

    /// Reads on until the window is full.
    pub(crate) async fn fill(&mut self, log: &dyn Log, topics: &Topics) -> Result<(), LogError> {
        while !self.complete && self.window.len() < WINDOW {
            match self.rejections.next(log, topics).await? {
                Some(rejection) if rejection.index < self.from => {}
                Some(rejection) => self.window.push_back(rejection.index),
                None => self.complete = true,
            }
        }
        Ok(())
    }

    /// Whether nothing can be said about the next record before `fill`.
    pub(crate) fn is_dry(&self) -> bool {
        self.window.is_empty() && !self.complete
    }

    /// Whether the record with this index is tried again. To be asked for every record from the first one on, and not while it is
    /// dry: then the window never holds an earlier one.
    pub(crate) fn takes(&mut self, index: u64) -> bool {
        debug_assert!(
            !self.is_dry() && self.window.front().is_none_or(|first| *first >= index),
            "record {index} was asked too late"
        );
        self.window.pop_front_if(|first| *first == index).is_some()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_connector_core::receipt::{Rejection, rejection_key};
    use tidemark_log::memory::{MemoryLog, MemoryOptions};
    use tidemark_log::{Append, Log, Topics};

    use super::{Retried, WINDOW};
    use crate::receipts::Rejections;

    #[tokio::test]
    async fn a_window_however_many_there_are() {
        let total = 3 * WINDOW as u64 + 7;
        // From the start, and where passes stopped: within the first window, at an edge, behind several.
        for from in [0, 5, 2 * WINDOW as u64, 2 * (2 * WINDOW as u64 + 3) + 1, 2 * total + 1] {
            goes_through(total, from).await;
        }
    }

    /// `total` rejections at even indexes, asked for from `from` on.
    async fn goes_through(total: u64, from: u64) {
        let log = MemoryLog::new(MemoryOptions::default());
        let topics = Topics::new("tidemark");
        log.create_topics(&topics.specs(["customer"], 2)).await.unwrap();
        for index in 0..total {
            let rejection = Rejection { index: 2 * index, key: None, reason: String::new(), detail: String::new() };
            let mut append = Append::default();
            append.record(&topics.receipts, 0, rejection_key("file-1", &(index % 2).to_string(), 2 * index).as_bytes(), |out| {
                serde_json::to_writer(out, &rejection).unwrap();
            });
            log.append(append).await.unwrap();
        }
        let mut retried = Retried::new(Rejections::new("file-1", 0, 0..2), from);
        let mut taken = 0;
        for index in from..2 * total + 10 {
            if retried.is_dry() {
                retried.fill(&log, &topics).await.unwrap();
                assert!(retried.window.len() <= WINDOW);
            }
            let takes = retried.takes(index);
            assert_eq!(takes, index % 2 == 0 && index < 2 * total, "{index}");
            taken += u64::from(takes);
        }
        assert_eq!(taken, total.saturating_sub(from.div_ceil(2)));
    }
}

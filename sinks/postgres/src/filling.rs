//! The first fill of empty tables, and the indexes that it postpones.
//!
//! Indexes on references that are kept along with a fill cost twice what the rows do, and built afterwards, each in one sorted
//! pass, a third of that (measured). So those of an empty table are made when the fill is over: when no batch comes for a
//! while, or only small ones. A task on a connection of its own makes one after the other, and stops after the one in hand when
//! a batch comes. Nothing is lost if the process ends before: the next open makes what is missing.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::connection::{Connection, Server};
use crate::failure::Failure;

/// A first fill is over when no batch comes for this long, or so many in a row were this small: a store that lags gets full
/// ones, but the first entities of an import are few as well.
const IDLE: Duration = Duration::from_millis(500);
const SMALL_BATCH: usize = 500;
const SMALL_BATCHES: u32 = 32;

/// How the first fill goes.
pub(crate) struct Filling {
    /// The statements that wait, while no task has them.
    postponed: VecDeque<String>,
    /// Small batches since the last large one.
    small: u32,
    settling: Option<Settling>,
}

/// The task that waits for the end of the fill. It ends by itself when its owner is gone.
struct Settling {
    call: oneshot::Sender<()>,
    task: JoinHandle<VecDeque<String>>,
}

impl Filling {
    /// These statements wait; there may be none.
    pub(crate) fn new(postponed: VecDeque<String>) -> Self {
        Self { postponed, small: 0, settling: None }
    }

    /// A batch comes: what is in hand is finished first, the rest waits on.
    pub(crate) async fn interrupt(&mut self) {
        let Some(settling) = self.settling.take() else { return };
        if settling.call.send(()).is_err() {
            tracing::debug!("the indexes were built before the next batch came");
        }
        match settling.task.await {
            Ok(rest) => self.postponed = rest,
            Err(error) => tracing::warn!(%error, "indexes are built at the next start"),
        }
    }

    /// A batch was written: from now on the store may be idle.
    pub(crate) fn filled(&mut self, records: usize, server: &Server) {
        self.small = if records < SMALL_BATCH { self.small + 1 } else { 0 };
        if self.postponed.is_empty() {
            return;
        }
        let patience = if self.small >= SMALL_BATCHES { Duration::ZERO } else { IDLE };
        let (call, called) = oneshot::channel();
        let task = tokio::spawn(settle(server.clone(), std::mem::take(&mut self.postponed), patience, called));
        self.settling = Some(Settling { call, task });
    }
}

/// Makes the indexes after a while, until called; returns those that are left.
async fn settle(
    server: Server,
    mut postponed: VecDeque<String>,
    patience: Duration,
    mut called: oneshot::Receiver<()>,
) -> VecDeque<String> {
    if tokio::time::timeout(patience, &mut called).await.is_ok() {
        return postponed;
    }
    match build(&server, &mut postponed, &mut called).await {
        Ok(()) => {}
        Err(failure) => {
            let error = failure.classify(&server.place(), "indexing");
            tracing::warn!(%error, "indexes are built after the next batch");
        }
    }
    postponed
}

/// Makes an index unless it is there. A worker that was overtaken may be making it at this moment: then the server refuses ours
/// once that is done, and the second time it is there. What the index cannot hold was taken as a row before, so the store goes on
/// without it.
pub(crate) async fn make_index(connection: &mut Connection, statement: &str) -> Result<(), Failure> {
    let made = match connection.run_patiently(statement).await {
        Err(failure) if failure.is_of_two_makers() => connection.run_patiently(statement).await,
        made => made,
    };
    let Some(problem) = made.as_ref().err().and_then(Failure::of_data) else { return made };
    tracing::warn!(problem, statement, "no index for now; correct the record at its source, and the next start makes it");
    Ok(())
}

async fn build(server: &Server, postponed: &mut VecDeque<String>, called: &mut oneshot::Receiver<()>) -> Result<(), Failure> {
    let mut connection = server.connect().await?;
    while let Some(statement) = postponed.front() {
        make_index(&mut connection, statement).await?;
        postponed.pop_front();
        // Called, or the sink is gone.
        if !matches!(called.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            break;
        }
    }
    Ok(())
}

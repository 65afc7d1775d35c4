//! A stage among the workers of its name: which partitions it works on now.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidemark_log::{Assignment, Log, LogError, Membership, Share};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::{Class, Failure};

/// The stage's membership, joined when it has none yet.
pub(crate) async fn joined(
    held: &mut Option<Arc<dyn Membership>>,
    log: &dyn Log,
    stage: &str,
) -> Result<Arc<dyn Membership>, LogError> {
    if let Some(membership) = held {
        return Ok(Arc::clone(membership));
    }
    let membership: Arc<dyn Membership> = log.join(stage).await?.into();
    *held = Some(Arc::clone(&membership));
    Ok(membership)
}

/// What the stage should hold now; waits for the first word. `None` when shutdown came first.
pub(crate) async fn next(wanted: &mut watch::Receiver<Option<Assignment>>, shutdown: &CancellationToken) -> Option<Assignment> {
    loop {
        if shutdown.is_cancelled() {
            return None;
        }
        if let Some(assignment) = wanted.borrow_and_update().clone() {
            return Some(assignment);
        }
        if !changed(wanted, shutdown).await {
            return None;
        }
    }
}

/// Waits for another word; `false` when shutdown came first.
pub(crate) async fn changed(wanted: &mut watch::Receiver<Option<Assignment>>, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        told = wanted.changed() => told.is_ok(),
    }
}

/// Waits until partitions were lost since that many losses.
pub(crate) async fn lost(wanted: &mut watch::Receiver<Option<Assignment>>, losses: u64) {
    let more = |told: &Option<Assignment>| told.as_ref().is_some_and(|told| told.losses != losses);
    if wanted.wait_for(more).await.is_err() {
        // Nobody can say it any more.
        std::future::pending::<()>().await;
    }
}

/// While a stage has nothing in hand: whatever it is given may go to others at once, or all would wait for it. Never ends.
pub(crate) async fn hold_nothing(membership: Option<&dyn Membership>) {
    if let Some(membership) = membership {
        let mut wanted = membership.wanted();
        loop {
            membership.holds(&Share::Partitions(BTreeSet::new()));
            if wanted.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending::<()>().await;
}

/// What a failure means to a worker with this share. It has nothing in hand now, so whatever it should give up may go. Who shares
/// a stage with others is overtaken when it was slow, and goes on with what it should hold by now; who has all of it must end.
pub(crate) fn failed(membership: &dyn Membership, share: &Share, mut failure: Failure) -> Failure {
    if let Share::Partitions(_) = share {
        membership.holds(&Share::Partitions(BTreeSet::new()));
        if failure.class == Class::Superseded {
            failure.class = Class::Unavailable;
        }
    }
    failure
}

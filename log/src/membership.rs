//! Who of a stage's workers holds which partition numbers.
//!
//! A worker looks at what it should hold, ends what it no longer should (the batch in hand is finished and committed first), and
//! only then says that it holds the rest: until it does, nobody else is given what it must give up. What was *lost* is gone
//! already: another worker may be at work on it, and nothing of it is to be committed.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::share::Share;

/// What a worker should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Partition numbers.
    pub share: Share,
    /// Rises with every loss of partitions; everything in hand is to be forgotten then.
    pub losses: u64,
}

/// A worker's membership among the workers of its stage; leaves them when dropped.
#[async_trait]
pub trait Membership: Send + Sync {
    /// What this worker should hold; `None` as long as nobody has said it. Changes as workers come and go.
    fn wanted(&self) -> watch::Receiver<Option<Assignment>>;

    /// The worker has ended all work on what is not in `share`: it may be given to others.
    fn holds(&self, share: &Share);

    /// Leaves, so that the others take over at once and not after a time-out. Everything must be ended before.
    async fn leave(&self);
}

/// The one worker of its stage: a lock sees to that.
#[derive(Debug)]
pub struct Alone {
    wanted: watch::Sender<Option<Assignment>>,
}

impl Default for Alone {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(Some(Assignment { share: Share::All, losses: 0 })) }
    }
}

#[async_trait]
impl Membership for Alone {
    fn wanted(&self) -> watch::Receiver<Option<Assignment>> {
        self.wanted.subscribe()
    }

    fn holds(&self, _share: &Share) {}

    async fn leave(&self) {}
}

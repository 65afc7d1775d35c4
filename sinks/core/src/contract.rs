//! The contract suite: what every sink adapter must do, embedded or on a server, run by each adapter's own tests.
//!
//! An adapter's test gives a [`StoreHarness`]: sinks over one store, and a look into it. [`run`] takes fresh, empty stores
//! through every case and fails, naming the case, where one behaves otherwise. Rows are compared as the adapter shows them
//! (columns, out-edges, payload), so the suite does not know what a store looks like; it knows that histories which end in the
//! same states must end in the same store.
//!
//! For tests only: it asserts, and it reports by panicking.

mod cases;
mod fixture;
pub mod points;

use std::collections::BTreeMap;
use std::future::Future;

use async_trait::async_trait;
use tidemark_log::LogIdentity;
use uuid::Uuid;

pub use fixture::Fixture;

use crate::port::Sink;

/// The log that the suite's stores belong to.
pub const LOG: LogIdentity = LogIdentity { id: Uuid::from_u128(0xC0), generation: 1 };

/// One store under test.
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// A new sink over this store; several may be alive at a time.
    fn sink(&self) -> Box<dyn Sink>;

    /// What the store holds of an entity, by key; nothing for an entity that this store does not keep.
    async fn rows(&self, entity: &str) -> BTreeMap<String, StoredRow>;
}

/// A record as the store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Version.
    pub version: u64,
    /// Whether it is marked deleted.
    pub deleted: bool,
    /// Everything else that belongs to the record, in a form that is equal when the store holds the same.
    pub content: String,
}

/// Takes fresh stores of `make` through every case. `fixture` gives the records; its catalog must be the sinks' own.
pub async fn run<H, M>(fixture: &Fixture, make: impl Fn() -> M)
where
    H: StoreHarness,
    M: Future<Output = H>,
{
    cases::applying_twice_changes_nothing(fixture, &make().await).await;
    cases::a_prefix_then_the_whole(fixture, &make().await, &make().await).await;
    cases::one_batch_and_many_end_alike(fixture, &make().await, &make().await, &make().await).await;
    cases::an_older_version_after_a_newer(fixture, &make().await).await;
    cases::a_late_event_after_a_delete(fixture, &make().await).await;
    cases::a_record_inserted_again(fixture, &make().await, &make().await).await;
    cases::a_poison_row_stops_no_other(fixture, &make().await).await;
    cases::cancelled_in_mid_apply(fixture, &make().await, &make().await).await;
    cases::an_empty_batch_moves_the_position(fixture, &make().await).await;
    cases::reopened_it_stands_where_it_stood(fixture, &make().await).await;
    cases::a_foreign_log_is_refused(fixture, &make().await).await;
    cases::a_stale_writer_writes_nothing(fixture, &make().await).await;
    cases::reset_empties_and_refills(fixture, &make().await).await;
}

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Units 0 to 2 with what each does once it is told to end.
fn units(does: impl Fn(u32, CancellationToken) -> futures::future::BoxFuture<'static, Result<(), Failure>>) -> Units {
    let mut units = Units::default();
    for number in 0..3 {
        let stop = CancellationToken::new();
        let work = does(number, stop.clone());
        let task = units.tasks.spawn(async move { Ended { number, worked: false, result: work.await } });
        units.running.insert(number, Unit { stop, task });
    }
    units
}

/// Comes to an end after all who do not wait for this.
async fn later() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_unit_that_breaks_down_cuts_off_no_other() {
    let drained = Arc::new(AtomicU32::new(0));
    let mut units = units(|number, stop| {
        let drained = Arc::clone(&drained);
        Box::pin(async move {
            stop.cancelled().await;
            assert_ne!(number, 0, "this one breaks down");
            later().await;
            drained.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let failure = units.keep(&BTreeSet::new()).await.unwrap_err();
    assert!(failure.text.contains("a unit of the fold broke down"), "{failure:?}");
    assert_eq!(drained.load(Ordering::SeqCst), 2, "both others came to their end");
    assert!(units.running.is_empty());
}

#[tokio::test]
async fn only_the_failure_of_a_unit_that_is_kept_counts() {
    let mut units = units(|number, stop| {
        Box::pin(async move {
            if number != 2 {
                stop.cancelled().await;
                later().await;
            }
            Err(Failure::new(Class::Unavailable, format!("unit {number}")))
        })
    });
    let failure = units.keep(&BTreeSet::from([2])).await.unwrap_err();
    assert!(failure.text.contains("unit 2"), "{failure:?}");
    assert!(units.running.is_empty(), "the one that was kept has ended as well");
}

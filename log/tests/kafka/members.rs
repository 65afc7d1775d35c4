//! Workers of a stage share its partitions and hand them over.

use std::collections::BTreeSet;
use std::time::Duration;

use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Assignment, Log, Membership, Retention, Share, TopicSpec};
use tidemark_test_support::Kind;
use tokio::time::timeout;

use crate::place::{open, prefix};

const PATIENCE: Duration = Duration::from_secs(40);
/// How long nothing must happen: a few of the members' heartbeats.
const A_WHILE: Duration = Duration::from_secs(4);

fn is_empty(share: &Share) -> bool {
    matches!(share, Share::Partitions(numbers) if numbers.is_empty())
}

/// Waits until the member should hold what `fits` likes, saying at once that it holds what it should.
async fn settles(member: &dyn Membership, what: &str, fits: impl Fn(&BTreeSet<u32>) -> bool) -> BTreeSet<u32> {
    let mut wanted = member.wanted();
    let settled = async {
        loop {
            if let Some(Assignment { share, .. }) = wanted.borrow_and_update().clone() {
                member.holds(&share);
                let Share::Partitions(numbers) = share else { unreachable!("a group shares by numbers") };
                if fits(&numbers) {
                    return numbers;
                }
            }
            wanted.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, settled).await.unwrap_or_else(|_| unreachable!("waited in vain until {what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_three_partitions_and_hand_over() {
    let Some(broker) = Kind::Kafka.address("two_members_share_three_partitions_and_hand_over") else { return };
    let prefix = prefix();
    let (log, other) = (open(&broker, &prefix).await, open(&broker, &prefix).await);
    let spec = TopicSpec { name: format!("{prefix}.t"), partitions: 3, retention: Retention::Keep };
    log.create_topics(&[spec]).await.unwrap();
    let all = BTreeSet::from([0, 1, 2]);

    let first = log.join("sink.graph").await.unwrap();
    settles(&*first, "one member has all", |numbers| *numbers == all).await;
    let second = other.join("sink.graph").await.unwrap();
    // The second one gets nothing before the first has let it go.
    let mut wanted = first.wanted();
    let given_up = timeout(
        PATIENCE,
        wanted.wait_for(|told| matches!(told, Some(Assignment { share: Share::Partitions(numbers), .. }) if numbers.len() < 3)),
    );
    given_up.await.expect("the first one is asked to give up").unwrap();
    let mut others = second.wanted();
    let early = timeout(A_WHILE, others.wait_for(|told| told.as_ref().is_some_and(|told| !is_empty(&told.share)))).await;
    assert!(early.is_err(), "the first one still works on it: {early:?}");
    let (kept, got) = tokio::join!(
        settles(&*first, "the first one keeps some", |numbers| (1..=2).contains(&numbers.len())),
        settles(&*second, "the second one gets some", |numbers| (1..=2).contains(&numbers.len())),
    );
    assert!(kept.is_disjoint(&got) && kept.union(&got).copied().collect::<BTreeSet<_>>() == all, "{kept:?} and {got:?}");

    // another stage's members are another group
    let elsewhere = log.join("sink.vector").await.unwrap();
    settles(&*elsewhere, "another stage has all", |numbers| *numbers == all).await;

    second.leave().await;
    settles(&*first, "the rest comes back", |numbers| *numbers == all).await;
}

/// A worker that was killed and comes back under its own name, while the brokers still believe in the former one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_takes_the_place_of_the_former_one_of_its_name_at_once() {
    let Some(broker) = Kind::Kafka.address("a_member_takes_the_place_of_the_former_one_of_its_name_at_once") else { return };
    let prefix = prefix();
    // Longer than this test may take: it is not waited for that the former one is given up.
    let long = ["session.timeout.ms", "max.poll.interval.ms"].map(|name| (name.to_owned(), "600000".to_owned()));
    let named = || KafkaOptions {
        instance: Some("clinic-1".to_owned()),
        properties: long.clone().into(),
        ..KafkaOptions::new(&broker, &prefix)
    };
    let (log, again) = (KafkaLog::open(named()).await.unwrap(), KafkaLog::open(named()).await.unwrap());
    let spec = TopicSpec { name: format!("{prefix}.t"), partitions: 3, retention: Retention::Keep };
    log.create_topics(&[spec]).await.unwrap();
    let all = BTreeSet::from([0, 1, 2]);
    let former = log.join("fold").await.unwrap();
    settles(&*former, "the former one has all", |numbers| *numbers == all).await;
    // It ends without a word to the brokers, as named members do.
    former.leave().await;
    let later = again.join("fold").await.unwrap();
    settles(&*later, "it gets what the former one had", |numbers| *numbers == all).await;
}

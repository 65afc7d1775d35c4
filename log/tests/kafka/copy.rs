//! Another log copied to a real broker: times, offsets, who may open it meanwhile, and what is left alone.

use std::sync::Arc;

use tidemark_log::kafka::{CopyTarget, KafkaLog, KafkaOptions};
use tidemark_log::{Append, ConsumerPosition, Log, LogError, LogIdentity, ReadLimit, Retention, TopicSpec};
use tidemark_test_support::Kind;
use uuid::Uuid;

use crate::place::{open, prefix};

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 1 << 20 };
/// Long ago, and within a thousandth of a second.
const TIME: i64 = 1_500_000_000_123_456;

/// A log that is copied here.
struct Copy {
    options: KafkaOptions,
    identity: LogIdentity,
    topic: Arc<str>,
}

impl Copy {
    fn new(test: &str) -> Option<Self> {
        let prefix = prefix();
        let options = KafkaOptions::new(Kind::Kafka.address(test)?, &prefix);
        let identity = LogIdentity { id: Uuid::new_v4(), generation: 3 };
        Some(Self { options, identity, topic: format!("{prefix}.changes.customer").into() })
    }

    fn specs(&self) -> [TopicSpec; 1] {
        [TopicSpec { name: self.topic.to_string(), partitions: 2, retention: Retention::Keep }]
    }

    async fn target(&self) -> CopyTarget {
        let target = CopyTarget::open(self.options.clone(), self.identity).await.unwrap();
        target.prepare(&self.specs()).await.unwrap();
        target
    }

    /// Puts records with these values, each a second after the one before, at these offsets of partition 1.
    async fn put(&self, target: &CopyTarget, offset: u64, values: &[&str]) -> Result<(), LogError> {
        let (mut append, mut times) = (Append::default(), Vec::new());
        for (value, number) in values.iter().zip(offset..) {
            append.record(&self.topic, 1, b"K", |out| out.extend_from_slice(value.as_bytes()));
            times.push(TIME + i64::try_from(number).unwrap() * 1_000_000);
        }
        target.put(append, times, offset).await
    }

    async fn open(&self) -> Result<KafkaLog, LogError> {
        KafkaLog::open(self.options.clone()).await
    }
}

fn is_unfinished(opened: Result<KafkaLog, LogError>) -> bool {
    matches!(opened, Err(LogError::Settings(text)) if text.contains("not finished; run `tidemark log copy --from embedded --to kafka`"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_keep_their_times_and_offsets() {
    let Some(copy) = Copy::new("records_keep_their_times_and_offsets") else { return };
    let target = copy.target().await;
    copy.put(&target, 0, &["a", "b", "c"]).await.unwrap();
    let position =
        ConsumerPosition { consumer: "fold".to_owned(), topic: copy.topic.to_string(), partition: 1, from: 0, next: 2 };
    let mut append = Append::default();
    append.position(position);
    target.log().append(append).await.unwrap();
    assert!(is_unfinished(copy.open().await) && is_unfinished(KafkaLog::open_existing(copy.options.clone()).await));
    assert_eq!(target.finish(&copy.specs(), 3).await.unwrap(), copy.identity);

    let log = copy.open().await.unwrap();
    assert_eq!(log.identity(), copy.identity);
    assert_eq!(log.positions("fold").await.unwrap(), [(copy.topic.to_string(), 1, 2)]);
    // checks the topics' settings too: they are what they always are
    log.create_topics(&copy.specs()).await.unwrap();
    let mut append = Append::default();
    append.record(&copy.topic, 1, b"K", |out| out.extend_from_slice(b"d"));
    assert_eq!(log.append(append).await.unwrap(), [3], "what moves positions takes no offset of the records");
    let batch = log.read(&copy.topic, 1, 0, ALL).await.unwrap();
    let found: Vec<_> = batch.iter().map(|record| (record.offset, record.timestamp, record.value)).collect();
    let at = |number: i64| TIME / 1000 * 1000 + number * 1_000_000;
    assert_eq!(found[..3], [(0, at(0), &b"a"[..]), (1, at(1), b"b"), (2, at(2), b"c")]);
    assert!(found[3].1 > at(1_000_000), "a new record has the broker's time: {}", found[3].1);
    assert_eq!(log.offset_at(&copy.topic, 1, at(1)).await.unwrap(), 1);

    let again = CopyTarget::open(copy.options.clone(), copy.identity).await.unwrap();
    assert_eq!((again.finished(), again.log().identity()), (Some(3), copy.identity));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_broken_off_is_gone_on_with() {
    let Some(mut copy) = Copy::new("a_copy_that_was_broken_off_is_gone_on_with") else { return };
    let target = copy.target().await;
    copy.put(&target, 0, &["a", "b"]).await.unwrap();
    drop(target);
    // a store was filled meanwhile from a log that was restored twice
    copy.identity.generation += 2;
    let target = copy.target().await;
    assert_eq!((target.finished(), target.log().bounds(&copy.topic, 1).await.unwrap().end), (None, 2));
    copy.put(&target, 2, &["c"]).await.unwrap();
    target.finish(&copy.specs(), 3).await.unwrap();
    let log = copy.open().await.unwrap();
    assert_eq!((log.identity(), log.bounds(&copy.topic, 1).await.unwrap().end), (copy.identity, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_of_the_copy_is_refused() {
    let Some(copy) = Copy::new("what_is_not_of_the_copy_is_refused") else { return };
    let target = copy.target().await;
    copy.put(&target, 0, &["a", "b"]).await.unwrap();
    let Err(LogError::Settings(text)) = copy.put(&target, 1, &["b"]).await else { panic!("it landed elsewhere") };
    assert!(text.contains("not the beginning of what is copied there") && text.contains("--delete --topic"), "{text}");

    let prefix = prefix();
    let other = open(&copy.options.brokers, &prefix).await;
    let options = KafkaOptions::new(&copy.options.brokers, &prefix);
    let Err(LogError::Settings(text)) = CopyTarget::open(options.clone(), copy.identity).await else { panic!("a log is there") };
    assert!(text.contains("there is a log already") && text.contains(&other.identity().id.to_string()), "{text}");
    assert_eq!(KafkaLog::open_existing(options).await.unwrap().identity(), other.identity(), "it is as it was");
}

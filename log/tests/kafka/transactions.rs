//! Transactions on a real broker: what a former owner leaves behind, and what nobody must see.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidemark_log::kafka::KafkaLog;
use tidemark_log::{Append, ConsumerPosition, Log, LogError, ReadLimit, Retention, TopicSpec};
use tidemark_test_support::Kind;

use crate::place::{open, prefix};

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 1 << 20 };
const PATIENCE: Duration = Duration::from_secs(30);

fn append(topic: &str, partition: u32, value: &str) -> Append {
    let mut append = Append::default();
    append.record(&topic.into(), partition, b"key", |out| out.extend(value.bytes()));
    append
}

fn moving(mut append: Append, topic: &str, partition: u32, from: u64, next: u64) -> Append {
    append.position(ConsumerPosition { consumer: "fold".to_owned(), topic: topic.to_owned(), partition, from, next });
    append
}

async fn with_topic(broker: &str, prefix: &str, partitions: u32) -> (KafkaLog, String) {
    let log = open(broker, prefix).await;
    let topic = format!("{prefix}.t");
    log.create_topics(&[TopicSpec { name: topic.clone(), partitions, retention: Retention::Keep }]).await.unwrap();
    (log, topic)
}

async fn values(log: &KafkaLog, topic: &str, offset: u64) -> (Vec<String>, Option<u64>) {
    let batch = log.read(topic, 0, offset, ALL).await.unwrap();
    (batch.iter().map(|record| String::from_utf8_lossy(record.value).into_owned()).collect(), batch.next_offset())
}

/// A worker of the same transactional id that stops in the middle of a transaction.
fn zombie(broker: &str, id: &str, topic: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("transactional.id", id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(topic).partition(0).key("key").payload("of the zombie")).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombies_open_transaction_is_ended_by_a_take_over() {
    let Some(broker) = Kind::Kafka.address("a_zombies_open_transaction_is_ended_by_a_take_over") else { return };
    let prefix = prefix();
    let (log, topic) = with_topic(&broker, &prefix, 1).await;
    let zombie = {
        let (broker, id, topic) = (broker.clone(), format!("{prefix}-fold-0"), topic.clone());
        tokio::task::spawn_blocking(move || zombie(&broker, &id, &topic)).await.unwrap()
    };
    let offsets = log.append(append(&topic, 0, "behind it")).await.unwrap();
    assert_eq!(offsets, [1], "the zombie's record has the first offset");
    assert_eq!(log.bounds(&topic, 0).await.unwrap().end, 0, "readers stand before the open transaction");

    log.take_over("fold", 0).await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(values(&log, &topic, 0).await.0, ["behind it"]);
    assert!(started.elapsed() < Duration::from_secs(5), "readers go on at once: {:?}", started.elapsed());
    let commit = tokio::task::spawn_blocking(move || zombie.commit_transaction(PATIENCE)).await.unwrap();
    let fenced = |error: &KafkaError| {
        matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch))
            || matches!(error, KafkaError::Transaction(error) if error.is_fatal())
    };
    assert!(commit.as_ref().is_err_and(fenced), "the zombie is fenced: {commit:?}");
    let (found, next) = values(&log, &topic, 0).await;
    assert_eq!(found, ["behind it"]);
    assert_eq!(next, Some(log.bounds(&topic, 0).await.unwrap().end), "a reader that read all stands at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_owner_is_stale_and_leaves_nothing() {
    let Some(broker) = Kind::Kafka.address("a_former_owner_is_stale_and_leaves_nothing") else { return };
    let prefix = prefix();
    let (mine, topic) = with_topic(&broker, &prefix, 3).await;
    let other = open(&broker, &prefix).await;
    mine.append(moving(append(&topic, 0, "1"), &topic, 0, 0, 5)).await.unwrap();
    other.take_over("fold", 0).await.unwrap();
    let stale = mine.append(moving(append(&topic, 0, "2"), &topic, 0, 5, 6)).await;
    assert!(matches!(stale, Err(LogError::Stale { expected: 5, found: 5, .. })), "{stale:?}");
    // other partition numbers are another owner's affair
    mine.append(moving(append(&topic, 1, "1"), &topic, 1, 0, 7)).await.unwrap();
    other.append(moving(append(&topic, 0, "3"), &topic, 0, 5, 8)).await.unwrap();
    assert_eq!(values(&mine, &topic, 0).await.0, ["1", "3"]);
    let mut positions = other.positions("fold").await.unwrap();
    positions.sort();
    assert_eq!(positions, [(topic.clone(), 0, 8), (topic.clone(), 1, 7)]);
    let both = moving(moving(append(&topic, 0, "x"), &topic, 0, 8, 9), &topic, 1, 7, 8);
    assert!(matches!(other.append(both).await, Err(LogError::Fatal { .. })), "one transaction, one partition number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_transaction_is_passed_unseen() {
    let Some(broker) = Kind::Kafka.address("an_aborted_transaction_is_passed_unseen") else { return };
    let prefix = prefix();
    let (log, topic) = with_topic(&broker, &prefix, 1).await;
    log.append(append(&topic, 0, "before")).await.unwrap();
    assert_eq!(values(&log, &topic, 0).await, (vec!["before".to_owned()], Some(1)));
    {
        let (broker, id, topic) = (broker.clone(), format!("{prefix}-other"), topic.clone());
        tokio::task::spawn_blocking(move || zombie(&broker, &id, &topic).abort_transaction(PATIENCE)).await.unwrap().unwrap();
    }
    // The coordinator answers before its marker stands in the partition.
    let started = std::time::Instant::now();
    while log.bounds(&topic, 0).await.unwrap().end < 3 {
        assert!(started.elapsed() < PATIENCE, "the aborted record and its marker");
        tokio::task::yield_now().await;
    }
    // the reader that stands there is led past them, and one that begins anew as well
    assert_eq!(values(&log, &topic, 1).await, (vec![], Some(3)));
    assert_eq!(values(&log, &topic, 3).await, (vec![], None));
    assert_eq!(values(&open(&broker, &prefix).await, &topic, 1).await, (vec![], Some(3)));
    log.append(append(&topic, 0, "after")).await.unwrap();
    assert_eq!(values(&log, &topic, 3).await, (vec!["after".to_owned()], Some(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_another_numbers_open_transaction_is_waited_for() {
    let Some(broker) = Kind::Kafka.address("what_stands_behind_another_numbers_open_transaction_is_waited_for") else { return };
    let prefix = prefix();
    let (log, topic) = with_topic(&broker, &prefix, 1).await;
    let zombie = {
        let (broker, id, topic) = (broker.clone(), format!("{prefix}-fold-1"), topic.clone());
        tokio::task::spawn_blocking(move || zombie(&broker, &id, &topic)).await.unwrap()
    };
    log.append(append(&topic, 0, "committed behind it")).await.unwrap();

    let newcomer = open(&broker, &prefix).await;
    assert_eq!(values(&newcomer, &topic, 0).await.0, Vec::<String>::new(), "it is not to be seen yet");
    newcomer.include_pending(&topic, 0).await.unwrap();
    let reading = tokio::spawn({
        let topic = topic.clone();
        async move { values(&newcomer, &topic, 0).await.0 }
    });
    log.take_over("fold", 1).await.unwrap();
    assert_eq!(reading.await.unwrap(), ["committed behind it"]);
    drop(zombie);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_taken_over_while_another_one_has_its_positions_under_way() {
    let Some(broker) = Kind::Kafka.address("a_number_is_taken_over_while_another_one_has_its_positions_under_way") else {
        return;
    };
    let prefix = prefix();
    let (log, topic) = with_topic(&broker, &prefix, 2).await;
    log.take_over("fold", 0).await.unwrap();
    log.append(moving(append(&topic, 0, "one"), &topic, 0, 0, 1)).await.unwrap();
    let zombie = {
        let (broker, prefix, topic) = (broker.clone(), prefix.clone(), topic.clone());
        tokio::task::spawn_blocking(move || {
            let zombie = zombie(&broker, &format!("{prefix}-fold-1"), &topic);
            let group: BaseConsumer =
                ClientConfig::new().set("bootstrap.servers", &broker).set("group.id", format!("{prefix}-fold")).create().unwrap();
            let mut positions = TopicPartitionList::new();
            positions.add_partition_offset(&topic, 1, Offset::Offset(7)).unwrap();
            zombie.send_offsets_to_transaction(&positions, &group.group_metadata().unwrap(), PATIENCE).unwrap();
            zombie
        })
        .await
        .unwrap()
    };
    let newcomer = open(&broker, &prefix).await;
    assert_eq!(newcomer.take_over("fold", 0).await.unwrap(), [(topic, 0, 1)]);
    drop(zombie);
}

//! Topics on a real broker: the settings they get, and complaints about others.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Append, Log, LogError, ReadLimit, Retention, TopicSpec};
use tidemark_test_support::Kind;

use crate::place::{open, prefix};

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 1 << 20 };

async fn make(broker: &str, name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    for made in admin.create_topics([&topic], &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_settings_is_complained_about() {
    let Some(broker) = Kind::Kafka.address("a_topic_with_other_settings_is_complained_about") else { return };
    let prefix = prefix();
    let log = open(&broker, &prefix).await;
    let name = format!("{prefix}.changes.customer");
    make(
        &broker,
        &name,
        &[("retention.ms", "604800000"), ("max.message.bytes", "8388608"), ("message.timestamp.type", "LogAppendTime")],
    )
    .await;
    let refused = log.create_topics(&[TopicSpec { name: name.clone(), partitions: 1, retention: Retention::Keep }]).await;
    let Err(LogError::Settings(text)) = refused else { panic!("{refused:?}") };
    let expected = format!(
        "topic {name} has retention.ms=604800000, -1 is needed: kafka-configs.sh --bootstrap-server {broker} --alter \
         --entity-type topics --entity-name {name} --add-config retention.ms=-1"
    );
    assert_eq!(text, expected, "larger records are no harm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_everything_and_makes_nothing() {
    let Some(broker) = Kind::Kafka.address("a_check_says_everything_and_makes_nothing") else { return };
    let prefix = prefix();
    let spec = |name: &str, partitions| TopicSpec { name: format!("{prefix}.{name}"), partitions, retention: Retention::Keep };
    let log = open(&broker, &prefix).await;
    log.create_topics(&[spec("good", 2)]).await.unwrap();
    make(&broker, &format!("{prefix}.bad"), &[("retention.ms", "604800000"), ("message.timestamp.type", "LogAppendTime")]).await;
    let specs = [spec("good", 2), spec("bad", 1), spec("missing", 1)];
    let problems = log.check_topics(&specs).await.unwrap();
    assert!(problems.iter().all(|problem| problem.contains(".bad has")) && problems.len() == 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("retention.ms=604800000, -1 is needed")), "{problems:?}");
    assert_eq!(log.topics().await.unwrap().len(), 2, "a check makes no topic");

    let grown = log.check_topics(&[spec("good", 3)]).await.unwrap();
    assert!(grown.len() == 1 && grown[0].contains("has 2 partitions, log.partitions is 3"), "{grown:?}");
    let more = KafkaOptions { replication: 3, ..KafkaOptions::new(&broker, &prefix) };
    let replicated = KafkaLog::open_existing(more.clone()).await.unwrap();
    let problems = replicated.check_topics(&[spec("good", 2)]).await.unwrap();
    assert!(problems.iter().any(|problem| problem.contains("has 1 replicas, log.replication is 3")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("min.insync.replicas=1, at least 2 is needed")), "{problems:?}");
    let refused = KafkaLog::open(more).await;
    assert!(matches!(&refused, Err(LogError::Settings(text)) if text.contains("replicas")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_agree_on_the_identity() {
    let Some(broker) = Kind::Kafka.address("two_processes_agree_on_the_identity") else { return };
    let prefix = prefix();
    let missing = KafkaLog::open_existing(KafkaOptions::new(&broker, &prefix)).await;
    assert!(matches!(missing, Err(LogError::Damaged(_))), "{missing:?}");
    let (one, two) = tokio::join!(open(&broker, &prefix), open(&broker, &prefix));
    assert_eq!(one.identity(), two.identity());
    let raised = one.raise_generation(3).await.unwrap();
    let again = KafkaLog::open_existing(KafkaOptions::new(&broker, &prefix)).await.unwrap();
    assert_eq!((again.identity(), raised.generation, raised.id), (raised, 3, one.identity().id));
    assert_eq!(again.topics().await.unwrap(), [], "the adapter's own topics are no part of the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_is_read_across_its_gaps() {
    let Some(broker) = Kind::Kafka.address("a_compacted_topic_is_read_across_its_gaps") else { return };
    let prefix = prefix();
    let log = open(&broker, &prefix).await;
    let name = format!("{prefix}.progress");
    // segments end at once, so that the broker has something to compact
    let settings = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "8388608"),
        ("message.timestamp.type", "LogAppendTime"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    make(&broker, &name, &settings).await;
    log.create_topics(&[TopicSpec { name: name.clone(), partitions: 1, retention: Retention::Compact }]).await.unwrap();
    let topic = name.as_str().into();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = 0;
    for round in 0_u64.. {
        let mut append = Append::default();
        append.record(&topic, 0, b"same", |out| out.extend(round.to_string().bytes()));
        last = log.append(append).await.unwrap()[0];
        // a handle of its own each time: it begins at offset 0
        let fresh = open(&broker, &prefix).await;
        let (mut offsets, mut next) = (Vec::new(), 0);
        // one read may end where a segment does
        while next <= last {
            let batch = fresh.read(&name, 0, next, ALL).await.unwrap();
            offsets.extend(batch.iter().map(|record| record.offset));
            next = batch.next_offset().expect("there is more to read");
        }
        assert_eq!((offsets.last(), next), (Some(&last), last + 1));
        if offsets[0] > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the broker compacts nothing");
    }
    let first = log.read(&name, 0, 0, ReadLimit { records_max: 1, bytes_max: 1 }).await.unwrap().get(0).offset;
    assert!(first > 0 && first <= last, "the first records are gone: {first} of {last}");
}

//! Several readers of one topic in one process.

use tidemark_log::{Append, Log, ReadLimit, Retention, TopicSpec};
use tidemark_test_support::Kind;

use crate::place::{open, prefix};

const ALL: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 1 << 20 };
/// One reader is seldom so late that the other one notices.
const ROUNDS: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_reader_has_seen_another_one_finds() {
    let Some(broker) = Kind::Kafka.address("what_one_reader_has_seen_another_one_finds") else { return };
    let prefix = prefix();
    let (log, elsewhere) = (open(&broker, &prefix).await, open(&broker, &prefix).await);
    let topic = format!("{prefix}.t");
    log.create_topics(&[TopicSpec { name: topic.clone(), partitions: 1, retention: Retention::Keep }]).await.unwrap();
    let name = topic.as_str().into();
    for round in 0..ROUNDS {
        let mut append = Append::default();
        append.record(&name, 0, b"key", |out| out.extend(round.to_string().bytes()));
        elsewhere.append(append).await.unwrap();
        // Nothing but this reader has told this process of the record.
        while log.read(&topic, 0, round, ALL).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let again = log.read(&topic, 0, round, ALL).await.unwrap();
        assert_eq!((again.len(), again.next_offset()), (1, Some(round + 1)), "round {round}");
    }
}

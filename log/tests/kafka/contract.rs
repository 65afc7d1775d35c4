//! The contract of the port on Kafka, each case under a prefix of its own.

use std::sync::Arc;

use async_trait::async_trait;
use tidemark_log::contract::{Compaction, Fixture, run_all};
use tidemark_log::{Append, Bounds, ConsumerPosition, Log, LogError, LogIdentity, ReadLimit, RecordBatch, TopicSpec};
use tidemark_test_support::Kind;
use tokio::sync::watch;

use crate::place::{open, prefix};

struct Kafka {
    broker: String,
    prefix: String,
}

/// The suite's short topic names under the log's prefix.
struct Prefixed<L> {
    log: L,
    prefix: String,
}

impl<L> Prefixed<L> {
    fn full(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    fn short(&self, topic: &str) -> String {
        topic.strip_prefix(&format!("{}.", self.prefix)).expect("topics of this log only").to_owned()
    }

    fn spec(&self, spec: &TopicSpec) -> TopicSpec {
        TopicSpec { name: self.full(&spec.name), ..spec.clone() }
    }
}

#[async_trait]
impl<L: Log> Log for Prefixed<L> {
    fn identity(&self) -> LogIdentity {
        self.log.identity()
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(&topics.iter().map(|spec| self.spec(spec)).collect::<Vec<_>>()).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        Ok(self.log.topics().await?.into_iter().map(|(topic, count)| (self.short(&topic), count)).collect())
    }

    async fn append(&self, append: Append) -> Result<Vec<u64>, LogError> {
        let mut full = Append::default();
        for record in append.records() {
            full.record(&self.full(record.topic).into(), record.partition, record.key, |out| out.extend(record.value));
        }
        for position in append.positions() {
            full.position(ConsumerPosition { topic: self.full(&position.topic), ..position.clone() });
        }
        self.log.append(full).await
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        self.log.read(&self.full(topic), partition, offset, limit).await
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        self.log.bounds(&self.full(topic), partition).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        self.log.offset_at(&self.full(topic), partition, time).await
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        let positions = self.log.positions(consumer).await?;
        Ok(positions.into_iter().map(|(topic, partition, next)| (self.short(&topic), partition, next)).collect())
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.log.appended()
    }
}

#[async_trait]
impl Fixture for Kafka {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(Prefixed { log: open(&self.broker, &self.prefix).await, prefix: self.prefix.clone() })
    }

    /// Compaction is the broker's, in its own time, and never touches what was written last.
    async fn compact(&self) -> Compaction {
        Compaction::InItsTime
    }

    /// Two producers' batches may lie between the records of one append that came in no transaction.
    fn appends_lie_together(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_kafka_keeps_the_contract() {
    let Some(broker) = Kind::Kafka.address("the_log_on_kafka_keeps_the_contract") else { return };
    run_all(&|| Box::new(Kafka { broker: broker.clone(), prefix: prefix() })).await;
}

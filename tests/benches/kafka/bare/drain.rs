//! A topic's records, drained by a thread of its own, one batch ahead of whoever takes them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidemark_log::RecordBatch;

/// How long a record that must be there may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins to drain `count` records of partition 0 from an offset on.
pub(super) fn start(brokers: &str, topic: String, from: u64, count: u64, batch: usize) -> Receiver<Result<RecordBatch>> {
    let (sender, receiver) = sync_channel(1);
    let brokers = brokers.to_owned();
    std::thread::spawn(move || {
        if let Err(error) = drain(&brokers, &topic, from, count, batch, &sender) {
            // Nobody takes it any more when the writer failed, which says more.
            let _ = sender.send(Err(error));
        }
    });
    receiver
}

fn drain(brokers: &str, topic: &str, from: u64, count: u64, size: usize, sender: &SyncSender<Result<RecordBatch>>) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}-bare"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        // the default of a second stalls a reader each time that its queue is full
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "8192")
        .create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Offset(i64::try_from(from)?))?;
    consumer.assign(&place)?;
    let mut left = usize::try_from(count)?;
    while left > 0 {
        let mut batch = RecordBatch::default();
        while batch.len() < size.min(left) {
            let message = consumer.poll(PATIENCE).with_context(|| format!("{topic} ends {left} records early"))??;
            let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
            batch.push(u64::try_from(message.offset())?, 0, key, value);
        }
        left -= batch.len();
        if sender.send(Ok(batch)).is_err() {
            break;
        }
    }
    Ok(())
}

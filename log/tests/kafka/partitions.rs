//! Our partitioner against that of the clients in other languages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tidemark_log::{Log, Retention, TopicSpec, partition};
use tidemark_test_support::Kind;

use crate::place::{open, prefix};

const PARTITIONS: u32 = 7;

/// Key and partition.
type Sent = (Vec<u8>, u32);

/// Notes which partition each key went to.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<Sent>>>);

impl ClientContext for Noted {}

impl ProducerContext for Noted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().map_err(|(error, _)| error).unwrap();
        let place = (message.key().unwrap().to_vec(), u32::try_from(message.partition()).unwrap());
        self.0.lock().unwrap().push(place);
    }
}

/// `murmur2_random` is what the library has for the default of the Java and Python clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_where_other_clients_send_them() {
    let Some(broker) = Kind::Kafka.address("keys_go_where_other_clients_send_them") else { return };
    let prefix = prefix();
    let log = open(&broker, &prefix).await;
    let topic = format!("{prefix}.t");
    log.create_topics(&[TopicSpec { name: topic.clone(), partitions: PARTITIONS, retention: Retention::Keep }]).await.unwrap();
    let noted = Noted::default();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker).set("partitioner", "murmur2_random");
    let producer: BaseProducer<Noted> = FromClientConfigAndContext::from_config_and_context(&config, noted.clone()).unwrap();
    let keys = (0..200).map(|number| format!("C{number:0width$}|客户", width = number % 9));
    for key in keys {
        producer.send(BaseRecord::to(&topic).key(&key).payload("")).map_err(|(error, _)| error).unwrap();
    }
    tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(30))).await.unwrap().unwrap();
    let noted = noted.0.lock().unwrap();
    assert_eq!(noted.len(), 200);
    for (key, sent_to) in &*noted {
        assert_eq!(partition::of(key, PARTITIONS), *sent_to, "{}", String::from_utf8_lossy(key));
    }
}

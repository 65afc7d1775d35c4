//! Clients of the broker: their settings, their log lines, their errors, their end.
//!
//! Guarantees: a setting of ours that correctness rests on wins over one that is passed through; a client is destroyed on a thread
//! of its own under a watchdog, since the library is known to hang there at times, and a hang must not hold up the process.
//! All calls of the library that wait do so off the async threads.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::port::LogError;
use crate::record::RECORD_BYTES_MAX;

/// What a record may have around it: batch header, record header, headers.
pub(super) const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 10);
/// Longest wait for an answer of the broker before the step counts as failed.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// How long the end of a client may take before it is left behind.
const END_OF_CLIENT: Duration = Duration::from_secs(5);

/// Passes the library's lines on to our log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(facility, text, "kafka client");
            }
            _ => tracing::debug!(facility, text, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Quiet {}

pub(super) type Consumer = BaseConsumer<Quiet>;

/// What every client is made with.
#[derive(Clone)]
pub(super) struct Settings {
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn new(brokers: &str, properties: &BTreeMap<String, String>) -> Self {
        Self { brokers: brokers.to_owned(), properties: properties.clone() }
    }

    /// As configured.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A client's settings: what helps, over it what the user passes through, over that what correctness rests on.
    fn config(&self, helpful: &[(&str, &str)], firm: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "tidemark");
        // a broker that comes back is noticed soon
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        config.set("socket.keepalive.enable", "true");
        for (name, value) in helpful {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in firm {
            config.set(*name, *value);
        }
        config
    }

    /// A consumer that is never a member of its group: it reads where it is told to, or looks at offsets.
    pub(super) fn consumer(&self, group: &str, queue_bytes: usize) -> Result<Consumer, LogError> {
        self.isolated_consumer(group, queue_bytes, "read_committed")
    }

    /// The same with what is not committed yet, or never will be.
    pub(super) fn consumer_of_everything(&self, group: &str, queue_bytes: usize) -> Result<Consumer, LogError> {
        self.isolated_consumer(group, queue_bytes, "read_uncommitted")
    }

    fn isolated_consumer(&self, group: &str, queue_bytes: usize, isolation: &str) -> Result<Consumer, LogError> {
        let queue_kilobytes = (queue_bytes >> 10).max(1).to_string();
        let helpful = [
            // the default of a second stalls a reader each time that its queue is full
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.error.backoff.ms", "50"),
            // a reading position that moves waits for the fetch under way
            ("fetch.wait.max.ms", "50"),
            ("retry.backoff.ms", "20"),
            ("queued.max.messages.kbytes", queue_kilobytes.as_str()),
        ];
        let firm = [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", isolation),
            ("auto.offset.reset", "earliest"),
            ("allow.auto.create.topics", "false"),
            ("check.crcs", "true"),
        ];
        let config = self.config(&helpful, &firm);
        let config = without_membership(config);
        Consumer::from_config_and_context(&config, Quiet).map_err(|error| failed("making a consumer", error))
    }

    /// A member of a group.
    pub(super) fn member<C: ConsumerContext + 'static>(
        &self,
        group: &str,
        instance: Option<&str>,
        context: C,
    ) -> Result<BaseConsumer<C>, LogError> {
        // The classic protocol gives a worker that was killed its share back as soon as its next process joins under the same
        // instance id; the newer one lets it wait until the old session has ended.
        let helpful = [
            ("group.protocol", "classic"),
            // how late a member learns that something moves
            ("heartbeat.interval.ms", "1000"),
            ("fetch.error.backoff.ms", "50"),
            ("retry.backoff.ms", "20"),
        ];
        let firm = [("group.id", group), ("enable.auto.commit", "false"), ("allow.auto.create.topics", "false")];
        let mut config = self.config(&helpful, &firm);
        match config.get("group.protocol") {
            Some("classic") => _ = config.set("partition.assignment.strategy", "cooperative-sticky"),
            // There the brokers say how often.
            _ => _ = config.remove("heartbeat.interval.ms"),
        }
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        BaseConsumer::from_config_and_context(&config, context).map_err(|error| failed("making a group member", error))
    }

    /// A producer that repeats nothing and loses no order; in transactions when it has an id.
    pub(super) fn producer<P: FromClientConfigAndContext<C>, C: ClientContext>(
        &self,
        transactional_id: Option<&str>,
        context: C,
    ) -> Result<P, LogError> {
        let bytes_max = MESSAGE_BYTES_MAX.to_string();
        let helpful = [
            ("compression.type", "lz4"),
            // appends come in one piece; waiting for more would only add to their latency
            ("linger.ms", "1"),
            // meeting a coordinator that is still busy with the last transaction must not cost a tenth of a second
            ("retry.backoff.ms", "2"),
            ("message.timeout.ms", "30000"),
            // what may wait for the broker, in all
            ("queue.buffering.max.kbytes", "65536"),
            ("transaction.timeout.ms", "30000"),
        ];
        let mut firm = vec![("enable.idempotence", "true"), ("acks", "all"), ("message.max.bytes", bytes_max.as_str())];
        match transactional_id {
            Some(id) => firm.push(("transactional.id", id)),
            // A later record must not be durable when an earlier one of its partition is not: its number would raise the
            // high-water mark, and the earlier one would count as a repeat.
            None => firm.push(("enable.gapless.guarantee", "true")),
        }
        let config = without_membership(self.config(&helpful, &firm));
        P::from_config_and_context(&config, context).map_err(|error| failed("making a producer", error))
    }

    /// For topics and their settings.
    pub(super) fn admin(&self) -> Result<rdkafka::admin::AdminClient<Quiet>, LogError> {
        let config = without_membership(self.config(&[], &[]));
        FromClientConfigAndContext::from_config_and_context(&config, Quiet)
            .map_err(|error| failed("making an admin client", error))
    }
}

/// Without what speaks only to members of a group: the library refuses some of it elsewhere.
fn without_membership(mut config: ClientConfig) -> ClientConfig {
    const ONLY_MEMBERS: [&str; 6] = [
        "group.protocol",
        "group.remote.assignor",
        "group.instance.id",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
    ];
    for name in ONLY_MEMBERS {
        config.remove(name);
    }
    config
}

/// Destroys a client, and what is the client's, under the watchdog.
pub(super) fn retire<T: Send + 'static>(what: &'static str, client: T) {
    let (done, ended) = mpsc::channel();
    let spawned = std::thread::Builder::new().name("kafka-retire".to_owned()).spawn(move || {
        drop(client);
        // nobody listens any more when it took too long
        let _ = done.send(());
    });
    if spawned.is_ok() && ended.recv_timeout(END_OF_CLIENT).is_err() {
        tracing::warn!(what, "kafka client does not end; it is left behind");
    }
}

/// The same without waiting: for a client that nothing depends on any more.
pub(super) fn let_go<T: Send + 'static>(what: &'static str, client: T) {
    let spawned = std::thread::Builder::new().name("kafka-let-go".to_owned()).spawn(move || drop(client));
    if let Err(error) = spawned {
        tracing::warn!(what, %error, "kafka client ended in place");
    }
}

/// The class of an error: what time, a broker or another try may mend is `Unavailable`.
pub(super) fn failed(step: impl Into<String>, error: KafkaError) -> LogError {
    let step = step.into();
    let fatal = match &error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => true,
        _ => error.rdkafka_error_code().is_some_and(mends_never),
    };
    match fatal {
        true => LogError::Fatal { step, cause: Box::new(error) },
        false => LogError::Unavailable { step, cause: Box::new(error) },
    }
}

/// What only another configuration, other permissions or another record mend.
fn mends_never(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::InvalidArgument
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::UnsupportedVersion
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidReplicationFactor
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
    )
}

/// The broker's answer as a value, with the step that asked.
pub(super) fn answer<T>(step: impl Into<String>, result: KafkaResult<T>) -> Result<T, LogError> {
    result.map_err(|error| failed(step, error))
}

//! The log on Apache Kafka.
//!
//! Guarantees: the same as the port, with what brokers give: appends with positions are transactions that fence former owners,
//! appends without are idempotent and in order per partition; readers see what is committed; topics have the settings that the
//! promise rests on or are complained about; which log this is stands in its own first record. Beside a schema registry, records
//! are framed as its readers expect; whoever reads through the port sees no frame.
//! Relies on: brokers of version 4.0 or newer (`group.protocol=classic` passed through makes do with older ones), one prefix for
//! each log, and the record time of the brokers.
//! On failure: what a broker, a network or a new try may mend is `Unavailable`, a fenced transaction `Stale`.
//! Ends in order: followers, group members, readers, producers, each under a watchdog.
//! Deliberately not here: retention of what compaction supersedes, which is the brokers' work.

mod broker;
mod client;
mod copy;
mod delivery;
mod frames;
mod framing;
mod identity;
mod lanes;
mod member;
mod plain;
mod registry;
mod security;
mod topics;
mod transaction;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::blocking::blocking;
use crate::membership::Membership;
use crate::port::{Bounds, Log, LogError, LogIdentity, ReadLimit, Retention, TopicSchema, TopicSpec};
use crate::record::{Append, RecordBatch};
use crate::refusal::check_sizes;

use broker::Broker;
use client::Settings;
pub use copy::CopyTarget;
use frames::Frames;
use framing::Framing;
pub use framing::RegistryReport;
use identity::{Facts, Inner};
use lanes::Lanes;
use plain::PlainProducer;
pub use registry::RegistryOptions;
use topics::RecordTime;
use transaction::Transactions;

/// What one partition may hold fetched ahead, in bytes: less stalls readers, more costs memory in every stage and partition.
const QUEUE_BYTES: usize = 1 << 20;
/// A commit costs some 20 ms, most of it waiting for the coordinator: of an ordinary batch alone that would be a quarter.
const BATCHES_PER_COMMIT: usize = 8;
/// How often followers are woken without a reason: it bounds how late a reader notices that its place was given to another.
const TICK: Duration = Duration::from_millis(500);
/// How often owners are looked at whose positions were not written for long.
const RENEWAL_LOOK: Duration = Duration::from_secs(3600);

/// Where the brokers are and how the log behaves.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, several by commas.
    pub brokers: String,
    /// Start of every topic, group and transactional id of this log.
    pub prefix: String,
    /// Replicas of new topics.
    pub replication: u16,
    /// Further settings of the client library, passed through (`security.protocol`, …); may hold secrets.
    pub properties: BTreeMap<String, String>,
    /// The schema registry whose ids records are framed by; `None` = single-object encoding.
    pub registry: Option<RegistryOptions>,
    /// Names this worker among those of its stages (one per data folder), so that it gets its partitions back at once when it comes
    /// back, also after a kill. The price: others get them only after the brokers' session time-out, also when it stopped in order.
    pub instance: Option<String>,
    /// What one partition may hold fetched ahead, in bytes.
    pub queue_bytes: usize,
}

impl KafkaOptions {
    /// A log on these brokers, with one replica and nothing passed through.
    pub fn new(brokers: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: prefix.into(),
            replication: 1,
            properties: BTreeMap::new(),
            registry: None,
            instance: None,
            queue_bytes: QUEUE_BYTES,
        }
    }

    /// What of the properties this build cannot do, each with the remedy.
    pub fn problems(&self) -> Vec<String> {
        security::problems(&self.properties)
    }
}

impl fmt::Debug for KafkaOptions {
    /// Names of the properties only: values may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("replication", &self.replication)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// The log on Kafka.
pub struct KafkaLog {
    options: KafkaOptions,
    settings: Settings,
    identity: LogIdentity,
    appended: watch::Sender<u64>,
    ticking: JoinHandle<()>,
    lanes: Arc<Lanes>,
    frames: Arc<Frames>,
    framing: Framing,
    inner: Inner,
    plain: Arc<PlainProducer>,
    transactions: Arc<Transactions>,
    broker: Arc<Broker>,
}

impl KafkaLog {
    /// Opens the log; its identity is made when it has none.
    pub async fn open(options: KafkaOptions) -> Result<Self, LogError> {
        Self::start(options, Opening::MakeMissing).await.map(|(log, _)| log)
    }

    /// Opens a log that must be there already: for commands that only look.
    pub async fn open_existing(options: KafkaOptions) -> Result<Self, LogError> {
        Self::start(options, Opening::RefuseMissing).await.map(|(log, _)| log)
    }

    async fn start(options: KafkaOptions, opening: Opening) -> Result<(Self, copy::Found), LogError> {
        let settings = Settings::new(&options.brokers, &options.properties);
        let prefix = options.prefix.clone();
        let broker = Arc::new(Broker::new(&settings, &prefix)?);
        let plain = Arc::new(PlainProducer::new(&settings, &prefix));
        let topic = TopicSpec { name: identity::topic(&prefix), partitions: 1, retention: Retention::Compact };
        if !matches!(opening, Opening::RefuseMissing) {
            topics::create(&settings, &broker, options.replication, RecordTime::OfBrokers, &[topic]).await?;
        }
        let appended = watch::Sender::new(0);
        let frames = Arc::new(Frames::default());
        let lanes = Lanes::new(
            &settings,
            format!("{prefix}-read"),
            options.queue_bytes,
            Arc::clone(&broker),
            Arc::clone(&frames),
            appended.clone(),
        );
        let lanes = Arc::new(lanes);
        let inner = Inner { broker: Arc::clone(&broker), lanes: Arc::clone(&lanes), plain: Arc::clone(&plain), prefix };
        let (facts, identity, found) = match opening {
            Opening::CopyOf(log) => copy::look_or_begin(&inner, &options, log).await?,
            Opening::MakeMissing => {
                let (facts, identity) = inner.look_or_make().await?;
                (facts, identity, copy::Found::default())
            }
            Opening::RefuseMissing => {
                let facts = match inner.look(None).await {
                    Err(LogError::NoSuchTopic(_)) => Facts::default(),
                    facts => facts?,
                };
                let Some(identity) = facts.identity else {
                    let (prefix, brokers) = (&options.prefix, &options.brokers);
                    let text = format!("there is no log under the prefix `{prefix}` on {brokers}; `tidemark init` makes one");
                    return Err(LogError::Damaged(text));
                };
                (facts, identity, copy::Found::default())
            }
        };
        if !matches!(opening, Opening::CopyOf(_)) {
            copy::refuse_unfinished(&options, &facts, identity)?;
        }
        let framing = Framing::new(inner.clone(), options.registry.clone(), Arc::clone(&frames), facts)?;
        let transactions = Arc::new(Transactions::new(&settings, &options.prefix));
        let ticking = tokio::spawn(tick(appended.clone(), Arc::clone(&transactions)));
        let log =
            Self { options, settings, identity, appended, ticking, lanes, frames, framing, inner, plain, transactions, broker };
        Ok((log, found))
    }

    /// Raises the generation: for a log that was copied, restored or repartitioned. Handles opened before keep the old one.
    pub async fn raise_generation(&self, generation: u32) -> Result<LogIdentity, LogError> {
        let identity = LogIdentity { generation: generation.max(self.identity.generation), ..self.identity };
        self.inner.raise(identity).await?;
        Ok(identity)
    }

    /// What is wrong with those of the topics that are there, each with its remedy. Makes and changes nothing.
    pub async fn check_topics(&self, topics: &[TopicSpec]) -> Result<Vec<String>, LogError> {
        topics::check(&self.settings, &self.broker, self.options.replication, topics).await
    }

    /// What the schema registry knows of this log; `None` where none is configured.
    pub async fn check_registry(&self) -> Result<Option<RegistryReport>, LogError> {
        self.framing.check().await
    }

    /// Asks the broker off the async threads.
    async fn ask<T: Send + 'static>(
        &self,
        step: &'static str,
        question: impl FnOnce(&Broker) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let broker = Arc::clone(&self.broker);
        blocking(step, move || question(&broker)).await
    }

    /// Whether the topic is one of the adapter's own, which nobody reads as a part of the log.
    fn is_inner(&self, topic: &str) -> bool {
        topic == identity::topic(&self.options.prefix) || topic == member::topic(&self.options.prefix)
    }
}

/// What is expected of the log that is opened.
#[derive(Clone, Copy)]
enum Opening {
    /// Nothing: it is made where there is none.
    MakeMissing,
    /// It is there.
    RefuseMissing,
    /// It is not there yet, or it is an unfinished or finished copy of this log.
    CopyOf(LogIdentity),
}

async fn tick(appended: watch::Sender<u64>, transactions: Arc<Transactions>) {
    let mut ticks = tokio::time::interval(TICK);
    let mut renewals = tokio::time::interval(RENEWAL_LOOK);
    loop {
        tokio::select! {
            _ = ticks.tick() => appended.send_modify(|count| *count += 1),
            _ = renewals.tick() => {
                let transactions = Arc::clone(&transactions);
                if let Err(error) = tokio::task::spawn_blocking(move || transactions.renew()).await {
                    tracing::warn!(%error, "positions not renewed");
                }
            }
        }
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaLog")
            .field("options", &self.options)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn identity(&self) -> LogIdentity {
        self.identity
    }

    fn batches_per_commit(&self) -> usize {
        BATCHES_PER_COMMIT
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        topics::create(&self.settings, &self.broker, self.options.replication, RecordTime::OfBrokers, topics).await?;
        let partitions = topics.iter().map(|spec| spec.partitions).max().unwrap_or(0);
        member::prepare(&self.settings, &self.broker, &self.options, partitions).await
    }

    async fn topics(&self) -> Result<Vec<(String, u32)>, LogError> {
        let all = self.ask("listing topics", Broker::topics).await?;
        Ok(all.into_iter().filter(|(name, _)| !self.is_inner(name)).collect())
    }

    async fn append(&self, mut append: Append) -> Result<Vec<u64>, LogError> {
        if append.is_empty() {
            return Ok(Vec::new());
        }
        check_sizes(&append)?;
        self.frames.frame(&mut append);
        let (broker, plain, transactions) = (Arc::clone(&self.broker), Arc::clone(&self.plain), Arc::clone(&self.transactions));
        blocking("appending", move || {
            for record in append.records() {
                broker.require(record.topic, record.partition)?;
            }
            for position in append.positions() {
                broker.require(&position.topic, position.partition)?;
            }
            let offsets = match append.positions().is_empty() {
                true => plain.append(&append, &[])?,
                false => transactions.append(&append, &broker.topics_known()?)?,
            };
            for (record, offset) in append.records().zip(&offsets) {
                broker.raise(record.topic, record.partition, offset + 1);
            }
            Ok(offsets)
        })
        .await
    }

    async fn read(&self, topic: &str, partition: u32, offset: u64, limit: ReadLimit) -> Result<RecordBatch, LogError> {
        let mut from = offset;
        loop {
            let read = self.lanes.read(topic, partition, from, limit).await?;
            match read.unknown {
                // what came before it is handed out first
                Some(id) if read.batch.is_empty() => {
                    self.framing.learn(id).await?;
                    from = read.batch.next_offset().unwrap_or(from);
                }
                _ => return Ok(read.batch),
            }
        }
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, LogError> {
        let topic = topic.to_owned();
        self.ask("asking for bounds", move |broker| broker.bounds(&topic, partition)).await
    }

    async fn ends(&self, partitions: &[(Arc<str>, u32)]) -> Result<Vec<u64>, LogError> {
        let partitions = partitions.to_vec();
        self.ask("asking for the ends", move |broker| broker.ends(&partitions)).await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: i64) -> Result<u64, LogError> {
        let topic = topic.to_owned();
        self.ask("searching by time", move |broker| broker.offset_at(&topic, partition, time)).await
    }

    async fn positions(&self, consumer: &str) -> Result<Vec<(String, u32, u64)>, LogError> {
        let (broker, transactions, consumer) = (Arc::clone(&self.broker), Arc::clone(&self.transactions), consumer.to_owned());
        blocking("reading positions", move || transactions.positions(&consumer, &broker.topics_known()?)).await
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    async fn include_pending(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        let topic = topic.to_owned();
        self.ask("asking what is under way", move |broker| broker.include_pending(&topic, partition)).await
    }

    async fn take_over(&self, consumer: &str, partition: u32) -> Result<Vec<(String, u32, u64)>, LogError> {
        let (broker, transactions, consumer) = (Arc::clone(&self.broker), Arc::clone(&self.transactions), consumer.to_owned());
        blocking("taking over", move || transactions.take_over(&consumer, partition, &broker.topics_known()?)).await
    }

    async fn declare_schemas(&self, schemas: &[TopicSchema]) -> Result<(), LogError> {
        self.framing.declare(schemas).await
    }

    fn foreign_schemas(&self) -> Vec<String> {
        self.frames.foreign()
    }

    async fn join(&self, stage: &str) -> Result<Box<dyn Membership>, LogError> {
        let member = member::Member::join(&self.settings, &self.options, stage.to_owned());
        Ok(Box::new(member?))
    }
}

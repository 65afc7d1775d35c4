//! Membership of a stage's workers: a consumer group on a topic that holds nothing.
//!
//! The topic `<prefix>.work` has as many partitions as the entity topics; who is assigned number p of it works on number p of every
//! topic. Rebalancing is cooperative: only what moves is given up, and only once the worker has drained and committed it. Whoever is
//! slower than the wait allows is overtaken, which the fencing of transactions and stores makes safe.
//! The group is polled by a thread of its own, so that a long batch never costs the membership.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::KafkaOptions;
use super::broker::Broker;
use super::client::{ANSWER, Quiet, Settings, answer, failed, let_go, retire};
use super::topics::{self, RecordTime};
use crate::blocking::blocking;
use crate::membership::{Assignment, Membership};
use crate::port::{LogError, Retention, TopicSpec};
use crate::share::Share;

/// How long a revocation waits for the worker to drain: longer than a batch takes, shorter than the brokers wait for a member
/// that must give something up (the default of `max.poll.interval.ms` is 5 minutes).
const DRAIN: Duration = Duration::from_secs(30);
/// One wait of the polling thread: how late it notices that it shall leave.
const POLL: Duration = Duration::from_millis(100);

/// Pause before a member joins anew that the brokers would not have: two with one instance id would throw each other out for ever.
const ANEW: Duration = Duration::from_secs(1);

/// `<prefix>.work`.
pub(super) fn topic(prefix: &str) -> String {
    format!("{prefix}.work")
}

/// The topic that the groups share out, with at least so many partitions.
pub(super) async fn prepare(
    settings: &Settings,
    broker: &Arc<Broker>,
    options: &KafkaOptions,
    partitions: u32,
) -> Result<(), LogError> {
    if partitions == 0 {
        return Ok(());
    }
    let name = topic(&options.prefix);
    let asked = Arc::clone(broker);
    let found = blocking("listing topics", move || asked.topics()).await?;
    let found = found.iter().find(|(topic, _)| *topic == name).map(|(_, count)| *count);
    match found {
        None => {
            let spec = TopicSpec { name, partitions, retention: Retention::Compact };
            topics::create(settings, broker, options.replication, RecordTime::OfBrokers, &[spec]).await
        }
        Some(count) if count < partitions => {
            let admin = settings.admin()?;
            let wanted = NewPartitions::new(&name, partitions as usize);
            let made = admin.create_partitions([&wanted], &AdminOptions::new().request_timeout(Some(ANSWER))).await;
            for result in answer("adding partitions", made)? {
                result.map_err(|(topic, code)| failed(format!("adding partitions to {topic}"), KafkaError::AdminOp(code)))?;
            }
            let_go("admin client", admin);
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// A worker of a stage.
pub(super) struct Member {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    polling: Mutex<Option<JoinHandle<()>>>,
}

/// What the group's callbacks and the worker tell each other.
struct Shared {
    stage: String,
    wanted: watch::Sender<Option<Assignment>>,
    /// What the worker still works on.
    held: Mutex<BTreeSet<u32>>,
    released: Condvar,
    stop: Arc<AtomicBool>,
}

struct Rebalances {
    shared: Arc<Shared>,
}

impl Member {
    pub(super) fn join(settings: &Settings, options: &KafkaOptions, stage: String) -> Result<Self, LogError> {
        let group = format!("{}-{stage}-workers", options.prefix);
        let instance = options.instance.as_ref().map(|instance| format!("{instance}-{stage}"));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            stage,
            wanted: watch::Sender::new(None),
            held: Mutex::default(),
            released: Condvar::new(),
            stop: Arc::clone(&stop),
        });
        let step = || format!("joining group {group}");
        let (settings, topic, of, group) = (settings.clone(), topic(&options.prefix), Arc::clone(&shared), group.clone());
        let make = move || {
            let consumer = settings.member(&group, instance.as_deref(), Rebalances { shared: Arc::clone(&of) })?;
            answer(format!("joining group {group}"), consumer.subscribe(&[&topic]))?;
            Ok(consumer)
        };
        // what is wrong with the settings is said at once
        let consumer = make()?;
        let of = Arc::clone(&shared);
        let polling = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || poll(consumer, &make, &of));
        let polling = polling.map_err(|error| LogError::Fatal { step: step(), cause: Box::new(error) })?;
        Ok(Self { shared, stop, polling: Mutex::new(Some(polling)) })
    }

    /// Ends the polling thread, which leaves the group.
    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.shared.released.notify_all();
        let polling = self.polling.lock().unwrap_or_else(PoisonError::into_inner).take();
        if polling.is_some_and(|polling| polling.join().is_err()) {
            tracing::warn!(stage = %self.shared.stage, "group member ended by a panic");
        }
    }
}

/// Polls until the worker leaves. A member that the brokers will not have any more has lost everything and joins anew.
fn poll(mut consumer: BaseConsumer<Rebalances>, make: &dyn Fn() -> Result<BaseConsumer<Rebalances>, LogError>, shared: &Shared) {
    while !shared.stop.load(Ordering::Acquire) {
        match consumer.poll(POLL) {
            // the topic holds nothing; whatever somebody put there is none of ours
            None | Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(stage = %shared.stage, %error, "group member");
                std::thread::park_timeout(POLL);
            }
        }
        if let Some((code, reason)) = consumer.client().fatal_error() {
            tracing::warn!(stage = %shared.stage, %code, reason, "group member is out; it joins anew");
            shared.lose(&shared.wanted_numbers());
            match make() {
                Ok(another) => retire("group member", std::mem::replace(&mut consumer, another)),
                Err(error) => tracing::warn!(stage = %shared.stage, %error, "no new group member"),
            }
            std::thread::park_timeout(ANEW);
        }
    }
    // Stop polling, unsubscribe, and only then let it go: leaving needs the callbacks once more.
    consumer.unsubscribe();
    retire("group member", consumer);
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Membership for Member {
    fn wanted(&self) -> watch::Receiver<Option<Assignment>> {
        self.shared.wanted.subscribe()
    }

    fn holds(&self, share: &Share) {
        let mut held = self.shared.lock_held();
        *held = match share {
            // everything that this worker was ever given
            Share::All => return,
            Share::Partitions(numbers) => numbers.clone(),
        };
        self.shared.released.notify_all();
    }

    async fn leave(&self) {
        self.shared.lock_held().clear();
        let (stop, shared) = (Arc::clone(&self.stop), Arc::clone(&self.shared));
        stop.store(true, Ordering::Release);
        shared.released.notify_all();
        let polling = self.polling.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(polling) = polling
            && tokio::task::spawn_blocking(move || polling.join()).await.is_err()
        {
            tracing::warn!(stage = %self.shared.stage, "group member was not waited for");
        }
    }
}

impl Shared {
    fn lock_held(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted_numbers(&self) -> BTreeSet<u32> {
        match &*self.wanted.borrow() {
            Some(Assignment { share: Share::Partitions(numbers), .. }) => numbers.clone(),
            _ => BTreeSet::new(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<u32>, &mut u64)) {
        self.wanted.send_modify(|wanted| {
            let (mut numbers, mut losses) = match wanted.take() {
                Some(Assignment { share: Share::Partitions(numbers), losses }) => (numbers, losses),
                _ => (BTreeSet::new(), 0),
            };
            change(&mut numbers, &mut losses);
            *wanted = Some(Assignment { share: Share::Partitions(numbers), losses });
        });
    }

    /// Takes the numbers away from the worker and waits until it has let them go.
    fn revoke(&self, revoked: &BTreeSet<u32>) {
        self.change(|numbers, _| numbers.retain(|number| !revoked.contains(number)));
        let deadline = Instant::now() + DRAIN;
        let mut held = self.lock_held();
        while !held.is_disjoint(revoked) && !self.stop.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(stage = %self.stage, ?revoked, "worker does not drain in time; others take over what it holds");
                return;
            }
            held = self.released.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lose(&self, lost: &BTreeSet<u32>) {
        tracing::warn!(stage = %self.stage, ?lost, "partitions lost");
        self.change(|numbers, losses| {
            numbers.retain(|number| !lost.contains(number));
            *losses += 1;
        });
        self.lock_held().retain(|number| !lost.contains(number));
    }
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Quiet.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let numbers = numbers_of(partitions);
            tracing::info!(stage = %self.shared.stage, ?numbers, lost = consumer.assignment_lost(), "partitions revoked");
            match consumer.assignment_lost() {
                true => self.shared.lose(&numbers),
                false => self.shared.revoke(&numbers),
            }
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let numbers = numbers_of(partitions);
            tracing::info!(stage = %self.shared.stage, ?numbers, "partitions assigned");
            // held from now on: a revocation waits even for a worker that has not looked yet
            self.shared.lock_held().extend(&numbers);
            self.shared.change(|wanted, _| wanted.extend(numbers));
        }
    }
}

fn numbers_of(partitions: &TopicPartitionList) -> BTreeSet<u32> {
    partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

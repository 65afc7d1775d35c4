//! Topics are made with the settings that the promise rests on, or found with them, or complained about.
//!
//! Guarantees: nothing is made when anything of the call is refused; a topic that is there is never changed, but for whose clock
//! tells the time of its records, by a copy. A complaint names topic, setting, what was found, what is wanted, and the command that
//! puts it right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::broker::{Broker, Found};
use super::client::{ANSWER, MESSAGE_BYTES_MAX, Quiet, Settings, answer, failed, let_go};
use crate::blocking::blocking;
use crate::port::{LogError, Retention, TopicSpec};
use crate::refusal::{check_spec, refused_partitions};

/// How a setting is compared with what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Equal,
    AtLeast,
}

/// Whose clock tells the time of a topic's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordTime {
    /// That of the brokers, as everywhere but during a copy.
    OfBrokers,
    /// The writer says it: records that are copied keep theirs.
    OfWriter,
}

/// The setting that says so.
const RECORD_TIME: &str = "message.timestamp.type";
/// How far a writer's time may be ahead of the broker's clock.
const TIME_AHEAD_MAX: &str = "message.timestamp.after.max.ms";
/// As far as it can be.
const AHEAD_MAX: &str = "9223372036854775807";
/// Between two looks whether the brokers know something.
const LOOK: Duration = Duration::from_millis(20);

/// One setting of a topic.
struct Setting {
    name: &'static str,
    wanted: String,
    rule: Rule,
}

impl RecordTime {
    fn value(self) -> &'static str {
        match self {
            // it never falls within a partition, whoever's clock wrote
            Self::OfBrokers => "LogAppendTime",
            Self::OfWriter => "CreateTime",
        }
    }
}

/// Makes what is missing and checks what is there.
pub(super) async fn create(
    settings: &Settings,
    broker: &Arc<Broker>,
    replication: u16,
    time: RecordTime,
    specs: &[TopicSpec],
) -> Result<(), LogError> {
    for spec in specs {
        check_spec(spec)?;
    }
    let existing = existing(broker).await?;
    for spec in specs {
        if let Some(found) = existing.get(&spec.name)
            && found.partitions != spec.partitions
        {
            return Err(refused_partitions(spec, found.partitions));
        }
    }
    let admin = settings.admin()?;
    let complaints = complaints(settings, &admin, replication, time, specs, &existing).await?;
    if !complaints.is_empty() {
        return Err(LogError::Settings(complaints.join("; ")));
    }
    let missing: Vec<_> = specs.iter().filter(|spec| !existing.contains_key(&spec.name)).collect();
    if !missing.is_empty() {
        let wanted: Vec<(&TopicSpec, Vec<Setting>)> =
            missing.iter().map(|spec| (*spec, wanted(spec, replication, time))).collect();
        let topics: Vec<NewTopic<'_>> = wanted.iter().map(|(spec, wanted)| new_topic(spec, wanted, replication)).collect();
        let made = answer("creating topics", admin.create_topics(&topics, &patience()).await)?;
        for result in made {
            match result {
                // another process was quicker; its settings are looked at the next time
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(failed(format!("creating topic {topic}"), KafkaError::AdminOp(code)));
                }
            }
        }
        wait_until_usable(broker, &missing).await?;
    }
    let_go("admin client", admin);
    Ok(())
}

/// What is wrong with those of the topics that are there, each with its remedy. Makes and changes nothing.
pub(super) async fn check(
    settings: &Settings,
    broker: &Arc<Broker>,
    replication: u16,
    specs: &[TopicSpec],
) -> Result<Vec<String>, LogError> {
    let existing = existing(broker).await?;
    let admin = settings.admin()?;
    let mut problems = complaints(settings, &admin, replication, RecordTime::OfBrokers, specs, &existing).await?;
    let_go("admin client", admin);
    for spec in specs {
        if let Some(found) = existing.get(&spec.name)
            && found.partitions != spec.partitions
        {
            problems.push(format!(
                "topic {} has {} partitions, log.partitions is {}: set it to what there is; keys would change their partition",
                spec.name, found.partitions, spec.partitions
            ));
        }
    }
    Ok(problems)
}

async fn existing(broker: &Arc<Broker>) -> Result<BTreeMap<String, Found>, LogError> {
    let asked = Arc::clone(broker);
    blocking("listing topics", move || asked.look()).await
}

/// What is wrong with the settings of those that are there.
async fn complaints(
    settings: &Settings,
    admin: &AdminClient<Quiet>,
    replication: u16,
    time: RecordTime,
    specs: &[TopicSpec],
    existing: &BTreeMap<String, Found>,
) -> Result<Vec<String>, LogError> {
    let there: Vec<_> = specs.iter().filter_map(|spec| Some((spec, existing.get(&spec.name)?))).collect();
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = there.iter().map(|(spec, _)| spec.name.as_str()).collect();
    let mut complaints = Vec::new();
    for ((spec, found), described) in there.iter().zip(describe(admin, &names).await?) {
        if found.replicas < u32::from(replication) {
            complaints.push(format!(
                "topic {} has {} replicas, log.replication is {replication}: give it more by kafka-reassign-partitions.sh, or set \
                 log.replication to what there is",
                spec.name, found.replicas
            ));
        }
        complaints.extend(complain(settings, spec, replication, time, &described));
    }
    Ok(complaints)
}

fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// The settings of these topics, in their order.
async fn describe(admin: &AdminClient<Quiet>, topics: &[&str]) -> Result<Vec<ConfigResource>, LogError> {
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let found = answer("reading the settings of topics", admin.describe_configs(&resources, &patience()).await)?;
    let of = |(topic, found): (&&str, Result<ConfigResource, RDKafkaErrorCode>)| {
        found.map_err(|code| failed(format!("reading the settings of {topic}"), KafkaError::AdminOp(code)))
    };
    topics.iter().zip(found).map(of).collect()
}

/// Says whose clock tells the time of what is appended to these topics from now on, and waits until the broker knows it.
pub(super) async fn keep_time(settings: &Settings, topics: &[&str], time: RecordTime) -> Result<(), LogError> {
    let admin = settings.admin()?;
    let started = Instant::now();
    loop {
        let found = if topics.is_empty() { Vec::new() } else { describe(&admin, topics).await? };
        let differs =
            |found: &ConfigResource| found.get(RECORD_TIME).and_then(|entry| entry.value.as_deref()) != Some(time.value());
        let others: Vec<_> = topics.iter().zip(&found).filter(|(_, found)| differs(found)).collect();
        let Some((first, _)) = others.first() else { break };
        if started.elapsed() > ANSWER {
            let step = format!("setting {RECORD_TIME} of {first}");
            return Err(LogError::Unavailable { step, cause: "the broker does not show it yet".into() });
        }
        let changes: Vec<_> = others.iter().map(|(topic, found)| with_time(topic, found, time)).collect();
        for done in answer("changing the settings of topics", admin.alter_configs(&changes, &patience()).await)? {
            done.map_err(|(of, code)| failed(format!("setting {RECORD_TIME} of {of:?}"), KafkaError::AdminOp(code)))?;
        }
        tokio::time::sleep(LOOK).await;
    }
    let_go("admin client", admin);
    Ok(())
}

/// All that was said of the topic, with another time: what is left out here would go back to the broker's default.
fn with_time<'a>(topic: &'a str, found: &'a ConfigResource, time: RecordTime) -> AlterConfig<'a> {
    let said = |entry: &&ConfigEntry| entry.source == ConfigSource::DynamicTopic && entry.name != TIME_AHEAD_MAX;
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for entry in found.entries.iter().filter(said) {
        if let Some(value) = &entry.value {
            change = change.set(&entry.name, value);
        }
    }
    if time == RecordTime::OfWriter {
        change = change.set(TIME_AHEAD_MAX, AHEAD_MAX);
    }
    change.set(RECORD_TIME, time.value())
}

/// A topic that was made is not known to all at once, nor led as soon as it is known.
async fn wait_until_usable(broker: &Arc<Broker>, specs: &[&TopicSpec]) -> Result<(), LogError> {
    let counts: BTreeMap<String, u32> = specs.iter().map(|spec| (spec.name.clone(), spec.partitions)).collect();
    let all = |spec: &&TopicSpec| {
        let name: Arc<str> = spec.name.as_str().into();
        (0..spec.partitions).map(move |partition| (Arc::clone(&name), partition))
    };
    let partitions: Vec<_> = specs.iter().flat_map(all).collect();
    let started = Instant::now();
    loop {
        let (asked, counts, partitions) = (Arc::clone(broker), counts.clone(), partitions.clone());
        let usable = blocking("looking for new topics", move || {
            let found: BTreeMap<String, u32> = asked.topics()?.into_iter().collect();
            if let Some(unknown) = counts.iter().find(|(name, count)| found.get(*name) != Some(count)) {
                let step = format!("waiting until topic {} can be used", unknown.0);
                return Err(LogError::Unavailable { step, cause: "the broker does not list it yet".into() });
            }
            asked.ends(&partitions).map(|_| ())
        });
        match usable.await {
            Err(LogError::Unavailable { .. }) if started.elapsed() < ANSWER => {}
            usable => return usable,
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn new_topic<'a>(spec: &'a TopicSpec, wanted: &'a [Setting], replication: u16) -> NewTopic<'a> {
    let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
    let mut topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(i32::from(replication)));
    for setting in wanted {
        topic = topic.set(setting.name, &setting.wanted);
    }
    topic
}

/// What the promise rests on.
fn wanted(spec: &TopicSpec, replication: u16, time: RecordTime) -> Vec<Setting> {
    let equal = |name, wanted: &str| Setting { name, wanted: wanted.to_owned(), rule: Rule::Equal };
    let at_least = |name, wanted: String| Setting { name, wanted, rule: Rule::AtLeast };
    let mut settings = vec![
        at_least("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
        // with one replica lost an acknowledged record is still there, and appends go on
        at_least("min.insync.replicas", if replication >= 3 { "2" } else { "1" }.to_owned()),
        equal(RECORD_TIME, time.value()),
        equal("unclean.leader.election.enable", "false"),
    ];
    if time == RecordTime::OfWriter {
        // the clock of who wrote the records first may have been wrong
        settings.push(at_least(TIME_AHEAD_MAX, AHEAD_MAX.to_owned()));
    }
    match spec.retention {
        Retention::Keep => {
            settings.push(equal("cleanup.policy", "delete"));
            settings.push(equal("retention.ms", "-1"));
            settings.push(equal("retention.bytes", "-1"));
        }
        Retention::Compact => settings.push(equal("cleanup.policy", "compact")),
        Retention::Age(age) => {
            settings.push(equal("cleanup.policy", "delete"));
            settings.push(at_least("retention.ms", age.as_millis().to_string()));
            settings.push(equal("retention.bytes", "-1"));
        }
    }
    settings
}

/// What is wrong with a topic that is there.
fn complain(settings: &Settings, spec: &TopicSpec, replication: u16, time: RecordTime, found: &ConfigResource) -> Vec<String> {
    let brokers = settings.brokers();
    let mut complaints = Vec::new();
    for setting in wanted(spec, replication, time) {
        let Some(value) = found.get(setting.name).and_then(|entry| entry.value.as_deref()) else { continue };
        if !fits(&setting, value) {
            complaints.push(format!(
                "topic {} has {}={value}, {}{} is needed: kafka-configs.sh --bootstrap-server {brokers} --alter \
                 --entity-type topics --entity-name {} --add-config {}={}",
                spec.name,
                setting.name,
                if setting.rule == Rule::AtLeast { "at least " } else { "" },
                setting.wanted,
                spec.name,
                setting.name,
                setting.wanted
            ));
        }
    }
    complaints
}

fn fits(setting: &Setting, found: &str) -> bool {
    match setting.rule {
        Rule::Equal => found == setting.wanted,
        Rule::AtLeast => match (found.parse::<i64>(), setting.wanted.parse::<i64>()) {
            // -1 is "for ever"
            (Ok(found), Ok(wanted)) => found >= wanted || found == -1,
            _ => false,
        },
    }
}

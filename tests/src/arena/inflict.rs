//! How each fault is done, and how long it takes until there is a new commit afterwards.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Log, Membership};
use tidemark_test_support::Kind;
use tidemark_test_support::proxy::{Call, Fate};

use super::{Arena, Fault};
use crate::on_servers::{OnServers, SHARED_STAGES};
use crate::runtime::finish;
use crate::wait;

/// Longer than the session that the test's brokers give to a member (tests/servers/kafka).
const BEYOND_THE_SESSION: Duration = Duration::from_secs(9);
const REBALANCE_EVERY: Duration = Duration::from_secs(2);
const REBALANCES: usize = 5;
/// Calls of a worker to a store that meet a bad fate in one run.
const BAD_FATES: usize = 5;

impl Arena {
    /// Does it; how long after the first answer of what was away the first new commit was seen.
    pub(super) fn inflict(&mut self, fault: Fault) -> Option<Duration> {
        match fault {
            Fault::WorkerKilled(number) => {
                self.worker(number).kill();
                self.pass_up_to(Duration::from_secs(2));
                Some(self.come_back(number))
            }
            Fault::WorkerGone(number) => {
                self.worker(number).kill();
                wait::pass(BEYOND_THE_SESSION);
                self.start_worker(number);
                None
            }
            Fault::WorkerStopped(number) => {
                self.worker(number).signal(Signal::STOP);
                wait::pass(BEYOND_THE_SESSION);
                self.load();
                self.worker(number).signal(Signal::CONT);
                None
            }
            Fault::Killed(kind) => {
                self.own(kind).kill();
                self.load();
                self.pass_up_to(Duration::from_secs(1));
                Some(self.bring_back(kind))
            }
            Fault::Away(kind) => {
                let since = Instant::now();
                self.own(kind).kill();
                self.load();
                self.until_others_are_done(stage_of(kind));
                wait::pass(self.away.saturating_sub(since.elapsed()));
                Some(self.bring_back(kind))
            }
            Fault::Answers(kind) => {
                let since = if kind == Kind::Qdrant { self.answer_wrongly(kind) } else { self.spoil_answers(kind) };
                let before = self.committed(stage_of(kind));
                self.load();
                Some(self.until_committed(stage_of(kind), before, since))
            }
            Fault::Rebalances => {
                self.rebalance();
                None
            }
        }
    }

    /// Starts a killed worker again, with work for it; how long its first commit takes from the start of the process.
    fn come_back(&mut self, number: usize) -> Duration {
        self.load();
        let since = Instant::now();
        self.start_worker(number);
        wait::until("the worker to commit something", wait::PATIENCE, || {
            SHARED_STAGES.iter().any(|stage| self.committed(stage)[number] > 0.0).then(|| since.elapsed())
        })
    }

    /// Starts a killed server again; how long after its first answer the stage that needs it has a new commit.
    fn bring_back(&mut self, kind: Kind) -> Duration {
        let stage = stage_of(kind);
        // Nothing can have been committed there since the kill.
        let before = self.committed(stage);
        let (servers, own) = (&self.servers, self.own(kind));
        let since = std::thread::scope(|threads| {
            let answering = threads.spawn(|| first_answer(kind, servers));
            threads.spawn(|| own.start_again());
            answering.join().expect("it answers")
        });
        self.until_committed(stage, before, since)
    }

    /// Waits until the stores that are not away have everything.
    fn until_others_are_done(&mut self, away: &str) {
        let switch = format!("TIDEMARK__SINKS__{}__ENABLED", away.trim_start_matches("sink.").to_uppercase());
        let place = &mut self.places[0];
        place.set(&switch, "false");
        let outcome = place.run(&["up", "--once", "--timeout", "60"]);
        place.unset(&switch);
        assert_eq!(outcome.code, Some(0), "{away} alone is away: {}{}", outcome.stdout, outcome.stderr);
    }

    /// Bad fates for the next writing calls of the second worker to this store; when the last of them was met.
    fn spoil_answers(&mut self, kind: Kind) -> Instant {
        let mut fates: Vec<Fate> = (0..BAD_FATES)
            .map(|_| match self.random.below(if repeats_are_seen(kind) { 5 } else { 4 }) {
                0 => Fate::Cut,
                1 | 2 => Fate::CutAfter,
                3 => Fate::Delay(Duration::from_millis(self.random.between(50, 1_500))),
                _ => Fate::Repeat,
            })
            .collect();
        let last: Arc<Mutex<Option<Instant>>> = Arc::default();
        let told = Arc::clone(&last);
        let mut gaps: Vec<u64> = (0..BAD_FATES).map(|_| self.random.below(3)).collect();
        self.proxy(kind).rule(move |call| {
            if !writes(kind, call) {
                return Fate::Pass;
            }
            match gaps.last_mut() {
                Some(gap) if *gap > 0 => {
                    *gap -= 1;
                    Fate::Pass
                }
                Some(_) => {
                    gaps.pop();
                    if gaps.is_empty() {
                        *told.lock().expect("nobody panics with it") = Some(Instant::now());
                    }
                    fates.pop().unwrap_or(Fate::Pass)
                }
                None => Fate::Pass,
            }
        });
        self.load_until("the calls to meet their fates", || *last.lock().expect("nobody panics with it"))
    }

    /// The server is told to give bad answers to the next writing calls of whoever makes them; when the last was given.
    fn answer_wrongly(&mut self, kind: Kind) -> Instant {
        let mut lines = String::new();
        for _ in 0..BAD_FATES {
            lines.push_str(&"pass\n".repeat(self.random.below(3) as usize));
            lines.push_str(["before 14 gone\n", "after 14 gone\n", "after 4 Timeout expired\n"][self.random.below(3) as usize]);
        }
        let faults = self.own(kind).folder().join("faults");
        std::fs::write(&faults, lines).expect("the server's folder can be written");
        self.load_until("the server to give bad answers", || (!faults.exists()).then(Instant::now))
    }

    /// More and more work, until that was seen.
    fn load_until<T>(&mut self, what: &str, seen: impl Fn() -> Option<T>) -> T {
        wait::until(what, wait::PATIENCE * 2, || {
            self.load();
            wait::pass(Duration::from_millis(500));
            seen()
        })
    }

    /// A member that does nothing joins all stages, and leaves again.
    fn rebalance(&mut self) {
        let options = match self.servers.log() {
            crate::second::LogPlace::Kafka { brokers, prefix } => KafkaOptions::new(brokers, prefix),
            crate::second::LogPlace::Embedded(_) => unreachable!("an arena is on servers"),
        };
        let log = finish(KafkaLog::open_existing(options)).expect("the log opens");
        for _ in 0..REBALANCES {
            let members: Vec<Box<dyn Membership>> =
                SHARED_STAGES.iter().map(|stage| finish(log.join(stage)).expect("it joins")).collect();
            self.load();
            wait::pass(REBALANCE_EVERY);
            for member in members {
                finish(member.leave());
            }
            self.load();
            wait::pass(REBALANCE_EVERY);
        }
    }
}

/// The stage that cannot commit without this server.
fn stage_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Kafka => "fold",
        Kind::Postgres => "sink.relational",
        Kind::Nebula => "sink.graph",
        Kind::Qdrant => "sink.vector",
        Kind::ClickHouse => "sink.analytics",
        Kind::SchemaRegistry => unreachable!("it has no part here"),
    }
}

/// Whether a client of this server can tell that an answer came twice. Postgres numbers no answers.
fn repeats_are_seen(kind: Kind) -> bool {
    kind != Kind::Postgres
}

/// Whether this call changes the store.
fn writes(kind: Kind, call: Call<'_>) -> bool {
    let words: &[&str] = match kind {
        Kind::Postgres => &["COMMIT"],
        Kind::Nebula => &["INSERT ", "DELETE ", "UPDATE "],
        _ => &["INSERT"],
    };
    words.iter().any(|word| call.contains(word))
}

/// When the server answers for the first time: a broker a produce, a store a query.
fn first_answer(kind: Kind, servers: &OnServers) -> Instant {
    if kind == Kind::Kafka {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers.endpoint(kind)).set("reconnect.backoff.max.ms", "100");
        let producer: BaseProducer = config.create().expect("plain settings");
        let record = BaseRecord::<(), str>::to(PROBE).payload("");
        producer.send(record).map_err(|(error, _)| error).expect("there is room for one record");
        producer.flush(wait::PATIENCE * 2).expect("the broker answers");
        return Instant::now();
    }
    wait::until("the server to answer", wait::PATIENCE * 2, || servers.answers(kind).then(Instant::now))
}

/// A topic for nothing else.
const PROBE: &str = "probe";

/// Makes the topic by which it is asked whether the broker answers a produce.
pub(super) fn make_probe(servers: &OnServers) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers.endpoint(Kind::Kafka));
    let admin: AdminClient<DefaultClientContext> = config.create().expect("plain settings");
    let topic = NewTopic::new(PROBE, 1, TopicReplication::Fixed(1));
    for made in finish(admin.create_topics([&topic], &AdminOptions::new())).expect("the broker answers") {
        made.unwrap_or_else(|(topic, code)| panic!("{topic}: {code}"));
    }
}

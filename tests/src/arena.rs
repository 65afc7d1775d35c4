//! Two workers on servers of their own, under load, and what goes wrong there.
//!
//! Three partitions; both workers fold and fill the stores, the first one takes files in. The second one reaches its stores through
//! proxies. A run is one fault: files of a round are dropped, the fault strikes while they are on their way, more files come, and
//! in the end result files, `state` and all stores must say what the oracle says, with no dead letter. All is drawn from the seed;
//! what the clock adds is where exactly the fault strikes.

mod inflict;

use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tidemark_test_support::Kind;
use tidemark_test_support::proxy::{Fate, Framing, Proxy};

use crate::generator::rounds::{Drop, World};
use crate::judge::{Expected, Judge};
use crate::on_servers::{KINDS, OnServers, run_with};
use crate::place::Place;
use crate::random::Random;
use crate::readers::Readers;
use crate::running::{Running, metric};
use crate::servers::Own;
use crate::wait;

/// Times the records of the oracle's world: so many that a fault finds them on their way.
const LOAD: u64 = 4;
/// What a store, a broker or a worker may take from its first answer to the first new commit.
pub const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a worker, which is started again before others may take its share.
    WorkerKilled(usize),
    /// `kill -9` of a worker, which comes back long after others took its share.
    WorkerGone(usize),
    /// A worker is stopped beyond its session, while others take its share, and goes on.
    WorkerStopped(usize),
    /// `kill -9` of a server, which is started again at once.
    Killed(Kind),
    /// `kill -9` of a store, which stays away for long; the others must not mind.
    Away(Kind),
    /// The connections between a worker and a store are cut, and answers cut, late or doubled, once the store has done it. Qdrant,
    /// whose calls share connections, answers wrongly by itself.
    Answers(Kind),
    /// A worker comes or goes every two seconds.
    Rebalances,
}

/// One of each that a place may suffer; first those that are over soon.
pub const FAULTS: [Fault; 19] = [
    Fault::WorkerKilled(0),
    Fault::Killed(Kind::Nebula),
    Fault::WorkerStopped(1),
    Fault::Answers(Kind::Qdrant),
    Fault::Killed(Kind::Postgres),
    Fault::Killed(Kind::Kafka),
    Fault::Answers(Kind::Postgres),
    Fault::Away(Kind::ClickHouse),
    Fault::Answers(Kind::Nebula),
    Fault::Rebalances,
    Fault::Answers(Kind::ClickHouse),
    Fault::Killed(Kind::ClickHouse),
    Fault::WorkerKilled(1),
    Fault::Away(Kind::Postgres),
    Fault::Killed(Kind::Qdrant),
    Fault::WorkerGone(1),
    Fault::Away(Kind::Nebula),
    Fault::Away(Kind::Qdrant),
    Fault::WorkerStopped(0),
];

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What went wrong.
    pub fault: Fault,
    /// From the first answer of what was away to the first new commit there; `None` where nothing was away, or nothing was left to
    /// commit.
    pub resumed: Option<Duration>,
    /// From the drop of the first file to the agreement of everything.
    pub whole: Duration,
}

/// See above.
pub struct Arena {
    // In the order in which they must end.
    workers: [Option<Running>; 2],
    proxies: Vec<(Kind, Proxy)>,
    places: [Place; 2],
    readers: Readers,
    servers: OnServers,
    own: Vec<(Kind, Own)>,
    world: World,
    judge: Judge,
    random: Random,
    round: u64,
    pending: Vec<Expected>,
    away: Duration,
    /// In this run.
    broker_was_killed: bool,
}

impl Arena {
    /// Starts it; `None` where such servers are not to be had. A store stays away for `away`.
    pub fn start(test: &str, seed: u64, away: Duration) -> Option<Self> {
        let mut servers = OnServers::shared(test)?;
        let starting = KINDS.map(|kind| {
            let test = test.to_owned();
            std::thread::spawn(move || Own::start(kind, &test).map(|own| (kind, own)))
        });
        let own: Option<Vec<_>> = starting.into_iter().map(|starting| starting.join().expect("the server starts")).collect();
        let own = own?;
        for (kind, server) in &own {
            servers = servers.with(*kind, server.address());
        }
        inflict::make_probe(&servers);
        let proxies = vec![
            (Kind::Postgres, before(servers.endpoint(Kind::Postgres), Framing::Pieces)),
            (Kind::Nebula, before(servers.endpoint(Kind::Nebula), Framing::Length)),
            (Kind::ClickHouse, before(servers.endpoint(Kind::ClickHouse), Framing::Pieces)),
        ];
        let mut through = servers.clone();
        for (kind, proxy) in &proxies {
            through = through.through(*kind, &proxy.address);
        }
        let places = [servers.worker(), through.worker()];
        let mut arena = Self {
            workers: [None, None],
            proxies,
            readers: servers.readers(),
            places,
            servers,
            own,
            world: World::sized(seed, LOAD),
            judge: Judge::default(),
            random: Random::new(!seed),
            round: 0,
            pending: Vec::new(),
            away,
            broker_was_killed: false,
        };
        for number in [0, 1] {
            arena.start_worker(number);
            arena.until_answers(number);
        }
        let drops = arena.world.round(0, &arena.judge.oracle);
        arena.drop_files(&drops);
        arena.settle("before anything went wrong");
        Some(arena)
    }

    /// One run.
    ///
    /// # Panics
    /// When anything is not as the oracle says, or it does not go on in time.
    pub fn run(&mut self, fault: Fault) -> Figure {
        let started = Instant::now();
        let drops = self.world.round(self.round, &self.judge.oracle);
        self.drop_files(&drops);
        self.pass_up_to(Duration::from_millis(1_500));
        self.broker_was_killed = fault == Fault::Killed(Kind::Kafka);
        let resumed = self.inflict(fault);
        self.settle(&format!("{fault:?}"));
        Figure { fault, resumed, whole: started.elapsed() }
    }

    /// Drops the files of another round, while the one before is on its way.
    fn load(&mut self) {
        let drops = self.world.dated_round(self.round, &self.judge.oracle);
        self.drop_files(&drops);
    }

    fn drop_files(&mut self, drops: &[Drop]) {
        self.round += 1;
        for drop in drops {
            self.places[0].put(&drop.path, &drop.bytes);
        }
        self.pending.extend(self.judge.fold(drops));
    }

    /// Waits until all that was dropped is decided and in the stores, and holds everything against the oracle.
    fn settle(&mut self, after: &str) {
        let place = &self.places[0];
        let mut outcome = place.run(&["up", "--once", "--timeout", "60"]);
        if !self.supervise().is_empty() {
            outcome = self.places[0].run(&["up", "--once", "--timeout", "60"]);
        }
        let place = &self.places[0];
        let said = || self.workers.iter().flatten().map(Running::output).collect::<String>();
        assert_eq!(outcome.code, Some(0), "{after}: {}{}; the workers: {}", outcome.stdout, outcome.stderr, said());
        self.judge.check_results(place, &std::mem::take(&mut self.pending));
        self.judge.check_stores(place, &self.readers);
        let letters = place.succeed(&["dead-letters", "list", "--json"]);
        assert_eq!(letters, "", "{after}: nothing was refused");
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let worker = worker.as_mut().expect("both run again");
            let ended = worker.ended();
            assert!(ended.is_none(), "{after}: worker {number} ended, {ended:?}: {}", worker.output());
        }
    }

    fn start_worker(&mut self, number: usize) {
        let source: &[&str] = if number == 0 { &["connector.file"] } else { &[] };
        self.workers[number] = Some(self.places[number].start(&run_with(source)));
    }

    /// Waits until it answers.
    fn until_answers(&self, number: usize) {
        let port = self.places[number].port();
        wait::until("the worker to answer", wait::PATIENCE, || crate::running::http_get(port, "/health"));
    }

    fn worker(&mut self, number: usize) -> &mut Running {
        self.workers[number].as_mut().expect("it runs")
    }

    fn pass_up_to(&mut self, most: Duration) {
        wait::pass(Duration::from_micros(self.random.below(most.as_micros() as u64)));
    }

    /// What this stage has committed so far, by worker; 0 for one that does not answer.
    fn committed(&self, stage: &str) -> [f64; 2] {
        let of = |place: &Place| metric(place.port(), "tidemark_records_out_total", &[&format!("\"{stage}\"")]);
        [&self.places[0], &self.places[1]].map(|place| of(place).unwrap_or(0.0))
    }

    /// Waits for a commit of this stage after those of `before`; how long after `since` it was seen.
    fn until_committed(&mut self, stage: &str, mut before: [f64; 2], since: Instant) -> Duration {
        wait::until(&format!("a new commit of {stage}"), wait::PATIENCE, || {
            for number in self.supervise() {
                before[number] = 0.0;
            }
            let now = self.committed(stage);
            now.iter().zip(before).any(|(now, before)| *now > before).then(|| since.elapsed())
        })
    }

    /// Starts workers again that the client library of Kafka has ended because a broker came back (librdkafka's issue 5280), as
    /// whatever supervises them does; which ones. Any other end of a worker is found by [`Self::settle`].
    fn supervise(&mut self) -> Vec<usize> {
        use std::os::unix::process::ExitStatusExt;
        let mut started = Vec::new();
        for number in [0, 1] {
            let ended = self.workers[number].as_mut().and_then(Running::ended);
            let by_the_library = ended.is_some_and(|status| status.signal() == Some(Signal::SEGV.as_raw()));
            if self.broker_was_killed && by_the_library {
                println!("the client library ended worker {number}; it is started again");
                self.start_worker(number);
                started.push(number);
            }
        }
        started
    }

    fn own(&self, kind: Kind) -> &Own {
        &self.own.iter().find(|(known, _)| *known == kind).expect("it was started").1
    }

    fn proxy(&self, kind: Kind) -> &Proxy {
        &self.proxies.iter().find(|(known, _)| *known == kind).expect("it was started").1
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resumed = self.resumed.map_or("-".to_owned(), |resumed| format!("{:.2} s", resumed.as_secs_f64()));
        write!(
            formatter,
            "{:<28} first new commit after {resumed:>7}, whole run {:.1} s",
            format!("{:?}", self.fault),
            self.whole.as_secs_f64()
        )
    }
}

fn before(upstream: &str, framing: Framing) -> Proxy {
    Proxy::start(upstream, framing, |_| Fate::Pass)
}

//! Faults by chance (C42): one to three at once, from a seed that is printed and gives the same
//! schedule again.

use std::time::Duration;

use beamline_test_support::{PostgresServer, Weather};
use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::database::on;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::Behaviour;
use crate::scenario::{Scenario, scenarios};
use crate::setting::BusSetting;
use crate::stage::{Stage, provider};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C42" "faults by chance" by_chance;
};

const SECOND: Duration = Duration::from_secs(1);
/// Pings go unanswered for so long before a connection counts as dead.
const DETECTED: Duration = Duration::from_secs(6);
/// After the bus is back.
const BACK: Duration = Duration::from_secs(2);
/// Until then a router that is told to has drained and ended.
const ENDS_WITHIN: Duration = Duration::from_secs(45);

/// In the order in which they end: a process that is started again needs its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    NatsKilled,
    NatsFrozen,
    SlowLink,
    Reset,
    RepliesVanish,
    PostgresKilled,
    PostgresFrozen,
    ModelKilled,
    ModelFrozen,
    GuardFrozen,
    ProviderSilent,
    RouterKilled,
    RouterFrozen,
    RouterToldToEnd,
}

const FAULTS: [Fault; 14] = [
    Fault::NatsKilled,
    Fault::NatsFrozen,
    Fault::SlowLink,
    Fault::Reset,
    Fault::RepliesVanish,
    Fault::PostgresKilled,
    Fault::PostgresFrozen,
    Fault::ModelKilled,
    Fault::ModelFrozen,
    Fault::GuardFrozen,
    Fault::ProviderSilent,
    Fault::RouterKilled,
    Fault::RouterFrozen,
    Fault::RouterToldToEnd,
];

/// What a fault befalls: what is dead cannot be frozen, and the link has one weather at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Nats,
    Link,
    Postgres,
    Model,
    Guard,
    Provider,
    Router,
}

impl Fault {
    fn target(self) -> Target {
        match self {
            Self::NatsKilled | Self::NatsFrozen => Target::Nats,
            Self::SlowLink | Self::Reset | Self::RepliesVanish => Target::Link,
            Self::PostgresKilled | Self::PostgresFrozen => Target::Postgres,
            Self::ModelKilled | Self::ModelFrozen => Target::Model,
            Self::GuardFrozen => Target::Guard,
            Self::ProviderSilent => Target::Provider,
            Self::RouterKilled | Self::RouterFrozen | Self::RouterToldToEnd => Target::Router,
        }
    }

    /// When requests may be lost or answered late because of it; nothing for a fault that is no
    /// excuse for either.
    fn excuses(self, broken: Instant, healed: Instant) -> Option<(Instant, Instant)> {
        match self {
            Self::NatsKilled | Self::NatsFrozen => Some((broken, healed + BACK)),
            // The connection may be found dead only then.
            Self::RepliesVanish => Some((broken, healed + DETECTED + BACK)),
            Self::Reset => Some((broken, broken + BACK)),
            // What it had taken in.
            Self::RouterKilled => Some((broken, broken + SECOND)),
            Self::RouterFrozen => Some((broken, healed + SECOND)),
            Self::SlowLink
            | Self::PostgresKilled
            | Self::PostgresFrozen
            | Self::ModelKilled
            | Self::ModelFrozen
            | Self::GuardFrozen
            | Self::ProviderSilent
            | Self::RouterToldToEnd => None,
        }
    }
}

/// Faults that begin together, how long they last, and the peace after them.
#[derive(Debug)]
struct Wave {
    faults: Vec<Fault>,
    lasts: Duration,
    peace: Duration,
}

impl Wave {
    /// Who leaves a queue group takes what is on its way to be here within 50 ms: on a slow link
    /// some of it is lost.
    fn leaves_over_slow_link(&self) -> bool {
        [Fault::SlowLink, Fault::RouterToldToEnd]
            .iter()
            .all(|fault| self.faults.contains(fault))
    }
}

/// The same for the same seed.
fn schedule(seed: u64, total: Duration) -> Vec<Wave> {
    let mut random = Rng::with_seed(seed);
    let mut waves = Vec::new();
    let mut passed = Duration::ZERO;
    while passed < total {
        let count = random.usize(1..=3);
        let mut faults: Vec<Fault> = random.choose_multiple(FAULTS, count);
        faults.sort();
        faults.dedup_by_key(|fault| fault.target());
        let lasts = Duration::from_millis(random.u64(1_000..8_000));
        let peace = Duration::from_millis(random.u64(500..5_000));
        passed += lasts + peace;
        waves.push(Wave {
            faults,
            lasts,
            peace,
        });
    }
    waves
}

/// `CHAOS_SEED`, or one of its own.
fn seed() -> u64 {
    match std::env::var("CHAOS_SEED") {
        Ok(seed) if !seed.is_empty() => seed
            .parse()
            .unwrap_or_else(|_| panic!("CHAOS_SEED is no number: {seed}")),
        Ok(_) | Err(_) => fastrand::u64(..),
    }
}

async fn by_chance(pace: Pace) -> Outcome {
    let seed = seed();
    println!("     again with CHAOS_SEED={seed} CHAOS_ONLY=C42");
    let total = if pace.is_quick() {
        SECOND * 20
    } else {
        SECOND * 600
    };
    let mut database = PostgresServer::start().await;
    let setting = on(database.url(), "500ms")
        .bus(BusSetting::Proxied)
        .routers(2);
    let mut stage = Stage::set(pace, setting).await;
    stage.calm().await;
    let first = stage.breaks();
    for wave in schedule(seed, total) {
        println!(
            "     {:>5.1} s: {:?} for {:?}",
            first.elapsed().as_secs_f64(),
            wave.faults,
            wave.lasts
        );
        let broken = Instant::now();
        for fault in &wave.faults {
            begin(&mut stage, &mut database, *fault).await;
        }
        sleep_until(broken + wave.lasts).await;
        for fault in &wave.faults {
            end(&mut stage, &mut database, *fault).await;
        }
        let healed = Instant::now();
        for (from, to) in wave
            .faults
            .iter()
            .filter_map(|fault| fault.excuses(broken, healed))
        {
            stage.forgive(from, to);
        }
        if wave.leaves_over_slow_link() {
            stage.forgive(broken, broken + SECOND);
        }
        sleep(wave.peace).await;
    }
    stage.heals();
    stage.may_be_unready(SECOND * 10);
    stage.recovers(SECOND * 75).await;
    stage.no_ghosts();
    stage.ends().await
}

/// Of the two routers, the one that faults befall.
const STRUCK: usize = 1;

async fn begin(stage: &mut Stage, database: &mut PostgresServer, fault: Fault) {
    let weather = |weather: Weather| stage.buses.proxy().weather(weather);
    match fault {
        Fault::NatsKilled => stage.buses.nats.kill(),
        Fault::NatsFrozen => stage.buses.nats.pause().await,
        Fault::SlowLink => weather(Weather {
            latency: Duration::from_millis(50),
            ..Weather::default()
        }),
        Fault::Reset => stage.buses.proxy().reset(),
        Fault::RepliesVanish => weather(Weather {
            hole_from_server: true,
            ..Weather::default()
        }),
        Fault::PostgresKilled => database.kill(),
        Fault::PostgresFrozen => database.pause().await,
        Fault::ModelKilled => stage.cast["model1"].kill(),
        Fault::ModelFrozen => stage.cast["model1"].pause().await,
        Fault::GuardFrozen => stage.cast["pii_guard"].pause().await,
        Fault::ProviderSilent => stage.cast.steady.does(Behaviour::Silent),
        Fault::RouterKilled => stage.routers[STRUCK].kill(),
        Fault::RouterFrozen => stage.routers[STRUCK].pause().await,
        Fault::RouterToldToEnd => stage.routers[STRUCK].sigterm(),
    }
}

async fn end(stage: &mut Stage, database: &mut PostgresServer, fault: Fault) {
    match fault {
        Fault::NatsKilled => stage.buses.nats.restart().await,
        Fault::NatsFrozen => stage.buses.nats.resume(),
        Fault::SlowLink | Fault::RepliesVanish => stage.buses.proxy().weather(Weather::default()),
        Fault::Reset => {}
        Fault::PostgresKilled => database.restart().await,
        Fault::PostgresFrozen => database.resume(),
        Fault::ModelKilled => {
            let model = provider(&stage.buses.nats, "model").await;
            stage.cast.add("model1", model);
        }
        Fault::ModelFrozen => stage.cast["model1"].resume(),
        Fault::GuardFrozen => stage.cast["pii_guard"].resume(),
        Fault::ProviderSilent => stage.cast.steady.does(Behaviour::Good),
        Fault::RouterFrozen => stage.routers[STRUCK].resume(),
        Fault::RouterKilled => start_again(stage).await,
        Fault::RouterToldToEnd => {
            stage.routers[STRUCK].wait_exit(ENDS_WITHIN).await;
            start_again(stage).await;
        }
    }
}

async fn start_again(stage: &mut Stage) {
    stage.routers[STRUCK].respawn();
    stage.routers[STRUCK].until_ready().await;
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    let shown = |seed| format!("{:?}", schedule(seed, SECOND * 60));
    assert_eq!(shown(42), shown(42));
    assert_ne!(shown(42), shown(43));
}

#[test]
fn every_fault_comes_and_nothing_is_struck_twice_at_once() {
    let waves: Vec<Wave> = (0..20)
        .flat_map(|seed| schedule(seed, SECOND * 60))
        .collect();
    for fault in FAULTS {
        assert!(
            waves.iter().any(|wave| wave.faults.contains(&fault)),
            "{fault:?}"
        );
    }
    for Wave { faults, .. } in &waves {
        assert!(!faults.is_empty() && faults.is_sorted(), "{faults:?}");
        let twice = |fault: &Fault| {
            faults
                .iter()
                .filter(|other| other.target() == fault.target())
                .count()
                > 1
        };
        assert!(!faults.iter().any(twice), "{faults:?}");
    }
}

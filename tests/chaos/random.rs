//! Faults by chance (C42): one to three at once, from a seed that is printed and gives the same schedule again.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use super::outcome::Outcome;
use super::pace::Pace;
use super::stage::{Setting, Stage, provider};
use super::{Scenario, scenarios};
use crate::support::Weather;

pub(super) const SCENARIOS: &[Scenario] = scenarios! {
    "C42" "faults by chance" by_chance;
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ModelKilled,
    ModelFrozen,
    GuardFrozen,
    NatsKilled,
    NatsFrozen,
    SlowLink,
    Reset,
    RepliesVanish,
    ProviderSilent,
}

const FAULTS: [Fault; 9] = [
    Fault::ModelKilled,
    Fault::ModelFrozen,
    Fault::GuardFrozen,
    Fault::NatsKilled,
    Fault::NatsFrozen,
    Fault::SlowLink,
    Fault::Reset,
    Fault::RepliesVanish,
    Fault::ProviderSilent,
];

/// Faults that begin together, how long they last, and the peace after them.
#[derive(Debug)]
struct Wave {
    faults: Vec<Fault>,
    lasts: Duration,
    peace: Duration,
}

/// The same for the same seed.
fn schedule(seed: u64, total: Duration) -> Vec<Wave> {
    let mut random = Rng::with_seed(seed);
    let mut waves = Vec::new();
    let mut passed = Duration::ZERO;
    while passed < total {
        let count = random.usize(1..=3);
        let faults = random.choose_multiple(FAULTS, count);
        let lasts = Duration::from_millis(random.u64(1_000..8_000));
        let peace = Duration::from_millis(random.u64(500..5_000));
        passed += lasts + peace;
        waves.push(Wave { faults, lasts, peace });
    }
    waves
}

/// `CHAOS_SEED`, or one of its own.
fn seed() -> u64 {
    match std::env::var("CHAOS_SEED") {
        Ok(seed) if !seed.is_empty() => seed.parse().unwrap_or_else(|_| panic!("CHAOS_SEED is no number: {seed}")),
        Ok(_) | Err(_) => fastrand::u64(..),
    }
}

async fn by_chance(pace: Pace) -> Outcome {
    let seed = seed();
    println!("     again with CHAOS_SEED={seed} CHAOS_ONLY=C42");
    let total = if pace.is_quick() { Duration::from_secs(20) } else { Duration::from_secs(600) };
    let mut stage = Stage::set(pace, Setting { proxy: true, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    for wave in schedule(seed, total) {
        println!("     {:>5.1} s: {:?} for {:?}", broken.elapsed().as_secs_f64(), wave.faults, wave.lasts);
        let until = Instant::now() + wave.lasts;
        for fault in &wave.faults {
            begin(&mut stage, *fault).await;
        }
        sleep_until(until).await;
        for fault in &wave.faults {
            end(&mut stage, *fault).await;
        }
        sleep(wave.peace).await;
    }
    let healed = stage.heals();
    // The transport was away again and again: only doubled answers can be held against the router meanwhile.
    stage.forgive(broken, healed + Duration::from_secs(10));
    stage.may_be_unready(Duration::from_secs(10));
    stage.recovers(Duration::from_secs(75)).await;
    stage.ends().await
}

async fn begin(stage: &mut Stage, fault: Fault) {
    let weather = |weather: Weather| stage.proxy.as_ref().expect("a proxy").weather(weather);
    match fault {
        Fault::ModelKilled => stage.cast.get_mut("model1").expect("a process").kill(),
        Fault::ModelFrozen => stage.cast["spare"].pause().await,
        Fault::GuardFrozen => stage.cast["pii_guard"].pause().await,
        Fault::NatsKilled => stage.nats.kill(),
        // A killed server cannot be frozen.
        Fault::NatsFrozen if stage.nats.alive() => stage.nats.pause().await,
        Fault::NatsFrozen => {}
        Fault::SlowLink => weather(Weather { latency: Duration::from_millis(50), ..Weather::default() }),
        Fault::Reset => stage.proxy.as_ref().expect("a proxy").reset(),
        Fault::RepliesVanish => weather(Weather { hole_from_server: true, ..Weather::default() }),
        Fault::ProviderSilent => stage.steady.does(super::puppet::Behaviour::Silent),
    }
}

async fn end(stage: &mut Stage, fault: Fault) {
    match fault {
        Fault::ModelKilled => {
            // Where the server is away too, it comes back first.
            if !stage.nats.alive() {
                stage.nats.restart().await;
            }
            stage.nats.resume();
            let model = provider(&stage.nats, "model").await;
            stage.cast.insert("model1".to_owned(), model);
        }
        Fault::ModelFrozen => stage.cast["spare"].resume(),
        Fault::GuardFrozen => stage.cast["pii_guard"].resume(),
        Fault::NatsKilled if !stage.nats.alive() => stage.nats.restart().await,
        Fault::NatsKilled => {}
        Fault::NatsFrozen => stage.nats.resume(),
        Fault::SlowLink | Fault::RepliesVanish => stage.proxy.as_ref().expect("a proxy").weather(Weather::default()),
        Fault::Reset => {}
        Fault::ProviderSilent => stage.steady.does(super::puppet::Behaviour::Good),
    }
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    let shown = |seed| format!("{:?}", schedule(seed, Duration::from_secs(60)));
    assert_eq!(shown(42), shown(42));
    assert_ne!(shown(42), shown(43));
}

//! NATS breaks (C9 to C14): nothing hangs, no extension is blamed, nothing is done twice or long
//! after its time.

use std::time::Duration;

use beamline_test_support::{LIMIT, Weather, eventually};
use tokio::time::{Instant, sleep};

use crate::load::Sent;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::Behaviour;
use crate::scenario::{Scenario, scenarios};
use crate::setting::{BusSetting, Setting};
use crate::stage::{BELIEVED_PAST, IN_QUEUES, ON_ITS_WAY, Stage};
use crate::traffic::DEADLINE;
use crate::watch::{Counters, memory};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C9" "NATS is killed and comes back" killed;
    "C10" "NATS is frozen" frozen;
    "C11" "NATS restarts ten times" restarts;
    "C12" "replies of NATS vanish in a black hole" black_hole;
    "C13" "connections are reset, bytes come one by one" reset_and_sliced;
    "C14" "the link to NATS is narrow" narrow;
};

const SECOND: Duration = Duration::from_secs(1);
/// Pings go unanswered for so long before a connection counts as dead.
const DETECTED: Duration = Duration::from_secs(6);
/// After the bus is back.
const BACK: Duration = Duration::from_secs(2);
const AWAY: &str = "bus_unavailable";
/// What requests are told that a router cannot serve now.
const REFUSED: [&str; 3] = ["overloaded", AWAY, "deadline_exceeded"];

async fn killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let progress = stage.progress(0);
    // So that calls are under way when it happens.
    stage
        .cast
        .steady
        .does(Behaviour::Slow(SECOND / 5, SECOND / 4));
    sleep(SECOND).await;
    let before = counted(&stage).await;
    let broken = stage.breaks();
    stage.buses.nats.kill();
    stage.cast.steady.does(Behaviour::Good);
    sleep(if pace.is_quick() {
        pace.fault
    } else {
        SECOND * 5
    })
    .await;
    let told = counted(&stage).await.answered_with(AWAY) - before.answered_with(AWAY);
    stage.check("typed", told > 0.0, || {
        format!("{told} requests ended with {AWAY} though calls were under way")
    });
    stage.buses.nats.restart().await;
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.unready(SECOND, BACK);
    stage.recovers(BACK).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    stage.no_ghosts();
    stage.ends().await
}

/// What the router has counted so far.
async fn counted(stage: &Stage) -> Counters {
    let http = stage.routers[0].http();
    eventually(LIMIT, "the router says what it has counted", async || {
        Counters::of(http).await
    })
    .await
}

async fn frozen(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let progress = stage.progress(0);
    let broken = stage.breaks();
    stage.buses.nats.pause().await;
    // Long enough to be noticed.
    sleep(pace.fault.max(DETECTED + SECOND)).await;
    stage.buses.nats.resume();
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.unready(DETECTED, BACK);
    stage.recovers(BACK).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    stage.no_ghosts();
    stage.ends().await
}

async fn restarts(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let progress = stage.progress(0);
    let broken = stage.breaks();
    let mut sizes = Vec::new();
    for _ in 0..10 {
        stage.buses.nats.restart().await;
        sleep(if pace.is_quick() { SECOND } else { SECOND * 6 }).await;
        sizes.extend(memory(stage.routers[0].id()).map(|(now, _)| now));
    }
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    stage.recovers(BACK).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    stage.no_ghosts();
    stage.check("I4", !keeps_growing(&sizes), || {
        format!("memory grew with every restart, in MiB: {sizes:?}")
    });
    stage.ends().await
}

/// What each fault leaves behind shows in each of three repeats; what an allocator keeps for the
/// next one does not.
fn keeps_growing(sizes: &[u64]) -> bool {
    let repeats: Vec<u64> = sizes.iter().copied().step_by(3).collect();
    repeats.len() > 3 && repeats.is_sorted_by(|before, after| before < after)
}

#[test]
fn what_grows_in_each_of_three_repeats_keeps_growing() {
    assert!(keeps_growing(&[20, 20, 21, 21, 21, 22, 22, 23, 23, 24]));
    assert!(
        !keeps_growing(&[20, 22, 23, 24, 24, 24, 24, 24, 24, 24]),
        "what was warming up has warmed up"
    );
    assert!(!keeps_growing(&[20, 20, 20]), "too few to tell");
}

/// What the router sends arrives; what is sent to it does not.
async fn black_hole(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default().bus(BusSetting::Proxied)).await;
    stage.calm().await;
    let progress = stage.progress(0);
    let broken = stage.breaks();
    let proxy = stage.buses.proxy();
    proxy.weather(Weather {
        hole_from_server: true,
        ..Weather::default()
    });
    sleep(pace.fault.max(DETECTED + SECOND)).await;
    stage.buses.proxy().weather(Weather::default());
    let healed = stage.heals();
    stage.forgive(broken, healed + DETECTED + BACK);
    stage.unready(DETECTED, DETECTED + BACK);
    stage.recovers(DETECTED + BACK).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    stage.no_ghosts();
    stage.ends().await
}

async fn reset_and_sliced(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default().bus(BusSetting::Proxied)).await;
    stage.calm().await;
    let progress = stage.progress(0);
    let broken = stage.breaks();
    let until = Instant::now() + pace.fault;
    while Instant::now() < until {
        let proxy = stage.buses.proxy();
        proxy.weather(Weather {
            slice: Some(1),
            ..Weather::default()
        });
        sleep(SECOND / 2).await;
        proxy.weather(Weather::default());
        proxy.reset();
        sleep(SECOND / 2).await;
    }
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    stage.recovers(SECOND).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    stage.no_ghosts();
    let torn = stage.cast.steady.torn();
    stage.check("torn", torn == 0, || {
        format!("{torn} calls came that were no whole message")
    });
    stage.ends().await
}

async fn narrow(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default().bus(BusSetting::Proxied)).await;
    stage.calm().await;
    let progress = stage.progress(0);
    let broken = stage.breaks();
    let proxy = stage.buses.proxy();
    proxy.weather(Weather {
        bytes_per_second: Some(32_000),
        ..Weather::default()
    });
    stage.lasts().await;
    stage.buses.proxy().weather(Weather::default());
    let healed = stage.heals();
    // What the narrow link held back is late by nature.
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    stage.recovers(BACK).await;
    stage.no_breaker_opened();
    stage.nobody_hung(&progress);
    turned_away(&mut stage, broken, healed);
    stage.ends().await
}

/// More comes than fits through the link: the router says so to some, serves others in time, and
/// takes what the server has for it.
fn turned_away(stage: &mut Stage, broken: Instant, healed: Instant) {
    let (refused, served) = stage.load.since(broken, |sent| {
        let answered = sent.iter().filter(|sent| sent.at < healed);
        let refused = answered
            .clone()
            .filter(|sent| sent.code().is_some_and(|code| REFUSED.contains(&code)))
            .count();
        let mut served: Vec<Duration> = answered
            .filter(|sent| sent.served())
            .filter_map(Sent::took)
            .collect();
        served.sort();
        (refused, served)
    });
    stage.check("refused", refused > 0, || {
        "nobody was turned away though the link was full".to_owned()
    });
    // What the link holds back is late before the router reads it, and taken in until it is past
    // its deadline for certain.
    let p99 = served.get(served.len() * 99 / 100).copied();
    stage.check(
        "in time",
        p99.is_some_and(|p99| p99 <= DEADLINE + BELIEVED_PAST + IN_QUEUES + ON_ITS_WAY),
        || format!("p99 of {} who were served: {p99:?}", served.len()),
    );
    let cut_off = stage
        .buses
        .nats
        .log()
        .lines()
        .find(|line| line.contains("Slow Consumer"))
        .map(str::to_owned);
    stage.check("slow consumer", cut_off.is_none(), || {
        format!("the server cut somebody off: {cut_off:?}")
    });
}

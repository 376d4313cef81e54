//! NATS breaks (C9 to C14): nothing hangs, no extension is blamed, nothing is done twice or long after its time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::load::class_id;
use super::outcome::Outcome;
use super::pace::Pace;
use super::stage::{Setting, Stage};
use super::traffic::DEADLINE;
use super::{Scenario, scenarios};
use crate::support::Weather;

pub(super) const SCENARIOS: &[Scenario] = scenarios! {
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
/// The first open time of a breaker with its jitter.
const OPEN: Duration = Duration::from_millis(6_250);
/// After the bus is back.
const BACK: Duration = Duration::from_secs(2);

/// An outage is nobody's fault but the bus's.
async fn no_breaker_opened(stage: &mut Stage, broken: Instant) {
    let open = stage.open_breakers().await;
    stage.check("breaker", open.is_empty(), || format!("open after an outage of the bus: {open:?}"));
    let refused = stage.load.since(broken, |sent| {
        let errors = sent.iter().flat_map(|sent| &sent.answers).filter_map(|answer| answer.body.as_ref());
        errors.filter(|error| error["error"].to_string().contains("circuit")).count()
    });
    stage.check("breaker", refused == 0, || format!("{refused} requests met a breaker that the outage had opened"));
}

/// Nothing is acted on long after its caller gave up, and nothing twice.
fn no_ghosts(stage: &mut Stage) {
    let sent = stage.load.sent();
    let number = |id: &str| id.strip_prefix("chaos-").and_then(|number| number.parse::<usize>().ok());
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ghosts = 0;
    for call in stage.steady.calls() {
        let Some(number) = number(&call.request_id) else { continue };
        *times.entry(number).or_insert(0) += 1;
        let expired = sent.get(number).is_some_and(|sent| call.at > sent.at + DEADLINE + SECOND);
        ghosts += usize::from(expired);
    }
    let twice: Vec<String> =
        times.iter().filter(|(_, times)| **times > 1).map(|(number, _)| class_id(*number)).collect();
    stage.check("ghosts", ghosts == 0, || format!("{ghosts} calls were made long after their deadline"));
    stage.check("doubled calls", twice.is_empty(), || format!("called more than once: {twice:?}"));
}

async fn killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.nats.kill();
    sleep(if pace.is_quick() { pace.fault } else { SECOND * 5 }).await;
    stage.nats.restart().await;
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.unready(SECOND, BACK);
    stage.recovers(BACK).await;
    no_breaker_opened(&mut stage, broken).await;
    no_ghosts(&mut stage);
    stage.ends().await
}

async fn frozen(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.nats.pause().await;
    // Long enough to be noticed.
    sleep(pace.fault.max(DETECTED + SECOND)).await;
    stage.nats.resume();
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.unready(DETECTED, BACK);
    stage.recovers(BACK).await;
    no_breaker_opened(&mut stage, broken).await;
    stage.ends().await
}

async fn restarts(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    for _ in 0..10 {
        stage.nats.restart().await;
        sleep(if pace.is_quick() { SECOND } else { SECOND * 6 }).await;
    }
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    stage.recovers(BACK).await;
    no_breaker_opened(&mut stage, broken).await;
    no_ghosts(&mut stage);
    stage.ends().await
}

/// What the router sends arrives; what is sent to it does not.
async fn black_hole(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting { proxy: true, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    let proxy = stage.proxy.as_ref().expect("a proxy");
    proxy.weather(Weather { hole_from_server: true, ..Weather::default() });
    sleep(pace.fault.max(DETECTED + SECOND)).await;
    stage.proxy.as_ref().expect("a proxy").weather(Weather::default());
    let healed = stage.heals();
    stage.forgive(broken, healed + DETECTED + BACK);
    stage.unready(DETECTED, DETECTED + BACK);
    stage.recovers(DETECTED + BACK).await;
    no_breaker_opened(&mut stage, broken).await;
    stage.ends().await
}

async fn reset_and_sliced(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting { proxy: true, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    let until = Instant::now() + pace.fault;
    while Instant::now() < until {
        let proxy = stage.proxy.as_ref().expect("a proxy");
        proxy.weather(Weather { slice: Some(1), ..Weather::default() });
        sleep(SECOND / 2).await;
        proxy.weather(Weather::default());
        proxy.reset();
        sleep(SECOND / 2).await;
    }
    let healed = stage.heals();
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    stage.recovers(SECOND).await;
    no_breaker_opened(&mut stage, broken).await;
    stage.ends().await
}

async fn narrow(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting { proxy: true, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    let proxy = stage.proxy.as_ref().expect("a proxy");
    proxy.weather(Weather { bytes_per_second: Some(32_000), ..Weather::default() });
    stage.lasts().await;
    stage.proxy.as_ref().expect("a proxy").weather(Weather::default());
    let healed = stage.heals();
    // What the narrow link held back is late by nature.
    stage.forgive(broken, healed + BACK);
    stage.may_be_unready(BACK);
    // Calls that got stuck on the link count against extensions: nobody can tell whose fault that was.
    stage.recovers(BACK + OPEN).await;
    stage.ends().await
}

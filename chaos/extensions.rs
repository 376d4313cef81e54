//! An extension breaks (C1 to C8): only those who need it feel it, and the breaker keeps them from
//! waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::hints::{Hint, Hints};
use crate::load::{Load, Sent};
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::{Behaviour, Call, Puppet};
use crate::scenario::{Scenario, scenarios};
use crate::setting::Setting;
use crate::stage::{Stage, guardrail, provider};
use crate::traffic::{BYSTANDER, Class, FALLBACK, OPTIONAL, PIPELINE};
use crate::watch::Counters;

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C1" "one of three instances is killed" one_of_three_is_killed;
    "C2" "the only instance is killed" the_only_one_is_killed;
    "C3" "an extension is frozen" frozen;
    "C4" "an extension is slow" slow;
    "C5" "an extension flaps" flaps;
    "C6" "an extension answers garbage" garbage;
    "C7" "an extension asks for patience" busy;
    "C8" "a validator rejects everything" rejects_everything;
};

const SECOND: Duration = Duration::from_secs(1);
/// The first open time of a breaker, and the longest one.
const OPEN: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// Of the extensions of the traffic.
const TIMEOUT: Duration = Duration::from_millis(400);
const GUARD: &str = "beamline.ext.validate.pii_guard.v1";
/// What a machine that others use too may hold up at any moment.
const BUSY_MACHINE: Duration = Duration::from_millis(250);

/// The open time of a breaker doubles while a fault lasts, and each is moved by a quarter at most:
/// this is the longest that it can have come to.
fn open_after(fault: Duration) -> Duration {
    let mut open = OPEN;
    let mut passed = open.mul_f64(0.75);
    while passed < fault {
        open = (open * 2).min(LONGEST);
        passed += open.mul_f64(0.75);
    }
    open.mul_f64(1.25)
}

/// With a puppet in the place of `model`.
async fn with_puppet(pace: Pace) -> (Stage, Puppet) {
    let mut stage = Stage::set(pace, Setting::default().models(0)).await;
    let puppet = Puppet::provider(stage.buses.nats.url(), "model").await;
    stage.calm().await;
    (stage, puppet)
}

/// Requests of these classes in a time, answered.
fn answered(load: &Load, from: Instant, classes: &[&Class]) -> Vec<Sent> {
    let of_class = |sent: &&Sent| classes.contains(&sent.class) && !sent.answers.is_empty();
    load.since(from, |sent| sent.iter().filter(of_class).cloned().collect())
}

/// Nobody else may suffer from the fault since then.
fn bystanders_are_served(stage: &mut Stage, from: Instant) {
    let others = answered(&stage.load, from, &[&BYSTANDER]);
    let failed = others.iter().filter(|sent| !sent.served()).count();
    stage.check("bystanders", failed == 0 && !others.is_empty(), || {
        format!("{failed} of {} failed", others.len())
    });
}

async fn breaker_opens(stage: &mut Stage, id: &str, within: Duration) -> Option<Instant> {
    let limit = Instant::now() + within;
    loop {
        if stage.open_breakers().await.iter().any(|open| open == id) {
            return Some(Instant::now());
        }
        if Instant::now() > limit {
            stage.check("breaker", false, || {
                format!("the breaker of {id} was not open within {within:?}")
            });
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn one_of_three_is_killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default().models(3)).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.cast["model1"].kill();
    stage.heals();
    stage.recovers(SECOND).await;
    stage.no_breaker_opened();
    let failed = answered(&stage.load, broken, &[&PIPELINE])
        .iter()
        .filter(|sent| !sent.served())
        .count();
    stage.check("in flight", failed <= 5, || {
        format!("{failed} requests failed though two instances were left")
    });
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

async fn the_only_one_is_killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    for id in ["model1", "normalize_text"] {
        stage.cast[id].kill();
    }
    breaker_opens(&mut stage, "model", SECOND * 3).await;
    stage.lasts().await;
    judge_unavailable(&mut stage, broken + SECOND);
    let fallback = answered(&stage.load, broken + SECOND, &[&FALLBACK]);
    let wrong = fallback
        .iter()
        .filter(|sent| sent.answers[0].provider.as_deref() != Some("spare"))
        .count();
    stage.check("fallback", wrong == 0, || {
        format!(
            "{wrong} of {} were not answered by the fallback",
            fallback.len()
        )
    });
    let model = provider(&stage.buses.nats, "model").await;
    let pre = guardrail(&stage.buses.nats, "normalize_text").await;
    stage.cast.add("model1", model);
    stage.cast.add("normalize_text", pre);
    let healed = stage.heals();
    stage.recovers(open_after(healed - broken) + SECOND).await;
    // Where no breaker may open, this is how one would be seen that has closed again.
    let said = stage.openings(0).len();
    stage.check("log", said >= 2, || {
        format!("the log has {said} lines of breakers that opened")
    });
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Required: refused at once. Optional: degraded.
pub(crate) fn judge_unavailable(stage: &mut Stage, settled: Instant) {
    let required = answered(&stage.load, settled, &[&PIPELINE]);
    let typed = |sent: &Sent| {
        ["pre_processor_failed", "extension_unavailable"].contains(&sent.code().unwrap_or_default())
    };
    let wrong = required.iter().filter(|sent| !typed(sent)).count();
    stage.check("required", wrong == 0 && !required.is_empty(), || {
        format!("{wrong} of {} were not refused", required.len())
    });
    let quick = Duration::from_millis(300);
    let waited = required
        .iter()
        .filter(|sent| sent.took().is_some_and(|took| took > quick))
        .count();
    stage.check("at once", waited * 20 <= required.len(), || {
        format!(
            "{waited} of {} refusals took more than {quick:?}",
            required.len()
        )
    });
    let optional = answered(&stage.load, settled, &[&OPTIONAL]);
    let wrong = optional
        .iter()
        .filter(|sent| !(sent.served() && sent.answers[0].degraded))
        .count();
    stage.check("optional", wrong == 0, || {
        format!("{wrong} of {} were not served degraded", optional.len())
    });
}

async fn frozen(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    let hints = Hints::listen(&stage).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.cast["model1"].pause().await;
    // As long as five calls take that wait for each other, with what passes between them.
    breaker_opens(&mut stage, "model", TIMEOUT * 6).await;
    stage.lasts().await;
    stage.cast["model1"].resume();
    let healed = stage.heals();
    let opened: Vec<Hint> = hints
        .of("model", broken)
        .into_iter()
        .filter(Hint::opens)
        .collect();
    refused_at_once(&mut stage, &opened, healed);
    stage
        .recovers(open_after(healed - broken) + SECOND * 2)
        .await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// While it was open nobody waited for the frozen one. Between two open times probes do.
fn refused_at_once(stage: &mut Stage, opened: &[Hint], healed: Instant) {
    let mut waited = 0;
    let mut all = 0;
    for open in opened.iter().filter(|open| open.at < healed) {
        let until = (open.at + open.open_for)
            .min(healed)
            .checked_sub(BUSY_MACHINE)
            .unwrap_or(healed);
        let refused = answered(&stage.load, open.at, &[&PIPELINE]);
        let refused = refused.iter().filter(|sent| sent.at < until);
        waited += refused
            .clone()
            .filter(|sent| sent.took().is_some_and(|took| took > BUSY_MACHINE))
            .count();
        all += refused.count();
    }
    stage.check("at once", all > 0 && waited * 20 <= all, || {
        format!("{waited} of {all} waited in spite of the breaker")
    });
}

/// A validator that takes most of its time, and mostly answers before it is over: with more
/// timeouts its failures would open the breaker, as those of C3 do. Providers may be slow.
async fn slow(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.cast.remove("pii_guard");
    let guard = Puppet::start(stage.buses.nats.url(), GUARD, json!({"status": "ok"})).await;
    // Long enough for a few milliseconds not to matter, with a window that soon forgets the time
    // before the fault.
    let record = json!({"id": "pii_guard", "timeout_ms": 800, "breaker": {"window_ms": 5_000}});
    let answer = stage.gateway.admin("update_extension", &record).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let calm = Instant::now();
    stage.calm().await;
    let broken = stage.breaks();
    guard.does(Behaviour::Slow(
        Duration::from_millis(650),
        Duration::from_millis(790),
    ));
    breaker_opens(&mut stage, "pii_guard", SECOND * 12).await;
    let states = stage
        .gateway
        .admin("get_circuit_breaker_states", &json!({"id": "pii_guard"}))
        .await;
    let state = &states["states"]["pii_guard"];
    stage.check("reason", state["reason_code"] == "slow_call_rate", || {
        format!("it opened otherwise: {state}")
    });
    stage.lasts().await;
    guard.does(Behaviour::Good);
    let healed = stage.heals();
    let others = |sent: &Sent| [&BYSTANDER, &OPTIONAL, &FALLBACK].contains(&sent.class);
    let before = stage.load.p99(calm, broken, others);
    let during = stage.load.p99(broken, healed, others);
    stage.check("latency", during <= before + BUSY_MACHINE, || {
        format!("p99 of those who do not need it {during:?}, {before:?} before")
    });
    stage.recovers(open_after(healed - broken) + SECOND).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Two seconds up, two seconds down.
async fn flaps(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let hints = Hints::listen(&stage).await;
    let broken = stage.breaks();
    // Long enough for a second open time: it begins with the second or the third time down.
    let rounds = if pace.is_quick() { 3 } else { 15 };
    for _ in 0..rounds {
        puppet.does(Behaviour::Says(
            json!({"error": {"code": 503, "message": "down"}}).to_string(),
        ));
        sleep(SECOND * 2).await;
        puppet.does(Behaviour::Good);
        sleep(SECOND * 2).await;
    }
    let healed = stage.heals();
    let calls: Vec<Call> = puppet
        .calls()
        .into_iter()
        .filter(|call| call.at >= broken)
        .collect();
    judge_open_times(&mut stage, &hints.of("model", broken), &calls);
    let called: BTreeSet<&str> = calls.iter().map(|call| call.request_id.as_str()).collect();
    stage.check("retry storm", calls.len() * 10 <= called.len() * 12, || {
        format!("{} calls for {} requests", calls.len(), called.len())
    });
    stage
        .recovers(open_after(healed - broken).min(SECOND * 60))
        .await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Three at a time, and one more for each that succeeds before the last one tells.
const PROBES: usize = 6;

/// Each open time is longer than the one before, and until it is over with a verdict there are no
/// calls but one group of probes.
fn judge_open_times(stage: &mut Stage, hints: &[Hint], calls: &[Call]) {
    let verdicts: Vec<&Hint> = hints
        .iter()
        .filter(|hint| hint.state != "half_open")
        .collect();
    let open_times: Vec<Duration> = verdicts
        .iter()
        .filter(|hint| hint.opens())
        .map(|hint| hint.open_for)
        .collect();
    // With jitter the longest ones may come in any order.
    let grow = open_times
        .windows(2)
        .all(|pair| pair[1] > pair[0] || pair[0] >= LONGEST / 2);
    stage.check("open time", grow && open_times.len() > 1, || {
        format!("the open times were {open_times:?}")
    });
    for pair in verdicts.windows(2).filter(|pair| pair[0].opens()) {
        let until = if pair[1].opens() {
            pair[1].at + BUSY_MACHINE
        } else {
            pair[1].at - BUSY_MACHINE
        };
        let probes = calls
            .iter()
            .filter(|call| (pair[0].at + BUSY_MACHINE..until).contains(&call.at))
            .count();
        stage.check("probes", probes <= PROBES, || {
            format!("{probes} calls between {pair:?}")
        });
    }
}

async fn garbage(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    astray(&mut stage, &puppet).await;
    puppet.does(Behaviour::Garbage);
    let answer = stage
        .gateway
        .admin("reset_breaker", &json!({"id": "model", "reason": "chaos"}))
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    breaker_opens(&mut stage, "model", SECOND * 3).await;
    stage.lasts().await;
    puppet.does(Behaviour::Twice);
    let healed = stage.heals();
    // A second reply is no fault that anybody feels.
    stage.recovers(open_after(healed - broken) + SECOND).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Answers on the reply subjects of calls that are over reach nobody. One to a call that still
/// waits cannot be told from its own: answers carry no id, so whoever may publish there is
/// believed.
async fn astray(stage: &mut Stage, puppet: &Puppet) {
    let http = stage.routers[0].http();
    let late = async || {
        Counters::of(http)
            .await
            .unwrap_or_default()
            .get("extension_late_answers_total")
    };
    let before = late().await;
    let from = Instant::now();
    puppet.does(Behaviour::Astray);
    breaker_opens(stage, "model", SECOND * 3).await;
    let stray = late().await - before;
    stage.check("fault", stray >= 5.0, || {
        format!("{stray} answers went astray, so nothing was tested")
    });
    let needed = answered(&stage.load, from, &[&PIPELINE, &FALLBACK]);
    let taken = needed
        .iter()
        .filter(|sent| sent.answers[0].provider.as_deref() == Some("model"))
        .count();
    stage.check("astray", taken == 0, || {
        format!("{taken} requests were served with an answer to another")
    });
}

/// What an extension asks for that has too much to do.
const PATIENCE: Duration = Duration::from_secs(3);

/// Calls since then that came while the extension wanted none, and all. Those that were on their
/// way with the first one could not know.
fn too_early(calls: &[Call], since: Instant) -> (usize, usize) {
    let mut first = None;
    let mut early = 0;
    let mut all = 0;
    for call in calls.iter().filter(|call| call.at >= since) {
        let waited = first.map(|first| call.at.saturating_duration_since(first));
        if waited.is_none_or(|waited| waited > PATIENCE - BUSY_MACHINE) {
            first = Some(call.at);
        } else if waited > Some(BUSY_MACHINE) {
            early += 1;
        }
        all += 1;
    }
    (early, all)
}

/// How many calls of it the router makes at a time.
async fn limit_of(stage: &Stage, id: &str) -> Option<u32> {
    let (_, text) = stage.routers[0].get("/metrics").await?;
    let name = format!("extension_limit{{extension_id=\"{id}\"}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

/// 429 with the wish to be left alone for three seconds.
async fn busy(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    puppet.does(Behaviour::Busy(
        PATIENCE.as_millis().try_into().expect("a short time"),
    ));
    // It is asked a second time, which tells overload from chance.
    sleep(pace.fault.max(PATIENCE + SECOND * 2)).await;
    let open = stage.open_breakers().await;
    stage.check("breaker", open.is_empty(), || {
        format!("open though the extension only asked for patience: {open:?}")
    });
    let (early, all) = too_early(&puppet.calls(), broken);
    stage.check("patience", early == 0, || {
        format!("{early} of {all} calls came before the {PATIENCE:?} were over")
    });
    let limit = limit_of(&stage, "model").await;
    stage.check("limit", limit.is_some_and(|limit| limit < 500), || {
        format!("so many calls at a time: {limit:?}")
    });
    puppet.does(Behaviour::Good);
    stage.heals();
    stage.recovers(SECOND * 4).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// A validator that says no to all is at work, not broken.
async fn rejects_everything(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.cast.remove("pii_guard");
    let guard = Puppet::start(stage.buses.nats.url(), GUARD, json!({"status": "ok"})).await;
    stage.calm().await;
    guard.does(Behaviour::Says(
        json!({"status": "reject", "reason": "chaos"}).to_string(),
    ));
    sleep(Duration::from_millis(500)).await;
    let broken = stage.breaks();
    stage.lasts().await;
    let rejected = answered(&stage.load, broken, &[&PIPELINE]);
    let wrong = rejected
        .iter()
        .filter(|sent| sent.code() != Some("validator_blocked"))
        .count();
    stage.check("rejected", wrong == 0 && !rejected.is_empty(), || {
        format!("{wrong} of {} were not rejected", rejected.len())
    });
    guard.does(Behaviour::Good);
    stage.heals();
    stage.recovers(Duration::ZERO).await;
    stage.no_breaker_opened();
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

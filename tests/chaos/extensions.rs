//! An extension breaks (C1 to C8): only those who need it feel it, and the breaker keeps them from waiting.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::load::{Load, Sent};
use super::outcome::Outcome;
use super::pace::Pace;
use super::puppet::{Behaviour, Puppet};
use super::stage::{Setting, Stage, provider};
use super::traffic::{BYSTANDER, Class, FALLBACK, OPTIONAL, PIPELINE};
use super::{Scenario, scenarios};
use crate::support::ExtensionProcess;

pub(super) const SCENARIOS: &[Scenario] = scenarios! {
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

/// The open time of a breaker doubles while a fault lasts, and each is moved by a quarter at most: this is the longest that
/// it can have come to.
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
    let mut stage = Stage::set(pace, Setting { models: 0, ..Setting::default() }).await;
    let puppet = Puppet::provider(stage.nats.url(), "model").await;
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
    stage.check("bystanders", failed == 0 && !others.is_empty(), || format!("{failed} of {} failed", others.len()));
}

async fn breaker_opens(stage: &mut Stage, id: &str, within: Duration) -> Option<Instant> {
    let limit = Instant::now() + within;
    loop {
        if stage.open_breakers().await.iter().any(|open| open == id) {
            return Some(Instant::now());
        }
        if Instant::now() > limit {
            stage.check("breaker", false, || format!("the breaker of {id} was not open within {within:?}"));
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn one_of_three_is_killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting { models: 3, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.cast.get_mut("model1").expect("an instance").kill();
    stage.heals();
    stage.recovers(SECOND).await;
    stage.no_breaker_opened();
    let failed = answered(&stage.load, broken, &[&PIPELINE]).iter().filter(|sent| !sent.served()).count();
    stage.check("in flight", failed <= 5, || format!("{failed} requests failed though two instances were left"));
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

async fn the_only_one_is_killed(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    for id in ["model1", "normalize_text"] {
        stage.cast.get_mut(id).expect("a process").kill();
    }
    breaker_opens(&mut stage, "model", SECOND * 3).await;
    stage.lasts().await;
    judge_unavailable(&mut stage, broken);
    let model = provider(&stage.nats, "model").await;
    let pre = ExtensionProcess::start(&stage.nats, "beamline-normalize-text", "normalize_text", &[]).await;
    stage.cast.extend([("model1".to_owned(), model), ("normalize_text".to_owned(), pre)]);
    let healed = stage.heals();
    stage.recovers(open_after(healed - broken) + SECOND).await;
    // Where no breaker may open, this is how one would be seen that has closed again.
    let said = stage.openings(0).len();
    stage.check("log", said >= 2, || format!("the log has {said} lines of breakers that opened"));
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Required: refused at once. Optional: degraded. Provider: the fallback answers.
fn judge_unavailable(stage: &mut Stage, broken: Instant) {
    let settled = broken + SECOND;
    let required = answered(&stage.load, settled, &[&PIPELINE]);
    let typed =
        |sent: &Sent| ["pre_processor_failed", "extension_unavailable"].contains(&sent.code().unwrap_or_default());
    let wrong = required.iter().filter(|sent| !typed(sent)).count();
    stage.check("required", wrong == 0 && !required.is_empty(), || {
        format!("{wrong} of {} were not refused", required.len())
    });
    let quick = Duration::from_millis(300);
    let waited = required.iter().filter(|sent| sent.took().is_some_and(|took| took > quick)).count();
    stage.check("at once", waited * 20 <= required.len(), || {
        format!("{waited} of {} refusals took more than {quick:?}", required.len())
    });
    let optional = answered(&stage.load, settled, &[&OPTIONAL]);
    let wrong = optional.iter().filter(|sent| !(sent.served() && sent.answers[0].degraded)).count();
    stage.check("optional", wrong == 0, || format!("{wrong} of {} were not served degraded", optional.len()));
    let fallback = answered(&stage.load, settled, &[&FALLBACK]);
    let wrong = fallback.iter().filter(|sent| sent.answers[0].provider.as_deref() != Some("spare")).count();
    stage.check("fallback", wrong == 0, || format!("{wrong} of {} were not answered by the fallback", fallback.len()));
}

async fn frozen(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.cast["model1"].pause().await;
    let opened = breaker_opens(&mut stage, "model", SECOND * 3).await;
    stage.lasts().await;
    if let Some(opened) = opened.filter(|_| pace.is_quick()) {
        // Before the first probe nobody waits for the frozen one any more.
        let refused = answered(&stage.load, opened, &[&PIPELINE]);
        let waited = refused.iter().filter(|sent| sent.took().is_some_and(|took| took > SECOND / 4)).count();
        stage.check("at once", waited * 20 <= refused.len(), || {
            format!("{waited} of {} waited in spite of the breaker", refused.len())
        });
    }
    stage.cast["model1"].resume();
    let healed = stage.heals();
    stage.recovers(open_after(healed - broken) + SECOND * 2).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

async fn slow(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    // 80 to 120 % of its timeout.
    puppet.does(Behaviour::Slow(Duration::from_millis(320), Duration::from_millis(480)));
    breaker_opens(&mut stage, "model", SECOND * 10).await;
    stage.lasts().await;
    puppet.does(Behaviour::Good);
    let healed = stage.heals();
    stage.recovers(open_after(healed - broken) + SECOND).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// Two seconds up, two seconds down.
async fn flaps(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    let rounds = if pace.is_quick() { 2 } else { 15 };
    for _ in 0..rounds {
        puppet.does(Behaviour::Says(json!({"error": {"code": 503, "message": "down"}}).to_string()));
        sleep(SECOND * 2).await;
        puppet.does(Behaviour::Good);
        sleep(SECOND * 2).await;
    }
    let healed = stage.heals();
    let calls = puppet.calls_since(broken);
    let wanted = answered(&stage.load, broken, &[&PIPELINE, &FALLBACK]).len();
    stage.check("retry storm", calls * 10 <= wanted * 12, || format!("{calls} calls for {wanted} requests"));
    stage.recovers(open_after(healed - broken).min(SECOND * 60)).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

async fn garbage(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    puppet.does(Behaviour::Garbage);
    breaker_opens(&mut stage, "model", SECOND * 3).await;
    stage.lasts().await;
    puppet.does(Behaviour::WrongInbox);
    stage.lasts().await;
    puppet.does(Behaviour::Twice);
    let healed = stage.heals();
    // A second reply is no fault that anybody feels.
    stage.recovers(open_after(healed - broken) + SECOND).await;
    bystanders_are_served(&mut stage, broken);
    stage.ends().await
}

/// 429 with the wish to be left alone for three seconds.
async fn busy(pace: Pace) -> Outcome {
    let (mut stage, puppet) = with_puppet(pace).await;
    let broken = stage.breaks();
    puppet.does(Behaviour::Busy(3_000));
    stage.lasts().await;
    let open = stage.open_breakers().await;
    stage.check("breaker", open.is_empty(), || format!("open though the extension only asked for patience: {open:?}"));
    let calls = puppet.calls_since(broken);
    let wanted = answered(&stage.load, broken, &[&PIPELINE, &FALLBACK]).len();
    stage.check("patience", calls * 2 <= wanted, || {
        format!("called {calls} times for {wanted} requests though it asked for 3 s")
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
    let guard = Puppet::start(stage.nats.url(), "beamline.ext.validate.pii_guard.v1", json!({"status": "ok"})).await;
    stage.calm().await;
    guard.does(Behaviour::Says(json!({"status": "reject", "reason": "chaos"}).to_string()));
    sleep(Duration::from_millis(500)).await;
    let broken = stage.breaks();
    stage.lasts().await;
    let rejected = answered(&stage.load, broken, &[&PIPELINE]);
    let wrong = rejected.iter().filter(|sent| sent.code() != Some("validator_blocked")).count();
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

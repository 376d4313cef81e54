//! The invariants of every scenario, judged at its end.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Stage;
use crate::load::{Answer, Sent};
use crate::traffic::{CANARY, DEADLINE};
use crate::watch::{Counters, memory};

/// The codes of contract section 1 that a good request may be answered with.
const TYPED: [&str; 15] = [
    "ok",
    "validator_blocked",
    "extension_not_found",
    "policy_not_found",
    "rate_limited",
    "pre_processor_failed",
    "post_processor_failed",
    "extension_error",
    "internal",
    "extension_unavailable",
    "overloaded",
    "bus_unavailable",
    "shutting_down",
    "extension_timeout",
    "deadline_exceeded",
];
/// Codes that have an extension to name.
const STAGED: [&str; 6] = [
    "validator_blocked",
    "pre_processor_failed",
    "post_processor_failed",
    "extension_error",
    "extension_unavailable",
    "extension_timeout",
];
const IDS: [&str; 6] = [
    "normalize_text",
    "pii_guard",
    "mask_pii",
    "model",
    "spare",
    "steady",
];
/// After the deadline, for the way back; a machine that others use too gets more.
const ON_TIME: Duration = Duration::from_millis(50);
const BUSY_MACHINE: Duration = Duration::from_millis(200);
/// Within this a router has settled after the load.
pub(super) const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Beside twice what it was: allocators keep what a burst has used.
const MEMORY_ROOM: u64 = 64;
const TASKS_END_WITHIN: Duration = Duration::from_secs(30);
/// Connections of probes, a reload, a ping: what may be under way at any moment.
const TASKS_ROOM: f64 = 8.0;
/// I7: how long readiness may lag behind the truth.
const TRUTH_WITHIN: Duration = Duration::from_secs(2);

impl Stage {
    /// I1, I2 and I6: one answer to each request, in time, and of a known type.
    pub(super) fn judge_answers(&mut self, sent: &[Sent]) {
        let forgiven = |sent: &&Sent| {
            !self
                .allowed
                .unanswered
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&sent.at))
        };
        let lost: Vec<&Sent> = sent
            .iter()
            .filter(|sent| sent.answers.is_empty())
            .filter(forgiven)
            .collect();
        let doubled = sent.iter().filter(|sent| sent.answers.len() > 1).count();
        let strangers = sent
            .iter()
            .filter(|sent| sent.answers.iter().any(|a| a.code == "answer_to_another"))
            .count();
        let lags = self.load.lags();
        let late: Vec<Duration> = sent
            .iter()
            .filter(forgiven)
            .filter_map(|sent| lateness(sent, &lags))
            .collect();
        let wrong: BTreeSet<String> = sent
            .iter()
            .flat_map(|sent| &sent.answers)
            .filter_map(ill_typed)
            .collect();
        let nobody = sent
            .iter()
            .filter(|sent| sent.code() == Some("nobody_subscribed"))
            .filter(forgiven)
            .count();
        let from_fault = |sent: &&Sent| {
            self.phases
                .broken
                .map(|broken| sent.at.saturating_duration_since(broken))
        };
        let when = lost.first().map(|sent| (from_fault(sent), sent.class.name));
        let lost = lost.len();
        self.check("I1", lost == 0, || {
            format!("{lost} requests have no answer, the first (after the fault began) {when:?}")
        });
        self.check("I1", doubled == 0, || {
            format!("{doubled} requests were answered more than once")
        });
        self.check("I1", strangers == 0, || {
            format!("{strangers} requests got the answer to another")
        });
        self.check("I1", nobody == 0, || {
            format!("{nobody} requests found no router")
        });
        let worst = late.iter().max().copied().unwrap_or_default();
        self.check("I2", late.is_empty(), || {
            format!("{} answers were late, the worst by {worst:?}", late.len())
        });
        self.check("I6", wrong.is_empty(), || {
            wrong.into_iter().take(5).collect::<Vec<_>>().join("; ")
        });
    }

    /// I3, I4 and I6: alive, within its memory, nothing secret in the log.
    pub(super) async fn judge_routers(&mut self) {
        for number in 0..self.routers.len() {
            self.judge_log(number);
            if self.allowed.dead.contains(&number) {
                continue;
            }
            if !self.routers[number].alive() {
                self.check("I3", false, || format!("router {number} has ended"));
                continue;
            }
            self.judge_tasks(number).await;
            let peak = memory(self.routers[number].id()).map(|(_, peak)| peak);
            if let (Some(before), Some(peak)) = (self.observed[number].memory_before, peak) {
                let room = MEMORY_ROOM + self.allowed.memory;
                self.check("I4", peak <= before * 2 + room, || {
                    format!(
                        "router {number} had {before} MiB before the fault, and {peak} MiB at most"
                    )
                });
            }
        }
    }

    /// What requests and faults have started has ended.
    async fn judge_tasks(&mut self, number: usize) {
        let Some(before) = self.observed[number].tasks_before else {
            return;
        };
        let http = self.routers[number].http();
        let mut now = f64::MAX;
        let limit = Instant::now() + TASKS_END_WITHIN;
        while now > before * 1.02 + TASKS_ROOM && Instant::now() < limit {
            now = Counters::of(http)
                .await
                .map_or(now, |counters| counters.tasks());
            sleep(Duration::from_millis(200)).await;
        }
        self.check("I3", now <= before * 1.02 + TASKS_ROOM, || {
            format!("router {number} had {before} tasks before the fault, and has {now}")
        });
    }

    fn judge_log(&mut self, number: usize) {
        let log = self.routers[number].log();
        let panicked = log
            .lines()
            .find(|line| line.contains("panicked"))
            .map(str::to_owned);
        let may_panic = self.allowed.panics;
        self.check("I3", panicked.is_none() || may_panic, || {
            format!("router {number}: {panicked:?}")
        });
        let leak = log
            .lines()
            .find(|line| line.contains(CANARY))
            .map(|line| line.get(..120).unwrap_or(line).to_owned());
        self.check("I6", leak.is_none(), || {
            format!("router {number} has logged a secret: {leak:?}")
        });
    }

    /// I7: readiness told the truth in time.
    pub(super) fn judge_readiness(&mut self) {
        for number in (0..self.observed.len())
            .filter(|number| !self.allowed.dead.contains(number))
            .collect::<Vec<_>>()
        {
            let probes = self.observed[number].watch.probes();
            let unready = probes.iter().filter(|probe| probe.ready == Some(false));
            let Some((broken, (noticed, back))) = self.phases.broken.zip(self.allowed.unready)
            else {
                let first = unready
                    .clone()
                    .map(|probe| probe.at - self.phases.begun)
                    .next();
                self.check("I7", first.is_none(), || {
                    format!("router {number} was not ready at {first:?} of the scenario")
                });
                continue;
            };
            let back = back + TRUTH_WITHIN;
            let in_time = |by: Instant| {
                unready
                    .clone()
                    .any(|probe| (broken..=by + TRUTH_WITHIN).contains(&probe.at))
            };
            let told = noticed.is_none_or(in_time);
            let wrong = unready
                .clone()
                .filter(|probe| probe.at < broken || probe.at > back)
                .count();
            let late = unready
                .map(|probe| probe.at)
                .max()
                .and_then(|at| at.checked_duration_since(back));
            self.check("I7", told, || {
                format!("router {number} did not say in time that it was not ready")
            });
            self.check("I7", wrong == 0, || {
                format!("router {number} was not ready {late:?} too long")
            });
        }
    }
}

/// By how much the first answer came too late, beyond what a busy machine explains.
fn lateness(sent: &Sent, lags: &[(Instant, Duration)]) -> Option<Duration> {
    let answered = sent.answers.first()?.at;
    let held_up = lags
        .iter()
        .filter(|(at, lag)| *at >= sent.at && *at <= answered + *lag)
        .map(|(_, lag)| *lag)
        .max();
    let allowed = DEADLINE + ON_TIME + BUSY_MACHINE + held_up.unwrap_or_default();
    sent.took()?
        .checked_sub(allowed)
        .filter(|late| !late.is_zero())
}

/// What is wrong with the form of an answer.
fn ill_typed(answer: &Answer) -> Option<String> {
    if ["unsent", "nobody_subscribed"].contains(&answer.code.as_str()) {
        return None;
    }
    if !TYPED.contains(&answer.code.as_str()) {
        return Some(format!("an answer with the code {}", answer.code));
    }
    let body = answer.body.as_ref()?;
    let text = body.to_string();
    let leak = [CANARY, "127.0.0.1", "nats://", "postgres://", "/tmp/"]
        .into_iter()
        .find(|leak| text.contains(leak));
    if let Some(leak) = leak {
        return Some(format!("an error says {leak:?}: {text}"));
    }
    // Where nobody could be chosen, the sentence names all who could not be.
    let sentence = body["error"]["message"].as_str().unwrap_or_default();
    let named = body["error"]["details"]["extension_id"].is_string()
        || IDS.iter().any(|id| sentence.contains(id));
    let nameless = STAGED.contains(&answer.code.as_str()) && !named;
    nameless.then(|| format!("{} names no extension: {text}", answer.code))
}

//! The promises that every run is held to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use beamline_actors::metrics::{ExtensionLabel, OutcomeLabel};
use beamline_domain::request::RequestKind;
use serde_json::Value;
use tokio::time::Instant;

use crate::bus::Called;
use crate::play::{Asked, Evidence, request_id};
use crate::router::Router;
use crate::world::{World, text};

/// `error.code` of contract section 1.
const CODES: [&str; 17] = [
    "invalid_request",
    "unauthorized",
    "validator_blocked",
    "policy_not_found",
    "extension_not_found",
    "rate_limited",
    "pre_processor_failed",
    "post_processor_failed",
    "extension_error",
    "decision_failed",
    "internal",
    "extension_unavailable",
    "overloaded",
    "bus_unavailable",
    "shutting_down",
    "extension_timeout",
    "deadline_exceeded",
];
/// Timers of paused time go by whole milliseconds.
const SLACK: Duration = Duration::from_millis(2);
/// Attempts that a record may ask for at most.
const MOST_ATTEMPTS: usize = 3;

/// What is wrong with the requests of a run.
pub(crate) fn requests(evidence: &Evidence) -> Vec<String> {
    let mut calls: BTreeMap<&str, Vec<&Called>> = BTreeMap::new();
    for call in &evidence.calls {
        calls.entry(&call.request_id).or_default().push(call);
    }
    let mut broken = Vec::new();
    for asked in &evidence.asked {
        let id = request_id(asked).unwrap_or_default();
        let own = calls.get(&*id).map(Vec::as_slice).unwrap_or_default();
        let found = Case {
            evidence,
            asked,
            calls: own,
        }
        .broken();
        broken.extend(
            found
                .into_iter()
                .map(|what| format!("{what}\n    request: {}", asked.planned.body)),
        );
    }
    broken
}

/// What did not come home: everything is answered, and nothing is held by anybody.
pub(crate) fn all_home(router: &Router, asked: usize, world: &World) -> Vec<String> {
    let metrics = &router.metrics;
    let outcome = |outcome| {
        let of_kind = |kind| OutcomeLabel {
            edge: "nats",
            kind,
            outcome,
        };
        let kinds = ["decide", "route"].map(of_kind);
        let answered = kinds.map(|label| metrics.requests_answered.get_or_create(&label).get());
        answered.into_iter().sum::<u64>()
    };
    let answered: u64 = CODES.into_iter().chain(["ok"]).map(outcome).sum();
    let received = metrics.requests_received.get();
    let asked = u64::try_from(asked).unwrap();
    let view = router.door.node().view();
    let mut broken = Vec::new();
    let mut must = |holds: bool, sentence: String| {
        if !holds {
            broken.push(sentence);
        }
    };
    must(
        received == asked,
        format!("{asked} requests were sent, {received} counted as received"),
    );
    must(
        answered == asked,
        format!("{asked} requests were sent, {answered} counted as answered"),
    );
    let gauges = [
        &metrics.requests_in_flight,
        &metrics.requests_queued,
        &metrics.request_bytes,
    ]
    .map(|gauge| gauge.get());
    must(
        gauges == [0; 3],
        format!("in flight, queued and their bytes are {gauges:?}, not 0"),
    );
    must(
        router.door.in_flight() == 0,
        format!("{} are in flight", router.door.in_flight()),
    );
    must(
        view.in_flight == Some(0),
        format!("{:?} places are taken", view.in_flight),
    );
    for record in &world.records {
        let label = ExtensionLabel {
            extension_id: text(record, "id").into(),
        };
        let calls = metrics.extension_in_flight.of(&label).get();
        must(
            calls == 0,
            format!("{calls} calls of {} are under way", label.extension_id),
        );
    }
    broken
}

/// One request with its calls.
struct Case<'e> {
    evidence: &'e Evidence,
    asked: &'e Asked,
    calls: &'e [&'e Called],
}

impl Case<'_> {
    fn broken(&self) -> Vec<String> {
        let answers = self.asked.answers.lock();
        let [(at, answer)] = answers.as_slice() else {
            return vec![format!("it has {} answers: {answers:?}", answers.len())];
        };
        let rules = [
            self.in_time(*at),
            self.typed(answer),
            self.its_own(answer),
            self.reported(answer),
            self.within_policy(),
            self.within_budget(),
            self.no_provider_twice(answer),
            self.calls_in_time(),
        ];
        let told = |broken: String| {
            format!(
                "{broken}\n    answer: {answer}\n    calls: {:?}",
                self.calls
            )
        };
        rules.into_iter().flatten().map(told).collect()
    }

    fn in_time(&self, at: Instant) -> Option<String> {
        let took = at - self.asked.at;
        (took > self.asked.planned.timeout + SLACK)
            .then(|| format!("it took {took:?} of {:?}", self.asked.planned.timeout))
    }

    /// A code of the contract; and no excuse that nothing in the run accounts for.
    fn typed(&self, answer: &Value) -> Option<String> {
        if answer["ok"] == true {
            return None;
        }
        let code = text(&answer["error"], "code");
        let accounted = match code {
            "internal" => self.evidence.pipelines_crashed || self.panicked(),
            "bus_unavailable" => self.evidence.bus_broke,
            "shutting_down" | "unauthorized" | "rate_limited" => false,
            code => CODES.contains(&code),
        };
        (!accounted).then(|| format!("nothing accounts for {code}"))
    }

    fn its_own(&self, answer: &Value) -> Option<String> {
        let id = &answer["context"]["request_id"];
        let own = request_id(self.asked);
        (!id.is_null() && id.as_str() != own.as_deref())
            .then(|| format!("the answer is that of {id}"))
    }

    /// Everything that the policy configures exactly once, with what happened to it.
    fn reported(&self, answer: &Value) -> Option<String> {
        let Some(reports) = answer["extensions"].as_array() else {
            return (answer["ok"] == true).then(|| "nothing is reported".to_owned());
        };
        let lines: Vec<String> = reports
            .iter()
            .map(|r| format!("{} {}", text(r, "type"), text(r, "id")))
            .collect();
        let distinct: BTreeSet<String> = lines.iter().cloned().collect();
        if distinct.len() != lines.len() || !self.policies().contains(&distinct) {
            return Some(format!("no policy of its tenant configures {lines:?}"));
        }
        let miscounted = |report: &&Value| {
            let calls = self
                .calls
                .iter()
                .filter(|call| call.id == text(report, "id"))
                .count();
            report["attempts"] != calls
        };
        let exact = answer["ok"] == true && !self.panicked();
        let wrong = reports.iter().filter(|_| exact).find(miscounted)?;
        Some(format!("the attempts are not the calls: {wrong}"))
    }

    fn within_policy(&self) -> Option<String> {
        let fits = |named: &BTreeSet<String>| {
            self.calls
                .iter()
                .all(|c| named.contains(&format!("{} {}", c.kind, c.id)))
        };
        if !self.policies().iter().any(fits) && !self.calls.is_empty() {
            return Some("something outside its policy was called".to_owned());
        }
        let decides = self.asked.planned.kind == RequestKind::Decide;
        let beyond = self
            .calls
            .iter()
            .find(|call| decides && ["provider", "post"].contains(&&*call.kind))?;
        Some(format!("{} was called for a decision", beyond.id))
    }

    fn within_budget(&self) -> Option<String> {
        if self.panicked() {
            // The step in which it panicked is made again.
            return None;
        }
        let mut by_id: BTreeMap<&str, usize> = BTreeMap::new();
        let (providers, guardrails): (Vec<&&Called>, Vec<&&Called>) =
            self.calls.iter().partition(|call| call.kind == "provider");
        guardrails
            .iter()
            .for_each(|call| *by_id.entry(&call.id).or_default() += 1);
        let again: usize = by_id.values().map(|count| count - 1).sum();
        let extra = again + providers.len().saturating_sub(1);
        if extra > self.evidence.extra_attempts as usize {
            return Some(format!(
                "{extra} attempts beyond the first, {} allowed",
                self.evidence.extra_attempts
            ));
        }
        by_id
            .values()
            .any(|count| *count > MOST_ATTEMPTS)
            .then(|| format!("too many attempts: {by_id:?}"))
    }

    /// A provider that was left is not come back to.
    fn no_provider_twice(&self, answer: &Value) -> Option<String> {
        let trail = answer["attempts"].as_array().into_iter().flatten();
        let mut trail: Vec<&str> = trail.map(|attempt| text(attempt, "provider_id")).collect();
        trail.dedup();
        if trail.len() != trail.iter().collect::<BTreeSet<_>>().len() {
            return Some(format!("a provider was come back to: {trail:?}"));
        }
        let first = |call: &&&Called| call.kind == "provider" && call.attempt == 1;
        let visits: Vec<&str> = self
            .calls
            .iter()
            .filter(first)
            .map(|call| &*call.id)
            .collect();
        let twice = visits.len() != visits.iter().collect::<BTreeSet<_>>().len();
        (twice && !self.panicked()).then(|| format!("a provider was visited twice: {visits:?}"))
    }

    /// Nothing is sent while the bus is away, or with more time than the request has.
    fn calls_in_time(&self) -> Option<String> {
        let deadline = self.asked.at + self.asked.planned.timeout;
        let late = |call: &&&Called| call.at + call.timeout > deadline || call.into_nothing;
        let call = self.calls.iter().find(late)?;
        Some(format!(
            "{} was called beyond the deadline, or while the bus was away",
            call.id
        ))
    }

    fn policies(&self) -> &[BTreeSet<String>] {
        self.evidence
            .named
            .get(&self.asked.planned.tenant)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn panicked(&self) -> bool {
        self.calls.iter().any(|call| call.panicked)
    }
}

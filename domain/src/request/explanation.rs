//! Why a request went the way it went, in words (design, "Explanation"). Made from the plan and the run, so that it says
//! what really was decided.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::policy::{Fallback, Order};
use crate::record::routing::RoutingRules;
use crate::request::plan::{Candidate, Exclusion, Plan, PlannedCall};
use crate::request::run::{Attempt, Decision, Reason, Report, Run, Session};
use beamline_contract::time::milliseconds;

/// How much is told; `context.detail_level` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The decision alone.
    Minimal,
    /// With the numbered steps that led to it.
    Detailed,
    /// With where everything runs, and the figures of the choice.
    Verbose,
}

impl Detail {
    /// Any other word is `detailed`: a request is not refused for it.
    pub fn of(word: Option<&str>) -> Self {
        match word {
            Some("minimal") => Self::Minimal,
            Some("verbose") => Self::Verbose,
            Some(_) | None => Self::Detailed,
        }
    }
}

/// A provider as the choice saw it.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderChance<'a> {
    pub provider_id: &'a str,
    pub weight: f64,
    /// Part of the requests that it gets as things are, 0 to 1.
    pub share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<&'static str>,
    /// Only a fallback rule names it.
    pub fallback_only: bool,
}

/// `decision.explanation` of an answer.
pub fn of(run: &Run, decision: &Decision) -> Value {
    let detail = Detail::of(run.context.text("detail_level").as_deref());
    let mut explanation = Map::from_iter([
        ("reason".to_owned(), json!(decision.reason.as_str())),
        ("provider_id".to_owned(), json!(decision.call.id())),
        ("policy_id".to_owned(), json!(run.plan.policy_id)),
        ("policy_version".to_owned(), json!(run.plan.policy.version)),
        ("priority".to_owned(), json!(decision.reason.priority())),
    ]);
    if detail >= Detail::Detailed {
        explanation.insert("steps".into(), json!(steps(run, Some(decision))));
        explanation.insert(
            "context".into(),
            json!({"tenant_id": &*run.request.tenant_id, "trace_id": run.request.trace.trace_id}),
        );
    }
    if detail == Detail::Verbose {
        explanation.insert("revision".into(), json!(run.plan.revision));
        explanation.insert(
            "providers".into(),
            json!(chances(&run.plan, &decision.exclusions)),
        );
        let calls = run.plan.guardrails().chain([&decision.call]);
        let places: Vec<Value> = calls
            .map(|call| place(call, &run.request.tenant_id))
            .collect();
        explanation.insert("places".into(), places.into());
        // For who knew it from the first version.
        let subject = decision.call.target.place(0).map(|place| &*place.subject);
        explanation.insert("subject".into(), json!(subject));
    }
    explanation.into()
}

/// Numbered sentences, in the order in which things were decided.
pub fn steps(run: &Run, decision: Option<&Decision>) -> Vec<String> {
    let plan = &run.plan;
    let mut steps = vec![format!(
        "policy {} version {} at registry revision {}",
        plan.policy_id, plan.policy.version, plan.revision
    )];
    let told = |call: &PlannedCall| {
        let report = run
            .reports
            .iter()
            .find(|r| r.id == call.id() && r.kind == call.extension.kind);
        guardrail(run, call, report)
    };
    steps.extend(
        plan.pre
            .iter()
            .flatten()
            .chain(&plan.validators)
            .map(|call| told(call)),
    );
    steps.extend(session(run));
    if let Some(decision) = decision {
        let listed = plan
            .providers
            .iter()
            .zip(chances(plan, &decision.exclusions));
        steps.extend(
            listed.map(|(candidate, chance)| provider(plan.policy.order, candidate, &chance)),
        );
        steps.extend(
            run.trail()
                .iter()
                .enumerate()
                .map(|(index, made)| attempt(plan, index, made)),
        );
        steps.push(conclusion(run, decision));
    }
    steps.extend(plan.post.iter().flatten().map(|call| told(call)));
    steps
        .iter()
        .enumerate()
        .map(|(i, step)| format!("{}. {step}", i + 1))
        .collect()
}

/// The chance of each provider after exclusions; `exclusions` are in the order of the plan's providers.
pub fn chances<'p>(plan: &'p Plan, exclusions: &[Option<Exclusion>]) -> Vec<ProviderChance<'p>> {
    let free = |index: usize| exclusions.get(index).is_some_and(Option::is_none);
    let first = (0..plan.providers.len()).find(|index| free(*index));
    let weight = |(index, candidate): (usize, &Candidate)| match plan.policy.order {
        _ if !candidate.listed || !free(index) => 0.0,
        Order::Weighted => candidate.weight,
        Order::Priority => f64::from(first == Some(index)),
    };
    let weights: Vec<f64> = plan.providers.iter().enumerate().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let chance = |((candidate, weight), exclusion): ((&'p Candidate, f64), &Option<Exclusion>)| {
        ProviderChance {
            provider_id: &candidate.name,
            weight: candidate.weight,
            share: if total > 0.0 { weight / total } else { 0.0 },
            excluded: exclusion.map(Exclusion::as_str),
            fallback_only: !candidate.listed,
        }
    };
    plan.providers
        .iter()
        .zip(weights)
        .zip(exclusions)
        .map(chance)
        .collect()
}

/// Which version of an extension, on which instance, and by which rule. `used` is the instance of the last attempt, or
/// none while there was no attempt.
fn version(run: &Run, call: &PlannedCall, used: Option<&str>) -> String {
    let told =
        |rules: &RoutingRules| format!(" by its rule ({})", rules.told_to(&run.request.tenant_id));
    let rule = call
        .route
        .as_ref()
        .map_or(String::new(), |route| told(&route.rules));
    let planned = || {
        call.target
            .place(0)
            .and_then(|place| place.instance.as_deref())
    };
    let instance = used
        .or_else(planned)
        .map_or(String::new(), |id| format!(" on instance {id}"));
    let avoided = match call.target.avoided {
        0 => String::new(),
        1 => ", 1 unhealthy instance avoided".to_owned(),
        many => format!(", {many} unhealthy instances avoided"),
    };
    format!("{}{rule}{instance}{avoided}", call.target.version)
}

/// What a fallback rule is for, in words.
pub fn rule(rule: &Fallback) -> String {
    let words: Vec<String> = rule.when.status.iter().map(ToString::to_string).collect();
    let status = if words.is_empty() {
        "any failure".to_owned()
    } else {
        words.join(" or ")
    };
    let and = if rule.when.conditions.is_empty() {
        String::new()
    } else {
        format!(" and {}", rule.when.conditions)
    };
    format!("on {status}{and}")
}

fn guardrail(run: &Run, call: &PlannedCall, report: Option<&Report>) -> String {
    let (kind, id) = (call.extension.kind.as_str(), call.id());
    let status = report.map_or("not run", |report| report.status);
    let used = report.and_then(|report| report.instance.as_deref());
    format!("{kind} {id} {}: {status}", version(run, call, used))
}

fn session(run: &Run) -> Option<String> {
    let sticky = run.plan.policy.sticky.as_ref()?;
    let key = &sticky.session_key;
    Some(match &run.session {
        Session::Off => format!("sticky sessions by {key}: the session was not asked for yet"),
        Session::Unnamed => format!("sticky sessions by {key}: the request names no session"),
        Session::Named { had, shared, .. } => {
            let who = had.as_ref().map_or("the session is new".to_owned(), |had| {
                format!("the session has {had}")
            });
            let local = if *shared {
                ""
            } else {
                ", as far as this replica alone knows: JetStream does not answer"
            };
            format!("sticky sessions by {key}: {who}{local}")
        }
    })
}

fn provider(order: Order, candidate: &Candidate, chance: &ProviderChance<'_>) -> String {
    let name = &candidate.name;
    match (chance.excluded, order) {
        (Some(why), _) => format!("provider {name}: excluded, {why}"),
        (None, _) if chance.fallback_only => format!("provider {name}: only for fallbacks"),
        (None, Order::Weighted) => format!(
            "provider {name}: weight {}, {:.1} %",
            chance.weight,
            chance.share * 100.0
        ),
        (None, Order::Priority) if chance.share > 0.0 => {
            format!("provider {name}: first in the list that can be called")
        }
        (None, Order::Priority) => format!("provider {name}: later in the list"),
    }
}

fn attempt(plan: &Plan, index: usize, made: &Attempt) -> String {
    let Attempt {
        provider_id,
        version,
        reason,
        status,
        latency_ms,
        waited_ms,
        ..
    } = made;
    let instance = made
        .instance
        .as_ref()
        .map_or(String::new(), |id| format!(" on instance {id}"));
    let wait = if *waited_ms > 0.0 {
        format!(" after a wait of {waited_ms} ms")
    } else {
        String::new()
    };
    let by = fired(plan, made.rule).map_or(String::new(), |rule| format!(", {rule}"));
    let why = made
        .error_type
        .map_or(String::new(), |error| format!(" ({error})"));
    format!(
        "attempt {} at {provider_id} {version}{instance} ({reason}{by}){wait}: {status}{why} in {latency_ms} ms",
        index + 1
    )
}

fn fired(plan: &Plan, position: Option<usize>) -> Option<String> {
    let position = position?;
    let fallback = plan.policy.fallbacks.get(position)?;
    Some(format!(
        "fallback rule {}: {}",
        position + 1,
        rule(fallback)
    ))
}

fn conclusion(run: &Run, decision: &Decision) -> String {
    let id = decision.call.id();
    let last = run
        .trail()
        .last()
        .filter(|attempt| attempt.provider_id == id);
    let version = version(
        run,
        &decision.call,
        last.and_then(|attempt| attempt.instance.as_deref()),
    );
    let by = fired(&run.plan, decision.rule).map_or(String::new(), |rule| format!(" ({rule})"));
    match (decision.reason, run.plan.policy.order) {
        (Reason::Sticky, _) => format!("{id} {version} because the session has it"),
        (Reason::Retry, _) => format!("{id} {version} after a retry{by}"),
        (Reason::Fallback, _) if !by.is_empty() => format!("{id} {version} as a fallback{by}"),
        (Reason::Fallback, _) => format!("{id} {version} as the next in the list"),
        (Reason::Weighted, Order::Weighted) => format!("{id} {version} chosen by weight"),
        (Reason::Weighted, Order::Priority) => {
            format!("{id} {version} chosen as the first in the list")
        }
    }
}

/// Where a call goes. Its config is left out: a caller need not see it.
fn place(call: &PlannedCall, tenant_id: &str) -> Value {
    let subjects: Vec<&str> = call
        .target
        .places
        .iter()
        .map(|place| &*place.subject)
        .collect();
    json!({
        "id": call.id(),
        "type": call.extension.kind.as_str(),
        "version": &*call.target.version,
        "rule": call.route.as_ref().map(|route| route.rules.told_to(tenant_id).to_string()),
        "instance": call.target.place(0).and_then(|place| place.instance.as_deref()),
        "subjects": subjects,
        "timeout_ms": milliseconds(call.target.timeout),
        "retry": call.target.retry,
    })
}

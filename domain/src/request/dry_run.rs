//! What a dry run tells of a pipeline: everything that would run, where, with which config, how long it would take, and
//! what would happen if it failed. Made from the same plan that a request runs by.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::policy::complexity::{self, EstimateFrom};
use crate::policy::{Backoff, Fallback, Mode, OnFail, Order, Strategy};
use crate::request::answer::{decision_body, degradation, extension_report};
use crate::request::error::RequestError;
use crate::request::explanation;
use crate::request::plan::{PlannedCall, Rule};
use crate::request::run::Run;
use crate::target::selection::ChoiceContext;
use beamline_contract::answer::{DecisionBody, Degradation, ExtensionReport, ProviderChance};
use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionInstance, Kind};
use beamline_contract::time::milliseconds;

/// The `result` of `dry_run_pipeline` (contract section 5), with more than it asks for.
#[derive(Debug, Serialize)]
pub struct DryRun<'a> {
    /// Null when no provider could be chosen; `error` says why.
    decision: Option<DecisionBody<'a>>,
    executed_extensions: Vec<ExtensionReport<'a>>,
    /// The extension that ends the request.
    blocked_by: Option<String>,
    final_payload: &'a RawValue,
    provider_selected: Option<&'a str>,
    post_processors_executed: Vec<ExtensionReport<'a>>,
    called_extensions: bool,
    pipeline: Pipeline<'a>,
    estimate: Estimate,
    degraded: Vec<Degradation<'a>>,
    /// What is allowed, but hardly meant.
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<WireError<'a>>,
}

#[derive(Debug, Serialize)]
struct Pipeline<'a> {
    policy_id: &'a str,
    policy_version: &'a str,
    revision: u64,
    pre: Vec<Vec<Step<'a>>>,
    validators: Vec<Step<'a>>,
    order: Order,
    providers: Vec<ProviderStep<'a>>,
    /// What comes after a failed provider, rule by rule.
    if_the_provider_fails: Vec<String>,
    sticky: Option<Sticky<'a>>,
    post: Vec<Vec<Step<'a>>>,
}

#[derive(Debug, Serialize)]
struct Sticky<'a> {
    session_key: &'a str,
    ttl_ms: f64,
}

/// One extension as it would be called.
#[derive(Debug, Serialize)]
struct Step<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: Kind,
    version: &'a str,
    /// The routing rule that chose the version; null for the extension's own.
    version_rule: Option<String>,
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<Place<'a>>,
    subject: &'a str,
    timeout_ms: f64,
    retry: u32,
    config: &'a Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_fail: Option<OnFail>,
    /// Median of its answers; null before the first.
    usual_latency_ms: Option<f64>,
    available: bool,
    if_it_fails: String,
}

#[derive(Debug, Serialize)]
struct Place<'a> {
    instance_id: &'a str,
    subject: &'a str,
    weight: u32,
    enabled: bool,
    healthy: bool,
}

#[derive(Debug, Serialize)]
struct ProviderStep<'a> {
    #[serde(flatten)]
    chance: ProviderChance<'a>,
    call: Option<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct Estimate {
    extensions_ms: f64,
    /// How the figure for the extensions is known.
    extensions_from: EstimateFrom,
    /// Null when nothing is known of the provider.
    provider_ms: Option<f64>,
    total_ms: f64,
}

#[derive(Debug, Serialize)]
struct WireError<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a Map<String, Value>,
}

impl<'a> DryRun<'a> {
    /// Tells of a run that went as far as a dry run goes.
    pub fn new(
        run: &'a Run,
        called_extensions: bool,
        assumed_latency: Duration,
        choice: &ChoiceContext<'_>,
    ) -> Self {
        let decided = run.decision.as_deref();
        let mut before = Vec::new();
        let mut post = Vec::new();
        for report in &run.reports {
            let list = match report.call.extension.kind {
                Kind::Post => &mut post,
                Kind::Pre | Kind::Validator | Kind::Provider => &mut before,
            };
            list.push(extension_report(report));
        }
        Self {
            decision: decided.map(|decision| decision_body(run, decision)),
            executed_extensions: before,
            blocked_by: run.failure.as_ref().and_then(culprit),
            final_payload: &run.message.payload,
            provider_selected: decided.map(|decision| decision.call.id()),
            post_processors_executed: post,
            called_extensions,
            pipeline: pipeline(run, choice),
            estimate: estimate(run, assumed_latency, choice),
            degraded: run.degraded.iter().map(degradation).collect(),
            warnings: warnings(run),
            error: run.failure.as_ref().map(|error| WireError {
                code: error.code.as_str(),
                message: &error.message,
                details: &error.details,
            }),
        }
    }
}

fn culprit(error: &RequestError) -> Option<String> {
    error
        .details
        .get("extension_id")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// Times that do not go together.
fn warnings(run: &Run) -> Vec<String> {
    let (plan, time) = (&run.plan, run.request.timeout);
    let ms = |time: Duration| milliseconds(time);
    let mut warnings = Vec::new();
    let slowest =
        |wave: &Vec<std::sync::Arc<PlannedCall>>| wave.iter().map(|call| call.target.timeout).max();
    let guardrails: Duration = plan
        .pre
        .iter()
        .chain([&plan.validators])
        .chain(&plan.post)
        .filter_map(slowest)
        .sum();
    if guardrails >= time {
        warnings.push(format!(
            "The extensions may take {} ms before they time out, and a request has {} ms: shorten their timeout_ms.",
            ms(guardrails),
            ms(time)
        ));
    }
    let others = plan.providers.len() > 1;
    for call in plan
        .providers
        .iter()
        .filter_map(|candidate| candidate.choice.as_ref().ok())
    {
        if others && !call.extension.is_external() && call.target.timeout >= time {
            warnings.push(format!(
                "{} may take {} ms before it times out, all that a request has ({} ms): when it hangs, nobody can take over. \
                 Shorten its timeout_ms.",
                call.id(),
                ms(call.target.timeout),
                ms(time)
            ));
        }
    }
    warnings
}

fn pipeline<'a>(run: &'a Run, choice: &ChoiceContext<'_>) -> Pipeline<'a> {
    let (plan, policy) = (&run.plan, &run.plan.policy);
    let waves = |waves: &'a [Vec<std::sync::Arc<PlannedCall>>]| -> Vec<Vec<Step<'a>>> {
        waves
            .iter()
            .map(|wave| wave.iter().map(|call| step(call, choice)).collect())
            .collect()
    };
    let exclusions = run
        .decision
        .as_ref()
        .map_or_else(|| run.exclusions(choice), |made| made.exclusions.clone());
    let chances = explanation::chances(plan, &exclusions);
    let provider =
        |(candidate, chance): (&'a crate::request::plan::Candidate, ProviderChance<'a>)| {
            ProviderStep {
                chance,
                call: candidate
                    .choice
                    .as_ref()
                    .ok()
                    .map(|call| step(call, choice)),
            }
        };
    Pipeline {
        policy_id: &plan.policy_id,
        policy_version: &policy.version,
        revision: plan.revision,
        pre: waves(&plan.pre),
        validators: plan
            .validators
            .iter()
            .map(|call| step(call, choice))
            .collect(),
        order: policy.order,
        providers: plan.providers.iter().zip(chances).map(provider).collect(),
        if_the_provider_fails: when_the_provider_fails(
            &policy.fallbacks,
            policy.order,
            policy.providers.len(),
        ),
        sticky: policy.sticky.as_ref().map(|sticky| Sticky {
            session_key: &sticky.session_key,
            ttl_ms: milliseconds(sticky.ttl),
        }),
        post: waves(&plan.post),
    }
}

fn step<'a>(call: &'a PlannedCall, choice: &ChoiceContext<'_>) -> Step<'a> {
    let place = call.target.endpoint(0);
    let endpoint_state = place
        .map(|place| (choice.endpoint_state)(call.id(), &place.subject))
        .unwrap_or_default();
    let (mode, on_fail) = match call.rule {
        Rule::Processor(mode) => (Some(mode), None),
        Rule::Validator(on_fail) => (None, Some(on_fail)),
        Rule::Provider => (None, None),
    };
    // Instances belong to the extension's own version.
    let instances: &[ExtensionInstance] = if call.route.is_none() {
        &call.extension.instances
    } else {
        &[]
    };
    let instance = |instance: &'a ExtensionInstance| Place {
        instance_id: &instance.instance_id,
        subject: &instance.subject,
        weight: instance.weight,
        enabled: instance.enabled,
        healthy: !(choice.endpoint_state)(call.id(), &instance.subject).unhealthy,
    };
    Step {
        id: call.id(),
        kind: call.extension.kind,
        version: &call.target.version,
        version_rule: call.route.as_ref().map(|route| route.rules.to_string()),
        instance: place.and_then(|place| place.instance.as_deref()),
        instances: instances.iter().map(instance).collect(),
        subject: place.map(|place| &*place.subject).unwrap_or_default(),
        timeout_ms: milliseconds(call.target.timeout),
        retry: call.target.retry,
        config: &call.config,
        mode,
        on_fail,
        usual_latency_ms: endpoint_state.latency.map(milliseconds),
        available: endpoint_state.held_back.is_none(),
        if_it_fails: when_it_fails(call),
    }
}

fn when_it_fails(call: &PlannedCall) -> String {
    let retries = match call.target.retry {
        0 => String::new(),
        1 => "It is tried once more where that may help. ".to_owned(),
        more => format!("It is tried up to {more} times more where that may help. "),
    };
    let end = match (call.rule, call.extension.kind) {
        (Rule::Processor(Mode::Optional), _) => {
            "The request goes on without it and lists it under degraded."
        }
        (Rule::Processor(Mode::Required), Kind::Post) => {
            "The request ends with post_processor_failed, extension_timeout or extension_unavailable."
        }
        (Rule::Processor(Mode::Required), _) => {
            "The request ends with pre_processor_failed, extension_timeout or extension_unavailable."
        }
        (Rule::Validator(OnFail::Block), _) => {
            "The request ends with validator_blocked, also when it does not answer."
        }
        (Rule::Validator(OnFail::Warn), _) => {
            "The request goes on; a rejection is reported as warned and listed under degraded."
        }
        (Rule::Validator(OnFail::Ignore), _) => {
            "The request goes on; a rejection is only reported."
        }
        (Rule::Provider, _) => "The policy's fallback rules decide.",
    };
    format!("{retries}{end}")
}

fn when_the_provider_fails(rules: &[Fallback], order: Order, providers: usize) -> Vec<String> {
    let mut sentences: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| format!("Rule {}: {}.", index + 1, what_a_rule_does(rule)))
        .collect();
    if order == Order::Priority && providers > 1 {
        sentences
            .push("Otherwise the next provider in the list takes over, unless the request itself is at fault.".into());
    }
    sentences.push(
        "When nothing is left to try, the request ends with the error of the last attempt.".into(),
    );
    sentences
}

fn what_a_rule_does(rule: &Fallback) -> String {
    let retries = match rule.retry {
        None => "retries as its record grants them".to_owned(),
        Some(0) => String::new(),
        Some(1) => format!("1 retry ({})", waits(rule.backoff)),
        Some(many) => format!("{many} retries ({})", waits(rule.backoff)),
    };
    let to = rule
        .to
        .as_ref()
        .map(|to| format!("{to} takes over"))
        .unwrap_or_default();
    let parts: Vec<String> = [retries, to]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    format!("{}: {}", explanation::rule(rule), parts.join(", then "))
}

fn waits(backoff: Backoff) -> String {
    let (base, max) = (milliseconds(backoff.base), milliseconds(backoff.max));
    let waits = match backoff.strategy {
        Strategy::Fixed => format!("after {base} ms"),
        Strategy::Linear => {
            format!("after {base} ms, then {base} ms longer each time, at most {max} ms")
        }
        Strategy::Exponential => format!("after {base} ms, doubled each time, at most {max} ms"),
    };
    if backoff.jitter {
        format!("{waits}, a random part of it")
    } else {
        waits
    }
}

fn estimate(run: &Run, assumed: Duration, choice: &ChoiceContext<'_>) -> Estimate {
    let known = |id: &str| {
        let call = run.plan.guardrails().find(|call| call.id() == id)?;
        (choice.endpoint_state)(id, &call.target.endpoint(0)?.subject).latency
    };
    let extensions = complexity::estimate(&run.plan.policy, assumed, &known);
    let provider = run.decision.as_ref().and_then(|decision| {
        let registered = decision
            .call
            .extension
            .metadata
            .number("expected_latency_ms");
        decision.expected_latency.map(milliseconds).or(registered)
    });
    Estimate {
        extensions_ms: milliseconds(extensions.latency),
        extensions_from: extensions.from,
        provider_ms: provider,
        total_ms: milliseconds(extensions.latency) + provider.unwrap_or_default(),
    }
}

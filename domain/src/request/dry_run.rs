//! What a dry run tells of a pipeline. Made from the same plan that a request runs by.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::policy::complexity;
use crate::policy::{Backoff, Fallback};
use crate::request::answer::{decision_body, degradation, extension_report};
use crate::request::error::RequestError;
use crate::request::explanation;
use crate::request::plan::{Candidate, PlannedCall, Rule};
use crate::request::run::{Decision, Run};
use crate::target::selection::ChoiceContext;
use beamline_contract::admin::{
    DryRunError, DryRunResult, LatencyEstimate, PlannedInstance, PlannedPipeline, PlannedProvider,
    PlannedStep, StickyRule,
};
use beamline_contract::answer::ProviderChance;
use beamline_contract::details::EXTENSION_ID;
use beamline_contract::policy::{Mode, OnFail, Order, Strategy};
use beamline_contract::record::{ExtensionInstance, Kind};
use beamline_contract::time::milliseconds;

/// Tells of a run that went as far as a dry run goes.
pub fn result<'a>(
    run: &'a Run,
    called_extensions: bool,
    assumed_latency: Duration,
    choice: &ChoiceContext<'_>,
) -> DryRunResult<'a> {
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
    DryRunResult {
        decision: decided.map(|decision| decision_body(run, decision)),
        executed_extensions: before,
        blocked_by: run.failure.as_ref().and_then(culprit),
        final_payload: Cow::Borrowed(&run.message.payload),
        provider_selected: decided.map(|decision| decision.call.id().into()),
        post_processors_executed: post,
        called_extensions,
        pipeline: pipeline(run, choice),
        estimate: estimate(run, assumed_latency, choice),
        degraded: run.degraded.iter().map(degradation).collect(),
        warnings: warnings(run),
        error: run.failure.as_ref().map(|error| DryRunError {
            code: error.code.as_str().into(),
            message: error.message.as_str().into(),
            details: Cow::Borrowed(&error.details),
        }),
    }
}

fn culprit(error: &RequestError) -> Option<String> {
    error
        .details
        .get(EXTENSION_ID)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// Times that do not go together.
fn warnings(run: &Run) -> Vec<String> {
    let plan = &run.plan;
    let time = run.request.timeout;
    let mut warnings = Vec::new();
    let waves = plan
        .pre
        .iter()
        .chain([&plan.validators])
        .chain(&plan.post)
        .chain([&plan.output_validators]);
    let guardrails: Duration = waves.filter_map(|wave| longest_timeout(wave)).sum();
    if guardrails >= time {
        warnings.push(format!(
            "The extensions may take {} ms before they time out, and a request has {} ms: shorten their timeout_ms.",
            milliseconds(guardrails),
            milliseconds(time)
        ));
    }
    if plan.providers.len() < 2 {
        return warnings;
    }
    for call in plan.providers.iter().filter_map(callable) {
        if !call.extension.is_external() && call.target.timeout >= time {
            warnings.push(format!(
                "{} may take {} ms before it times out, all that a request has ({} ms): when it hangs, nobody can take over. \
                 Shorten its timeout_ms.",
                call.id(),
                milliseconds(call.target.timeout),
                milliseconds(time)
            ));
        }
    }
    warnings
}

fn longest_timeout(wave: &[Arc<PlannedCall>]) -> Option<Duration> {
    wave.iter().map(|call| call.target.timeout).max()
}

fn callable(candidate: &Candidate) -> Option<&PlannedCall> {
    candidate.choice.as_deref().ok()
}

fn pipeline<'a>(run: &'a Run, choice: &ChoiceContext<'_>) -> PlannedPipeline<'a> {
    let plan = &run.plan;
    let policy = &plan.policy;
    let exclusions = match &run.decision {
        Some(decision) => decision.exclusions.clone(),
        None => run.exclusions(choice),
    };
    let chances = explanation::chances(plan, &exclusions);
    let providers = plan.providers.iter().zip(chances);
    PlannedPipeline {
        policy_id: (&*plan.policy_id).into(),
        policy_version: policy.version.as_str().into(),
        revision: plan.revision,
        pre: waves(&plan.pre, choice),
        validators: wave(&plan.validators, choice),
        order: policy.order.as_str().into(),
        providers: providers
            .map(|(candidate, chance)| provider(candidate, chance, choice))
            .collect(),
        if_the_provider_fails: when_the_provider_fails(
            &policy.fallbacks,
            policy.order,
            policy.providers.len(),
        ),
        sticky: policy.sticky.as_ref().map(|sticky| StickyRule {
            session_key: sticky.session_key.as_str().into(),
            ttl_ms: milliseconds(sticky.ttl),
        }),
        post: waves(&plan.post, choice),
        output_validators: wave(&plan.output_validators, choice),
    }
}

fn waves<'a>(
    waves: &'a [Vec<Arc<PlannedCall>>],
    choice: &ChoiceContext<'_>,
) -> Vec<Vec<PlannedStep<'a>>> {
    waves.iter().map(|calls| wave(calls, choice)).collect()
}

fn wave<'a>(calls: &'a [Arc<PlannedCall>], choice: &ChoiceContext<'_>) -> Vec<PlannedStep<'a>> {
    calls.iter().map(|call| step(call, choice)).collect()
}

fn provider<'a>(
    candidate: &'a Candidate,
    chance: ProviderChance<'a>,
    choice: &ChoiceContext<'_>,
) -> PlannedProvider<'a> {
    PlannedProvider {
        chance,
        call: callable(candidate).map(|call| step(call, choice)),
    }
}

fn step<'a>(call: &'a PlannedCall, choice: &ChoiceContext<'_>) -> PlannedStep<'a> {
    let endpoint = call.target.endpoint(0);
    let state = endpoint
        .map(|endpoint| (choice.endpoint_state)(call.id(), &endpoint.subject))
        .unwrap_or_default();
    let (mode, on_fail) = match call.rule {
        Rule::Processor(mode) => (Some(mode.as_str().into()), None),
        Rule::Validator(on_fail) => (None, Some(on_fail.as_str().into())),
        Rule::Provider => (None, None),
    };
    PlannedStep {
        id: call.id().into(),
        kind: call.extension.kind.into(),
        version: (&*call.target.version).into(),
        version_rule: call.route.as_ref().map(|route| route.rules.to_string()),
        instance: endpoint.and_then(|endpoint| endpoint.instance.as_deref().map(Into::into)),
        instances: instances(call, choice),
        subject: endpoint
            .map(|endpoint| (&*endpoint.subject).into())
            .unwrap_or_default(),
        timeout_ms: milliseconds(call.target.timeout),
        retry: call.target.retry,
        config: Cow::Borrowed(&call.config),
        mode,
        on_fail,
        usual_latency_ms: state.latency.map(milliseconds),
        available: state.held_back.is_none(),
        if_it_fails: when_it_fails(call),
    }
}

/// They belong to the extension's own version.
fn instances<'a>(call: &'a PlannedCall, choice: &ChoiceContext<'_>) -> Vec<PlannedInstance<'a>> {
    if call.route.is_some() {
        return Vec::new();
    }
    let instances = call.extension.places().iter();
    instances
        .map(|instance| planned_instance(call, instance, choice))
        .collect()
}

fn planned_instance<'a>(
    call: &PlannedCall,
    instance: &'a ExtensionInstance,
    choice: &ChoiceContext<'_>,
) -> PlannedInstance<'a> {
    let state = (choice.endpoint_state)(call.id(), &instance.subject);
    PlannedInstance {
        instance_id: instance.instance_id.as_str().into(),
        subject: instance.subject.as_str().into(),
        weight: instance.weight,
        enabled: instance.enabled,
        healthy: !state.unhealthy,
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
    let base = milliseconds(backoff.base);
    let max = milliseconds(backoff.max);
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

fn estimate(run: &Run, assumed: Duration, choice: &ChoiceContext<'_>) -> LatencyEstimate {
    let known = |id: &str| {
        let call = run.plan.guardrails().find(|call| call.id() == id)?;
        (choice.endpoint_state)(id, &call.target.endpoint(0)?.subject).latency
    };
    let extensions = complexity::estimate(&run.plan.policy, assumed, &known);
    let provider = run.decision.as_deref().and_then(expected_latency_ms);
    LatencyEstimate {
        extensions_ms: milliseconds(extensions.latency),
        extensions_from: extensions.from.into(),
        provider_ms: provider,
        total_ms: milliseconds(extensions.latency) + provider.unwrap_or_default(),
    }
}

/// Measured, or as its record says.
fn expected_latency_ms(decision: &Decision) -> Option<f64> {
    let metadata = &decision.call.extension.metadata;
    let measured = decision.expected_latency.map(milliseconds);
    measured.or_else(|| metadata.number("expected_latency_ms"))
}

//! Why a request went the way it went, in words (design, "Explanation"). Made from the plan and the
//! run, so that it says what really was decided.

use std::borrow::Cow;
use std::fmt::{self, Write};

use beamline_contract::answer::{
    CallPlace, DecisionReason, Explanation, ExplanationContext, ProviderChance,
};

use crate::policy::Fallback;
use crate::request::plan::{Candidate, Exclusion, Plan, PlannedCall};
use crate::request::run::{Attempt, Decision, Run, Session};
use beamline_contract::policy::Order;
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

/// `decision.explanation` of an answer.
pub fn of<'a>(run: &'a Run, decision: &'a Decision) -> Explanation<'a> {
    let detail = Detail::of(run.context.text("detail_level").as_deref());
    let mut explanation = Explanation {
        reason: Cow::Borrowed(decision.reason.as_str()),
        provider_id: Cow::Borrowed(decision.call.id()),
        policy_id: Cow::Borrowed(&run.plan.policy_id),
        policy_version: Cow::Borrowed(&run.plan.policy.version),
        priority: decision.reason.priority(),
        steps: None,
        context: None,
        revision: None,
        providers: None,
        places: None,
        subject: None,
    };
    if detail >= Detail::Detailed {
        explanation.steps = Some(steps(run, Some(decision)));
        explanation.context = Some(ExplanationContext {
            tenant_id: Cow::Borrowed(&run.request.tenant_id),
            trace_id: Cow::Borrowed(&run.request.trace.trace_id),
        });
    }
    if detail == Detail::Verbose {
        let calls = run.plan.guardrails().chain([&decision.call]);
        let tenant_id = &run.request.tenant_id;
        let endpoint = decision.call.target.endpoint(0);
        explanation.revision = Some(run.plan.revision);
        explanation.providers = Some(chances(&run.plan, &decision.exclusions));
        explanation.places = Some(calls.map(|call| place(call, tenant_id)).collect());
        // For who knew it from the first version.
        explanation.subject = endpoint.map(|endpoint| Cow::Borrowed(&*endpoint.subject));
    }
    explanation
}

/// Numbered sentences, in the order in which things were decided.
pub fn steps(run: &Run, decision: Option<&Decision>) -> Vec<String> {
    let plan = &run.plan;
    let mut steps = Steps::default();
    steps.add(format_args!(
        "policy {} version {} at registry revision {}",
        plan.policy_id, plan.policy.version, plan.revision
    ));
    for call in plan.before_provider() {
        steps.add(Guardrail { run, call });
    }
    if let Some(session) = session(run) {
        steps.add(session);
    }
    if let Some(decision) = decision {
        let chances = chances(plan, &decision.exclusions);
        for (candidate, chance) in plan.providers.iter().zip(&chances) {
            steps.add(provider(plan.policy.order, candidate, chance));
        }
        for (index, attempt) in run.attempts().iter().enumerate() {
            steps.add(AttemptStep {
                plan,
                index,
                attempt,
            });
        }
        steps.add(Conclusion { run, decision });
    }
    for call in plan.after_provider() {
        steps.add(Guardrail { run, call });
    }
    steps.0
}

/// The chance of each provider after exclusions; `exclusions` are in the order of the plan's
/// providers.
pub fn chances<'p>(plan: &'p Plan, exclusions: &[Option<Exclusion>]) -> Vec<ProviderChance<'p>> {
    let is_free = |index: usize| matches!(exclusions.get(index), Some(None));
    let first = (0..plan.providers.len()).find(|index| is_free(*index));
    let mut chances = Vec::with_capacity(plan.providers.len());
    let mut total = 0.0;
    for (index, candidate) in plan.providers.iter().enumerate() {
        let takes_part = candidate.listed && is_free(index);
        let weight = match plan.policy.order {
            _ if !takes_part => 0.0,
            Order::Weighted => candidate.weight,
            Order::Priority => f64::from(first == Some(index)),
        };
        total += weight;
        let excluded = exclusions.get(index).copied().flatten();
        chances.push(ProviderChance {
            provider_id: Cow::Borrowed(&candidate.name),
            weight: candidate.weight,
            share: weight,
            excluded: excluded.map(|exclusion| Cow::Borrowed(exclusion.as_str())),
            fallback_only: !candidate.listed,
        });
    }
    for chance in &mut chances {
        chance.share = if total > 0.0 {
            chance.share / total
        } else {
            0.0
        };
    }
    chances
}

/// What a fallback rule is for, in words.
pub fn rule(rule: &Fallback) -> String {
    RuleWords(rule).to_string()
}

/// Sentences that count themselves.
#[derive(Default)]
struct Steps(Vec<String>);

impl Steps {
    /// Most sentences are shorter.
    const ROOM: usize = 96;

    fn add(&mut self, sentence: impl fmt::Display) {
        let mut step = String::with_capacity(Self::ROOM);
        // Writing into a string does not fail.
        let _ = write!(step, "{}. {sentence}", self.0.len() + 1);
        self.0.push(step);
    }
}

struct Guardrail<'a> {
    run: &'a Run,
    call: &'a PlannedCall,
}

impl fmt::Display for Guardrail<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.run.report(self.call);
        let version = Version {
            run: self.run,
            call: self.call,
            used: report.and_then(|report| report.instance()),
        };
        let kind = self.call.extension.kind.as_str();
        let status = report.map_or("not run", |report| report.status.as_str());
        write!(out, "{kind} {} {version}: {status}", self.call.id())
    }
}

/// Which version of an extension, on which instance, and by which rule. `used` is the instance of
/// the last attempt, or none while there was no attempt.
struct Version<'a> {
    run: &'a Run,
    call: &'a PlannedCall,
    used: Option<&'a str>,
}

impl fmt::Display for Version<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.call.target.version)?;
        if let Some(route) = &self.call.route {
            let rules = route.rules.visible_to(&self.run.request.tenant_id);
            write!(out, " by its rule ({rules})")?;
        }
        if let Some(instance) = self.used.or_else(|| self.call.instance(0)) {
            write!(out, " on instance {instance}")?;
        }
        match self.call.target.avoided {
            0 => Ok(()),
            1 => out.write_str(", 1 unhealthy instance avoided"),
            many => write!(out, ", {many} unhealthy instances avoided"),
        }
    }
}

struct RuleWords<'a>(&'a Fallback);

impl fmt::Display for RuleWords<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = &self.0.when;
        out.write_str("on ")?;
        if when.status.is_empty() {
            out.write_str("any failure")?;
        }
        for (index, status) in when.status.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            write!(out, "{or}{status}")?;
        }
        if when.conditions.is_empty() {
            return Ok(());
        }
        write!(out, " and {}", when.conditions)
    }
}

/// The fallback rule at a position of the policy.
struct FiredRule<'a> {
    position: usize,
    rule: &'a Fallback,
}

impl fmt::Display for FiredRule<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "fallback rule {}: {}",
            self.position + 1,
            RuleWords(self.rule)
        )
    }
}

fn fired(plan: &Plan, position: Option<usize>) -> Option<FiredRule<'_>> {
    let position = position?;
    let rule = plan.policy.fallbacks.get(position)?;
    Some(FiredRule { position, rule })
}

fn session(run: &Run) -> Option<String> {
    let key = &run.plan.policy.sticky.as_ref()?.session_key;
    let state = match &run.session {
        Session::Off => "the session was not asked for yet".to_owned(),
        Session::Unnamed => "the request names no session".to_owned(),
        Session::Named { had, shared, .. } => {
            let local = if *shared {
                ""
            } else {
                ", as far as this replica alone knows: JetStream does not answer"
            };
            match had {
                Some(had) => format!("the session has {had}{local}"),
                None => format!("the session is new{local}"),
            }
        }
    };
    Some(format!("sticky sessions by {key}: {state}"))
}

fn provider(order: Order, candidate: &Candidate, chance: &ProviderChance<'_>) -> String {
    let name = &candidate.name;
    if let Some(why) = &chance.excluded {
        return format!("provider {name}: excluded, {why}");
    }
    if chance.fallback_only {
        return format!("provider {name}: only for fallbacks");
    }
    match order {
        Order::Weighted => {
            let percent = chance.share * 100.0;
            format!("provider {name}: weight {}, {percent:.1} %", chance.weight)
        }
        Order::Priority if chance.share > 0.0 => {
            format!("provider {name}: first in the list that can be called")
        }
        Order::Priority => format!("provider {name}: later in the list"),
    }
}

struct AttemptStep<'a> {
    plan: &'a Plan,
    index: usize,
    attempt: &'a Attempt,
}

impl fmt::Display for AttemptStep<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.attempt;
        let id = attempt.call.id();
        let version = &attempt.call.target.version;
        write!(out, "attempt {} at {id} {version}", self.index + 1)?;
        if let Some(instance) = attempt.instance() {
            write!(out, " on instance {instance}")?;
        }
        write!(out, " ({}", attempt.reason.as_str())?;
        if let Some(rule) = fired(self.plan, attempt.rule) {
            write!(out, ", {rule}")?;
        }
        out.write_str(")")?;
        let waited = milliseconds(attempt.waited);
        if waited > 0.0 {
            write!(out, " after a wait of {waited} ms")?;
        }
        write!(out, ": {}", attempt.status.as_str())?;
        if let Some(error) = attempt.error_type {
            write!(out, " ({error})")?;
        }
        write!(out, " in {} ms", milliseconds(attempt.latency))
    }
}

struct Conclusion<'a> {
    run: &'a Run,
    decision: &'a Decision,
}

impl fmt::Display for Conclusion<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.run.plan;
        let id = self.decision.call.id();
        let last = self.run.attempts().last();
        let version = Version {
            run: self.run,
            call: &self.decision.call,
            used: last
                .filter(|attempt| attempt.call.id() == id)
                .and_then(Attempt::instance),
        };
        write!(out, "{id} {version} ")?;
        let rule = fired(plan, self.decision.rule);
        match (self.decision.reason, plan.policy.order) {
            (DecisionReason::Sticky, _) => out.write_str("because the session has it"),
            (DecisionReason::Retry, _) => match rule {
                Some(rule) => write!(out, "after a retry ({rule})"),
                None => out.write_str("after a retry"),
            },
            (DecisionReason::Fallback, _) => match rule {
                Some(rule) => write!(out, "as a fallback ({rule})"),
                None => out.write_str("as the next in the list"),
            },
            (DecisionReason::Weighted, Order::Weighted) => out.write_str("chosen by weight"),
            (DecisionReason::Weighted, Order::Priority) => {
                out.write_str("chosen as the first in the list")
            }
        }
    }
}

/// Where a call goes. Its config is left out: a caller need not see it.
fn place<'a>(call: &'a PlannedCall, tenant_id: &str) -> CallPlace<'a> {
    let target = &call.target;
    let rule = call.route.as_ref();
    CallPlace {
        id: Cow::Borrowed(call.id()),
        kind: call.extension.kind.into(),
        version: Cow::Borrowed(&target.version),
        rule: rule.map(|route| route.rules.visible_to(tenant_id).to_string()),
        instance: call.instance(0).map(Cow::Borrowed),
        subjects: target
            .endpoints
            .iter()
            .map(|endpoint| Cow::Borrowed(&*endpoint.subject))
            .collect(),
        timeout_ms: milliseconds(target.timeout),
        retry: target.retry,
    }
}

//! One request on its way through the pipeline: what has happened so far, and what comes next.
//!
//! Cloning is cheap, so every finished step can be kept and a restart can go on from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::conditions::Facts;
use crate::request::call::{self, CallFailure, Reply};
use crate::request::error::RequestError;
use crate::request::plan::{Candidate, Plan, PlannedCall};
use crate::request::{Message, Request, RequestKind};
use crate::session::SessionKey;
use crate::target::retry_budget::RetryTokens;
use beamline_contract::error::ErrorCode;
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;

mod failures;
mod providers;
mod results;

pub use failures::is_fatal;
pub use providers::{Attempt, Decision, Reason, Session};

#[derive(Debug, Clone)]
pub struct Run {
    pub kind: RequestKind,
    pub request: Arc<Request>,
    pub plan: Arc<Plan>,
    pub environment: Arc<str>,
    pub message: Message,
    pub context: Arc<Fields>,
    /// Attempts beyond the first of each extension that the request may still make.
    pub budget: AttemptBudget,
    /// The budgets that all requests share. Without them every attempt is granted.
    pub retry_tokens: Option<Arc<dyn RetryTokens>>,
    step: Step,
    pub reports: Vec<Report>,
    pub degraded: Vec<Degraded>,
    pub session: Session,
    pursuit: providers::Pursuit,
    pub decision: Option<Arc<Decision>>,
    pub response: Option<Response>,
    pub failure: Option<RequestError>,
}

/// Where a request stands. A number is the wave that runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pre(usize),
    Validate,
    Recall,
    Choose,
    Pin,
    Wait(Duration),
    Provide,
    Post(usize),
    Answer,
}

/// What has to happen next.
#[derive(Debug)]
pub enum Next {
    /// Make these calls side by side and bring the results in the same order.
    Call(Vec<Order>),
    /// Ask which provider the session has.
    Recall {
        key: SessionKey,
        ttl: Duration,
    },
    /// Choose a provider, or what to do after one failed.
    Choose,
    /// Let the session keep its provider. `instead_of` is the one that it had and that cannot be called now.
    Pin {
        key: SessionKey,
        provider: String,
        ttl: Duration,
        instead_of: Option<String>,
    },
    /// Let some time pass before the next attempt.
    Wait(Duration),
    Answer,
}

/// One call to make.
#[derive(Debug, Clone)]
pub struct Order {
    pub call: Arc<PlannedCall>,
    pub body: Bytes,
    /// The number of its first attempt, counted from 1.
    pub attempt: u32,
    /// Whose turn it is among the places of its target.
    pub turn: usize,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallResult {
    pub outcome: Result<Reply, CallFailure>,
    pub latency: Duration,
    pub attempts: u32,
    /// The position of the place that took the last attempt.
    pub place: usize,
    /// It would have been tried again, but a retry budget was empty.
    pub retry_refused: bool,
}

/// Attempts beyond the first of each extension that one request may make in all, shared by everything that makes them.
#[derive(Debug, Clone)]
pub struct AttemptBudget(Arc<AtomicU32>);

impl AttemptBudget {
    pub fn new(extra: u32) -> Self {
        Self(Arc::new(AtomicU32::new(extra)))
    }

    /// Takes one attempt; false when none is left.
    pub fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    pub fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Shares out what calls that run side by side may want: one to each in turn, in their order, while there are any. Who
    /// gets the last ones must not depend on who fails first.
    pub fn share_out(&self, wanted: &[u32]) -> Shares {
        let mut granted = vec![0; wanted.len()];
        for round in 0..wanted.iter().copied().max().unwrap_or_default() {
            for (granted, _) in granted
                .iter_mut()
                .zip(wanted)
                .filter(|(_, wanted)| **wanted > round)
            {
                *granted += u32::from(self.take());
            }
        }
        Shares {
            of: self.clone(),
            each: granted.into_iter().map(Self::new).collect(),
        }
    }
}

/// Parts of a budget; what is left of them goes back to it in the end.
#[derive(Debug)]
pub struct Shares {
    of: AttemptBudget,
    /// In the order in which they were asked for.
    pub each: Vec<AttemptBudget>,
}

impl Drop for Shares {
    fn drop(&mut self) {
        let unused = self
            .each
            .iter()
            .map(|share| share.0.swap(0, Ordering::Relaxed))
            .sum();
        self.of.0.fetch_add(unused, Ordering::Relaxed);
    }
}

/// A line of `extensions` in the answer.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub status: &'static str,
    /// Milliseconds, all attempts together.
    pub latency_ms: f64,
    pub attempts: u32,
}

/// A line of `degraded` in the answer: what the policy wanted and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Degraded {
    pub id: String,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub provider_id: String,
    pub usage: Option<Arc<RawValue>>,
    pub metadata: Fields,
}

impl Run {
    pub fn new(
        kind: RequestKind,
        request: Arc<Request>,
        plan: Arc<Plan>,
        environment: &str,
        budget: AttemptBudget,
    ) -> Self {
        let mut context = request.context.clone();
        context.set_text("policy_id", &plan.policy_id);
        context.set_text("environment", environment);
        Self {
            kind,
            message: request.message.clone(),
            request,
            plan,
            environment: environment.into(),
            context: Arc::new(context),
            budget,
            retry_tokens: None,
            step: Step::Pre(0),
            reports: Vec::new(),
            degraded: Vec::new(),
            session: Session::default(),
            pursuit: providers::Pursuit::default(),
            decision: None,
            response: None,
            failure: None,
        }
    }

    /// What comes next; steps with nothing to do are passed over.
    pub fn next_step(&mut self) -> Next {
        loop {
            let calls = match self.step {
                Step::Pre(wave) => self.plan.pre.get(wave),
                Step::Validate => Some(&self.plan.validators),
                Step::Recall => {
                    self.step = Step::Choose;
                    if let Some(recall) = self.recall() {
                        return recall;
                    }
                    continue;
                }
                Step::Choose => return Next::Choose,
                Step::Pin => {
                    self.step = self.step_after_choice();
                    if let Some(pin) = self.pin() {
                        return pin;
                    }
                    continue;
                }
                Step::Wait(time) => {
                    self.step = Step::Provide;
                    return Next::Wait(time);
                }
                Step::Provide => {
                    return Next::Call(self.decision.iter().map(|d| self.order(&d.call)).collect());
                }
                Step::Post(wave) => self.plan.post.get(wave),
                Step::Answer => return Next::Answer,
            };
            match calls {
                Some(calls) if !calls.is_empty() => {
                    return Next::Call(calls.iter().map(|c| self.order(c)).collect());
                }
                Some(_) => self.step = self.step_after(),
                None => {
                    self.step = if matches!(self.step, Step::Pre(_)) {
                        Step::Validate
                    } else {
                        Step::Answer
                    }
                }
            }
        }
    }

    /// Takes the results of the calls that [`Next::Call`] asked for, in the order of the policy, so that the outcome does
    /// not depend on which came first.
    pub fn apply(&mut self, results: Vec<CallResult>) {
        let calls: Vec<Arc<PlannedCall>> = match self.step {
            Step::Pre(wave) => self.plan.pre.get(wave).cloned().unwrap_or_default(),
            Step::Validate => self.plan.validators.clone(),
            Step::Provide => return results.into_iter().for_each(|result| self.provided(result)),
            Step::Post(wave) => self.plan.post.get(wave).cloned().unwrap_or_default(),
            Step::Recall | Step::Choose | Step::Pin | Step::Wait(_) | Step::Answer => Vec::new(),
        };
        let step = self.step_after();
        let mut failure = None;
        for (call, result) in calls.iter().zip(results) {
            let error = self.take(call, result);
            failure = failure.or(error);
        }
        self.step = step;
        if let Some(error) = failure {
            self.fail(error);
        }
    }

    /// The request's time is over while something of this step is still running.
    pub fn time_out(&mut self, elapsed: Duration) {
        let running = match self.step {
            Step::Pre(wave) => self.plan.pre.get(wave).map_or(0, Vec::len),
            Step::Validate => self.plan.validators.len(),
            Step::Post(wave) => self.plan.post.get(wave).map_or(0, Vec::len),
            // A call or the wait before it.
            Step::Provide => 1,
            Step::Recall | Step::Choose | Step::Pin | Step::Wait(_) | Step::Answer => 0,
        };
        let late = || CallResult {
            outcome: Err(CallFailure::Deadline),
            latency: elapsed,
            attempts: 1,
            place: 0,
            retry_refused: false,
        };
        self.apply(std::iter::repeat_with(late).take(running).collect());
        if self.failure.is_none() {
            let sentence = format!(
                "The request's time of {} ms is over.",
                self.request.timeout.as_millis()
            );
            // Between two calls it is the provider that is being found.
            self.fail(
                RequestError::new(ErrorCode::DeadlineExceeded, sentence).at_stage(Kind::Provider),
            );
        }
    }

    /// Leaves out the calls that [`Next::Call`] asked for: a dry run that calls nobody.
    pub fn pass_over(&mut self) {
        self.step = self.step_after();
    }

    /// Goes on with the post-processors as if the provider had answered `output`: a dry run does not call it.
    pub fn assume_output(&mut self, output: Arc<RawValue>) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let mut about = Fields::clone(&self.message.metadata);
        about.set_text("provider_id", decision.call.id());
        self.message.payload = output;
        self.message.metadata = Arc::new(about);
        self.step = Step::Post(0);
    }

    /// What guardrails may retry. Nothing when the request is a retry itself: one layer retries, or they multiply.
    pub fn guardrail_budget(&self) -> AttemptBudget {
        if self.request.is_retry() {
            AttemptBudget::new(0)
        } else {
            self.budget.clone()
        }
    }

    /// Ends the run with an error.
    pub fn fail(&mut self, error: RequestError) {
        self.failure = Some(error);
        self.step = Step::Answer;
    }

    /// What conditions are compared with: the request, and what the stages so far have found out about it.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            tenant_id: &self.request.tenant_id,
            policy_id: &self.plan.policy_id,
            environment: &self.environment,
            message_type: &self.request.message.message_type,
            context: &self.context,
        }
    }

    /// The attempts at providers, in the order in which they were made.
    pub fn trail(&self) -> &[Attempt] {
        &self.pursuit.trail
    }

    /// What really happened to everything that the policy configures, in its order; what did not run is `skipped`.
    pub fn all_reports(&self) -> Vec<Report> {
        let plan = &self.plan;
        let call = |c: &Arc<PlannedCall>| {
            (
                c.extension.id.clone(),
                c.extension.kind,
                c.target.version.to_string(),
            )
        };
        let version = |c: &Candidate| {
            c.choice
                .as_ref()
                .map(|call| call.target.version.to_string())
                .unwrap_or_default()
        };
        let before = plan.pre.iter().flatten().chain(&plan.validators).map(call);
        let providers = plan
            .providers
            .iter()
            .map(|c| (c.name.clone(), Kind::Provider, version(c)));
        let planned = before
            .chain(providers)
            .chain(plan.post.iter().flatten().map(call));
        let find = |id: &str, kind: Kind| {
            self.reports
                .iter()
                .find(|r| r.id == id && r.kind == kind)
                .cloned()
        };
        let skipped = |id, kind, version| Report {
            id,
            kind,
            version,
            instance: None,
            status: "skipped",
            latency_ms: 0.0,
            attempts: 0,
        };
        planned
            .map(|(id, kind, version)| {
                find(&id, kind).unwrap_or_else(|| skipped(id, kind, version))
            })
            .collect()
    }

    fn order(&self, call: &Arc<PlannedCall>) -> Order {
        let body = call::body(call, &self.request, &self.message, &self.context);
        let is_provider = call.extension.kind == Kind::Provider;
        let (attempt, turn) = if is_provider {
            (self.pursuit.made + 1, self.pursuit.turn)
        } else {
            (1, 0)
        };
        Order {
            call: Arc::clone(call),
            body,
            attempt,
            turn,
        }
    }

    fn step_after(&self) -> Step {
        match self.step {
            Step::Pre(wave) => Step::Pre(wave + 1),
            Step::Validate => Step::Recall,
            Step::Recall => Step::Choose,
            Step::Choose => Step::Pin,
            Step::Pin => self.step_after_choice(),
            Step::Wait(_) => Step::Provide,
            Step::Provide => Step::Post(0),
            Step::Post(wave) => Step::Post(wave + 1),
            Step::Answer => Step::Answer,
        }
    }

    fn step_after_choice(&self) -> Step {
        match self.kind {
            RequestKind::Decide => Step::Answer,
            RequestKind::Route => Step::Provide,
        }
    }
}

#[cfg(test)]
mod tests;

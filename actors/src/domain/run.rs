//! One request on its way through the pipeline: what has happened so far, and what comes next.
//!
//! Cloning is cheap, so every finished step can be kept and a restart can go on from it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::call::{self, CallFailure, Edit, Reply};
use super::error::{ErrorCode, IntakeCode, RequestError};
use super::extension::Kind;
use super::fields::Fields;
use super::plan::{Candidate, Exclusion, Plan, PlannedCall, Rule};
use super::policy::{Mode, OnFail};
use super::request::{Message, Request, RequestKind};
use super::selection;

#[derive(Debug, Clone)]
pub struct Run {
    pub kind: RequestKind,
    pub request: Arc<Request>,
    pub plan: Arc<Plan>,
    pub message: Message,
    pub context: Arc<Fields>,
    step: Step,
    pub reports: Vec<Report>,
    pub degraded: Vec<Degraded>,
    pub decision: Option<Arc<Decision>>,
    pub response: Option<Response>,
    pub failure: Option<RequestError>,
}

/// Where a request stands. A number is the wave that runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pre(usize),
    Validate,
    Choose,
    Provide,
    Post(usize),
    Answer,
}

/// What has to happen next.
#[derive(Debug)]
pub enum Next {
    /// Make these calls side by side and bring the results in the same order.
    Call(Vec<Order>),
    /// Choose a provider, among what the breakers let through.
    Choose,
    Answer,
}

/// One call to make.
#[derive(Debug, Clone)]
pub struct Order {
    pub call: Arc<PlannedCall>,
    pub body: Bytes,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallResult {
    pub outcome: Result<Reply, CallFailure>,
    pub latency: Duration,
    pub attempts: u32,
}

/// A line of `extensions` in the answer.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub version: String,
    pub status: &'static str,
    /// Milliseconds, all attempts together.
    pub latency_ms: f64,
    pub attempts: u32,
}

/// A line of `degraded` in the answer: what the policy wanted and did not get.
#[derive(Debug, Clone, Serialize)]
pub struct Degraded {
    pub id: String,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub struct Decision {
    pub call: Arc<PlannedCall>,
    pub reason: &'static str,
    pub priority: u32,
    /// Name, weight and, if it could not be chosen, why not.
    pub weights: Vec<(String, f64, Option<Exclusion>)>,
    pub expected_latency: Option<Duration>,
    /// The message as the pre-processors left it.
    pub message: Message,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub provider_id: String,
    pub usage: Option<Arc<RawValue>>,
    pub metadata: Fields,
}

impl Run {
    pub fn new(kind: RequestKind, request: Arc<Request>, plan: Arc<Plan>, environment: &str) -> Self {
        let mut context = request.context.clone();
        context.set_text("policy_id", &plan.policy_id);
        context.set_text("environment", environment);
        Self {
            kind,
            message: request.message.clone(),
            request,
            plan,
            context: Arc::new(context),
            step: Step::Pre(0),
            reports: Vec::new(),
            degraded: Vec::new(),
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
                Step::Choose => return Next::Choose,
                Step::Provide => return Next::Call(self.decision.iter().map(|d| self.order(&d.call)).collect()),
                Step::Post(wave) => self.plan.post.get(wave),
                Step::Answer => return Next::Answer,
            };
            match calls {
                Some(calls) if !calls.is_empty() => return Next::Call(calls.iter().map(|c| self.order(c)).collect()),
                Some(_) => self.step = self.step_after(),
                None => self.step = if matches!(self.step, Step::Pre(_)) { Step::Validate } else { Step::Answer },
            }
        }
    }

    /// Takes the results of the calls that [`Next::Call`] asked for, in the order of the policy, so that the outcome does
    /// not depend on which came first.
    pub fn apply(&mut self, results: Vec<CallResult>) {
        let calls: Vec<Arc<PlannedCall>> = match self.step {
            Step::Pre(wave) => self.plan.pre.get(wave).cloned().unwrap_or_default(),
            Step::Validate => self.plan.validators.clone(),
            Step::Provide => self.decision.iter().map(|decision| Arc::clone(&decision.call)).collect(),
            Step::Post(wave) => self.plan.post.get(wave).cloned().unwrap_or_default(),
            Step::Choose | Step::Answer => Vec::new(),
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

    /// The request's time is over while the calls of this step are still running.
    pub fn time_out(&mut self, elapsed: Duration) {
        let running = match self.step {
            Step::Pre(wave) => self.plan.pre.get(wave).map_or(0, Vec::len),
            Step::Validate => self.plan.validators.len(),
            Step::Post(wave) => self.plan.post.get(wave).map_or(0, Vec::len),
            Step::Provide => 1,
            Step::Choose | Step::Answer => 0,
        };
        let late = || CallResult { outcome: Err(CallFailure::Deadline), latency: elapsed, attempts: 1 };
        self.apply(std::iter::repeat_with(late).take(running).collect());
        if self.failure.is_none() {
            let sentence = format!("The request's time of {} ms is over.", self.request.timeout.as_millis());
            self.fail(RequestError::new(ErrorCode::DeadlineExceeded, sentence));
        }
    }

    /// Chooses the provider. `excluded` says whether a provider is kept back by its breaker and for how long; `roll` is
    /// uniform in `0.0..1.0`.
    pub fn choose(
        &mut self,
        excluded: impl Fn(&PlannedCall) -> Option<Duration>,
        expected_latency: impl Fn(&PlannedCall) -> Option<Duration>,
        roll: f64,
    ) {
        let plan = Arc::clone(&self.plan);
        let verdict = |candidate: &Candidate| match &candidate.choice {
            Err(exclusion) => (Some(*exclusion), None),
            Ok(call) => excluded(call).map_or((None, None), |wait| (Some(Exclusion::CircuitOpen), Some(wait))),
        };
        let verdicts: Vec<(Option<Exclusion>, Option<Duration>)> = plan.providers.iter().map(verdict).collect();
        let weigh = |(c, (exclusion, _)): (&Candidate, &(Option<Exclusion>, _))| {
            if exclusion.is_none() { c.weight } else { 0.0 }
        };
        let weights: Vec<f64> = plan.providers.iter().zip(&verdicts).map(weigh).collect();
        let chosen =
            selection::weighted(&weights, roll).and_then(|index| plan.providers.get(index)?.choice.as_ref().ok());
        let Some(call) = chosen else {
            return self.fail(no_provider(&plan.providers, &verdicts));
        };
        let name = |(c, (exclusion, _)): (&Candidate, &(Option<Exclusion>, _))| (c.name.clone(), c.weight, *exclusion);
        self.decision = Some(Arc::new(Decision {
            call: Arc::clone(call),
            reason: "weighted",
            priority: 50,
            weights: plan.providers.iter().zip(&verdicts).map(name).collect(),
            expected_latency: expected_latency(call),
            message: self.message.clone(),
        }));
        match self.kind {
            RequestKind::Decide => self.step = Step::Answer,
            RequestKind::Route if call.extension.is_external() => self.fail(external(&call.extension.id)),
            RequestKind::Route => self.step = Step::Provide,
        }
    }

    /// Ends the run with an error.
    pub fn fail(&mut self, error: RequestError) {
        self.failure = Some(error);
        self.step = Step::Answer;
    }

    /// What really happened to everything that the policy configures, in its order; what did not run is `skipped`.
    pub fn all_reports(&self) -> Vec<Report> {
        let plan = &self.plan;
        let call = |c: &Arc<PlannedCall>| (c.extension.id.clone(), c.extension.kind, c.target.version.clone());
        let version = |c: &Candidate| c.choice.as_ref().map(|call| call.target.version.clone()).unwrap_or_default();
        let before = plan.pre.iter().flatten().chain(&plan.validators).map(call);
        let providers = plan.providers.iter().map(|c| (c.name.clone(), Kind::Provider, version(c)));
        let planned = before.chain(providers).chain(plan.post.iter().flatten().map(call));
        let find = |id: &str, kind: Kind| self.reports.iter().find(|r| r.id == id && r.kind == kind).cloned();
        let skipped = |id, kind, version| Report { id, kind, version, status: "skipped", latency_ms: 0.0, attempts: 0 };
        planned.map(|(id, kind, version)| find(&id, kind).unwrap_or_else(|| skipped(id, kind, version))).collect()
    }

    fn order(&self, call: &Arc<PlannedCall>) -> Order {
        Order { call: Arc::clone(call), body: call::body(call, &self.request, &self.message, &self.context) }
    }

    fn step_after(&self) -> Step {
        match self.step {
            Step::Pre(wave) => Step::Pre(wave + 1),
            Step::Validate => Step::Choose,
            Step::Choose => Step::Provide,
            Step::Provide => Step::Post(0),
            Step::Post(wave) => Step::Post(wave + 1),
            Step::Answer => Step::Answer,
        }
    }

    /// Takes one result: reports it, and says which error it means for the request, if any.
    fn take(&mut self, call: &PlannedCall, result: CallResult) -> Option<RequestError> {
        let id = &call.extension.id;
        let (status, error) = match result.outcome {
            Ok(Reply::Reject { reason, details }) => self.rejected(call, &reason, details.as_deref()),
            Ok(reply) => {
                self.accept(call, reply);
                ("success", None)
            }
            Err(failure) => {
                let error = fatal(call, &failure);
                if error.is_none() {
                    self.degraded.push(Degraded { id: id.clone(), reason: failure.reason().to_owned() });
                }
                (failure.status(), error)
            }
        };
        self.reports.push(Report {
            id: id.clone(),
            kind: call.extension.kind,
            version: call.target.version.clone(),
            status,
            latency_ms: milliseconds(result.latency),
            attempts: result.attempts,
        });
        error
    }

    fn accept(&mut self, call: &PlannedCall, reply: Reply) {
        match reply {
            Reply::Edit { payload, metadata } => {
                if let Some(edit) = payload {
                    self.edit(edit);
                }
                if !metadata.is_empty() {
                    Arc::make_mut(&mut self.context).overlay(&metadata);
                }
            }
            Reply::Completion { output, usage, metadata } => {
                let mut about = Fields::clone(&self.message.metadata);
                about.set_text("provider_id", &call.extension.id);
                self.message.payload = output.into();
                self.message.metadata = Arc::new(about);
                let provider_id = call.extension.id.clone();
                self.response = Some(Response { provider_id, usage: usage.map(Arc::from), metadata });
            }
            Reply::Accept | Reply::Reject { .. } => {}
        }
    }

    fn edit(&mut self, edit: Edit) {
        if let Some(payload) = edit.payload {
            self.message.payload = payload.into();
        }
        if let Some(message_type) = edit.message_type {
            self.message.message_type = message_type.into();
        }
        if let Some(metadata) = edit.metadata {
            self.message.metadata = Arc::new(metadata);
        }
    }

    fn rejected(
        &mut self,
        call: &PlannedCall,
        reason: &str,
        details: Option<&RawValue>,
    ) -> (&'static str, Option<RequestError>) {
        let id = &call.extension.id;
        match call.rule {
            Rule::Validator(OnFail::Warn) => {
                self.degraded.push(Degraded { id: id.clone(), reason: reason.to_owned() });
                ("warned", None)
            }
            Rule::Validator(OnFail::Ignore) => ("rejected", None),
            Rule::Validator(OnFail::Block) | Rule::Processor(_) | Rule::Provider => {
                let message = format!("{id} rejected the message: {reason}.");
                let error = RequestError::new(ErrorCode::ValidatorBlocked, message)
                    .with("extension_id", id.as_str())
                    .with("error_type", "rejected")
                    .with("reason", reason);
                let details = details.and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok());
                ("rejected", Some(details.into_iter().fold(error, |e, value| e.with("validator_details", value))))
            }
        }
    }
}

/// The error that a failed call means for the request; `None` when the request goes on without it.
fn fatal(call: &PlannedCall, failure: &CallFailure) -> Option<RequestError> {
    // The request's own end, or the bus's, is not about this extension.
    let shared = match failure {
        CallFailure::Deadline => Some(ErrorCode::DeadlineExceeded),
        CallFailure::BusUnavailable => Some(ErrorCode::BusUnavailable),
        CallFailure::TooLarge { .. } => Some(ErrorCode::InvalidRequest),
        CallFailure::Timeout | CallFailure::NoResponders | CallFailure::CircuitOpen { .. } => None,
        CallFailure::Answered { .. } | CallFailure::Malformed(_) | CallFailure::Refused(_) => None,
    };
    let own = match failure {
        CallFailure::Timeout => Some(ErrorCode::ExtensionTimeout),
        CallFailure::NoResponders | CallFailure::CircuitOpen { .. } => Some(ErrorCode::ExtensionUnavailable),
        CallFailure::Answered { .. } | CallFailure::Malformed(_) | CallFailure::Refused(_) => None,
        CallFailure::Deadline | CallFailure::BusUnavailable | CallFailure::TooLarge { .. } => None,
    };
    let optional =
        matches!(call.rule, Rule::Processor(Mode::Optional) | Rule::Validator(OnFail::Warn | OnFail::Ignore));
    if optional && *failure != CallFailure::Deadline {
        return None;
    }
    let code = match (call.rule, call.extension.kind) {
        (Rule::Validator(_), _) => shared.unwrap_or(ErrorCode::ValidatorBlocked),
        (Rule::Processor(_), Kind::Post) => shared.or(own).unwrap_or(ErrorCode::PostProcessorFailed),
        (Rule::Processor(_), _) => shared.or(own).unwrap_or(ErrorCode::PreProcessorFailed),
        (Rule::Provider, _) => shared.or(own).unwrap_or(ErrorCode::ExtensionError),
    };
    let mut error = RequestError::new(code, failure.sentence(&call.extension.id));
    error.intake_code = (code == ErrorCode::InvalidRequest).then_some(IntakeCode::SchemaValidationFailed);
    let error = error.with("extension_id", call.extension.id.as_str()).with("error_type", failure.reason());
    Some(error.retry_after(failure.retry_after()))
}

fn no_provider(candidates: &[Candidate], verdicts: &[(Option<Exclusion>, Option<Duration>)]) -> RequestError {
    let why = |(c, (exclusion, _)): (&Candidate, &(Option<Exclusion>, _))| {
        format!("{} ({})", c.name, exclusion.map_or("weight 0", Exclusion::as_str))
    };
    let list = candidates.iter().zip(verdicts).map(why).collect::<Vec<_>>().join(", ");
    let message = format!("No provider can be chosen: {list}.");
    let missing = |(e, _): &(Option<Exclusion>, _)| matches!(e, Some(Exclusion::Unknown | Exclusion::Disabled));
    let code = match verdicts.iter().filter_map(|(_, wait)| *wait).min() {
        Some(wait) => return RequestError::new(ErrorCode::ExtensionUnavailable, message).retry_after(Some(wait)),
        None if verdicts.iter().all(missing) => ErrorCode::ExtensionNotFound,
        None => ErrorCode::DecisionFailed,
    };
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    RequestError::new(code, message).with("providers", names)
}

fn external(id: &str) -> RequestError {
    let message = format!("{id} is executed by the caller (metadata.external); ask `decide` instead of `route`.");
    RequestError::new(ErrorCode::ExtensionNotFound, message).with("extension_id", id)
}

/// Milliseconds with three decimals.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;

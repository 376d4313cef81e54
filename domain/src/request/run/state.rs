//! What is known of a run. Cloning is cheap: what can grow is shared or small, so that the last
//! finished step can be kept for a restart.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::{DecisionReason, ExtensionStatus};
use beamline_contract::failure::FailureKind;
use beamline_contract::fields::Fields;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::step::{Stage, Step};
use crate::conditions::Facts;
use crate::request::error::RequestError;
use crate::request::failure::CallFailure;
use crate::request::notes::AllNotes;
use crate::request::plan::{Exclusion, Plan, PlannedCall};
use crate::request::reply::Reply;
use crate::request::{Message, Request, RequestKind};
use crate::session::SessionKey;

#[derive(Debug, Clone)]
pub struct Run {
    pub kind: RequestKind,
    pub request: Arc<Request>,
    pub plan: Arc<Plan>,
    pub environment: Arc<str>,
    pub message: Message,
    pub context: Arc<Fields>,
    pub(super) notes: AllNotes,
    /// Attempts beyond the first of each extension that the request may still make.
    pub extra_attempts: u32,
    pub(super) step: Step,
    pub reports: Vec<Report>,
    pub degraded: Vec<Degraded>,
    pub session: Session,
    pub(super) progress: ProviderProgress,
    pub decision: Option<Arc<Decision>>,
    pub response: Option<Response>,
    pub failure: Option<RequestError>,
}

/// What has to happen next.
#[derive(Debug)]
pub enum Next {
    /// Make these calls side by side and bring the results in the same order.
    Call(Vec<CallOrder>),
    /// Ask which provider the session has.
    Recall {
        key: SessionKey,
        ttl: Duration,
    },
    /// Choose a provider, or what to do after one failed.
    Choose,
    /// Let the session keep its provider. `instead_of` is the one that it had and that cannot be
    /// called now.
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
pub struct CallOrder {
    pub call: Arc<PlannedCall>,
    pub body: Bytes,
    /// The number of its first attempt, counted from 1.
    pub attempt: u32,
    /// Whose turn it is among the endpoints of its target.
    pub turn: usize,
    /// Attempts beyond the first that the request grants it.
    pub extra_attempts: u32,
    pub share: TimeShare,
}

/// How the attempt at a provider shares the request's time with whoever would take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeShare {
    /// What is left to the next one.
    pub reserve: Duration,
    /// What the attempt has in any case.
    pub least: Duration,
}

impl TimeShare {
    /// The time of an attempt with so much left of the request's, and whether it is less because
    /// of the next one.
    pub fn limit(self, own_time: Duration, left: Duration) -> (Duration, bool) {
        let all = own_time.min(left);
        let shared = left.saturating_sub(self.reserve).max(self.least);
        if shared < all {
            (shared, true)
        } else {
            (all, false)
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct CallResult {
    pub outcome: Result<Reply, CallFailure>,
    pub latency: Duration,
    pub attempts: u32,
    /// The position of the endpoint that took the last attempt.
    pub endpoint: usize,
    /// It would have been tried again, but a retry budget was empty.
    pub retry_refused: bool,
}

impl CallResult {
    /// A call that was ended from outside, before anything came of it.
    pub fn ended(failure: CallFailure, latency: Duration) -> Self {
        Self {
            outcome: Err(failure),
            latency,
            attempts: 1,
            endpoint: 0,
            retry_refused: false,
        }
    }
}

/// What happened to one extension.
#[derive(Debug, Clone)]
pub struct Report {
    pub call: Arc<PlannedCall>,
    /// The position of the endpoint that took the last attempt.
    pub endpoint: usize,
    pub status: ExtensionStatus,
    /// All attempts together.
    pub latency: Duration,
    pub attempts: u32,
}

/// What the policy wanted and did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    pub id: String,
    pub reason: String,
    /// The reason is what the extension said of the message.
    pub is_said: bool,
}

#[derive(Debug, Clone)]
pub struct Response {
    /// Who answered.
    pub call: Arc<PlannedCall>,
    pub usage: Option<Arc<RawValue>>,
    pub metadata: Arc<Fields>,
}

/// Which provider, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Its position among the plan's providers.
    pub candidate: usize,
    pub call: Arc<PlannedCall>,
    pub reason: DecisionReason,
    /// Why each of the plan's providers could not be chosen, if it could not.
    pub exclusions: Vec<Option<Exclusion>>,
    /// The fallback rule that led to it.
    pub rule: Option<usize>,
    pub expected_latency: Option<Duration>,
    /// What the caller of `decide` waits before it repeats its call.
    pub wait: Option<Duration>,
    /// The message as the pre-processors left it.
    pub message: Message,
}

/// One attempt at a provider.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub call: Arc<PlannedCall>,
    /// The position of the endpoint that took it.
    pub endpoint: usize,
    pub reason: DecisionReason,
    pub status: ExtensionStatus,
    pub error_type: Option<&'static str>,
    pub class: Option<FailureKind>,
    /// The code that the provider gave.
    pub code: Option<Arc<str>>,
    /// The position of the fallback rule that asked for it.
    pub rule: Option<usize>,
    /// What passed before it.
    pub waited: Duration,
    pub latency: Duration,
}

/// What the request's session has to do with the choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Session {
    /// The policy has no sticky sessions.
    #[default]
    Off,
    /// It has, but the request names no session.
    Unnamed,
    Named {
        key: SessionKey,
        /// The provider that the session had.
        had: Option<String>,
        /// False when only this replica knows about it.
        shared: bool,
    },
}

/// How far the request has got with its providers.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderProgress {
    /// Candidates that were tried.
    pub(super) tried: Vec<usize>,
    /// Retries made at the present one.
    pub(super) made: u32,
    /// The endpoint after the one that failed last.
    pub(super) turn: usize,
    /// How the last attempt failed, while nothing has come of it yet.
    pub(super) failure: Option<CallFailure>,
    /// The answer that was no failure, but had no content.
    pub(super) without_content: Option<Reply>,
    /// The wait before the next attempt.
    pub(super) waited: Duration,
    pub(super) share: TimeShare,
    pub(super) attempts: Vec<Attempt>,
}

/// Keys of the context that only the router sets.
const FIXED_KEYS: [&str; 6] = [
    "tenant_id",
    "trace_id",
    "request_id",
    "policy_id",
    "policy_version",
    "environment",
];
/// Keys that begin like this are the router's own.
const ROUTERS_OWN: &str = "router.";

/// Whether nobody but the router may set a key of the context.
pub(super) fn is_fixed(key: &str) -> bool {
    FIXED_KEYS.contains(&key) || key.starts_with(ROUTERS_OWN)
}

impl Run {
    /// `extra_attempts`: attempts beyond the first of each extension that the request may make.
    pub fn new(
        kind: RequestKind,
        mut request: Request,
        plan: Arc<Plan>,
        environment: Arc<str>,
        extra_attempts: u32,
    ) -> Self {
        let mut context = without_claims(&request);
        request.context = Fields::default();
        context.set_text("policy_id", &plan.policy_id);
        context.set_text("environment", &environment);
        Self {
            kind,
            message: request.message.clone(),
            request: Arc::new(request),
            plan,
            environment,
            context: Arc::new(context),
            notes: AllNotes::default(),
            extra_attempts,
            step: Step::Pre(0),
            reports: Vec::new(),
            degraded: Vec::new(),
            session: Session::default(),
            progress: ProviderProgress::default(),
            decision: None,
            response: None,
            failure: None,
        }
    }

    /// What conditions are compared with: the request, and what the stages so far have found out
    /// about it.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            tenant_id: &self.request.tenant_id,
            policy_id: &self.plan.policy_id,
            environment: &self.environment,
            message_type: &self.request.message.message_type,
            context: &self.context,
        }
    }

    /// Where it stands; nowhere once it has an answer.
    pub fn stage(&self) -> Option<Stage> {
        self.step.stage()
    }

    /// What came of sticky sessions, if its policy has them.
    pub fn session_result(&self) -> Option<&'static str> {
        let Session::Named { had, .. } = &self.session else {
            return None;
        };
        let candidate = self.decision.as_ref()?.candidate;
        let name = &self.plan.providers.get(candidate)?.name;
        Some(match had {
            Some(had) if had == name => "kept",
            Some(_) => "moved",
            None => "new",
        })
    }

    /// The attempts at providers, in the order in which they were made.
    pub fn attempts(&self) -> &[Attempt] {
        &self.progress.attempts
    }

    /// What happened to the extension of a planned call; `None` when it did not run.
    pub fn report(&self, call: &PlannedCall) -> Option<&Report> {
        // A policy may name one extension in two stages.
        self.reports
            .iter()
            .find(|report| std::ptr::eq(&*report.call, call))
    }

    /// Ends the run with an error.
    pub fn fail(&mut self, error: RequestError) {
        self.failure = Some(error);
        self.step = Step::Answer;
    }

    pub(super) fn step_after(&self) -> Step {
        self.step.after(self.kind, &self.plan)
    }
}

impl Report {
    pub fn instance(&self) -> Option<&str> {
        self.call.instance(self.endpoint)
    }
}

impl Attempt {
    pub fn instance(&self) -> Option<&str> {
        self.call.instance(self.endpoint)
    }
}

/// The context of a request without what would have somebody believe that it is another one.
fn without_claims(request: &Request) -> Fields {
    let own = [
        ("tenant_id", &*request.tenant_id),
        ("request_id", &*request.request_id),
        ("trace_id", &*request.trace.trace_id),
    ];
    let is_true = |key: &str| {
        let known = own.iter().find(|(name, _)| *name == key);
        let claim = request.context.text(key);
        known.is_some_and(|(_, own)| claim.as_deref() == Some(own))
    };
    let all = request.context.iter();
    let kept = all.filter(|(key, _)| !is_fixed(key) || is_true(key));
    kept.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

//! The choice of a provider, and what comes after one failed.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::failures::{external, fatal, no_provider};
use super::results::RETRY_BUDGET_EXHAUSTED;
use super::{CallResult, Degraded, Next, Report, Run, Step};
use crate::policy;
use crate::request::call::CallFailure;
use crate::request::fallback::{Failing, Move, Setback, Situation};
use crate::request::plan::{Candidate, Exclusion, PlannedCall};
use crate::request::{Message, RequestKind};
use crate::session::{Pinned, Recalled, SessionKey};
use crate::target::retry_budget::Again;
use crate::target::selection::{self, Outlook};
use beamline_contract::record::Kind;
use beamline_contract::time::milliseconds;

/// Which provider, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Its position among the plan's providers.
    pub candidate: usize,
    pub call: Arc<PlannedCall>,
    pub reason: Reason,
    /// Why each of the plan's providers could not be chosen, if it could not.
    pub exclusions: Vec<Option<Exclusion>>,
    /// The fallback rule that led to it.
    pub rule: Option<usize>,
    pub expected_latency: Option<Duration>,
    /// The message as the pre-processors left it.
    pub message: Message,
}

/// `decision.reason` and `decision.priority` of an answer (contract section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Sticky,
    Weighted,
    Retry,
    Fallback,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Weighted => "weighted",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
        }
    }

    pub fn priority(self) -> u32 {
        match self {
            Self::Sticky => 100,
            Self::Weighted | Self::Retry => 50,
            Self::Fallback => 25,
        }
    }
}

/// A line of `attempts` in the answer: one attempt at a provider.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    pub provider_id: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub reason: &'static str,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<&'static str>,
    /// The position of the fallback rule that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Milliseconds that passed before it.
    pub waited_ms: f64,
    pub latency_ms: f64,
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
pub(super) struct Pursuit {
    /// Candidates that were tried.
    tried: Vec<usize>,
    /// Retries made at the present one.
    pub(super) made: u32,
    /// The place after the one that failed last.
    pub(super) turn: usize,
    /// How the last attempt failed, while nothing has come of it yet.
    failure: Option<CallFailure>,
    waited: Duration,
    pub(super) trail: Vec<Attempt>,
}

impl Run {
    /// Chooses the provider, or what comes after one failed.
    pub fn choose(&mut self, outlook: &mut Outlook<'_>) {
        let exclusions = self.exclusions(outlook);
        match self.pursuit.failure.take() {
            None => self.choose_first(exclusions, outlook),
            Some(failure) => self.go_on(failure, exclusions, outlook),
        }
    }

    /// Why each of the plan's providers cannot be called now, if it cannot.
    pub fn exclusions(&self, outlook: &Outlook<'_>) -> Vec<Option<Exclusion>> {
        self.plan
            .providers
            .iter()
            .map(|candidate| self.exclusion(candidate, outlook))
            .collect()
    }

    /// The session's provider, as far as anybody knows.
    pub fn recalled(&mut self, recalled: Recalled) {
        if let Session::Named { had, shared, .. } = &mut self.session {
            (*had, *shared) = (recalled.provider, recalled.shared);
        }
    }

    /// Who has the session now: another replica may have been faster.
    pub fn pinned(&mut self, pinned: &Pinned) {
        if let Session::Named { shared, .. } = &mut self.session {
            *shared = pinned.shared;
        }
        if !pinned.shared {
            self.session_is_local();
        }
        let Some(decision) = &self.decision else {
            return;
        };
        let other = self
            .plan
            .providers
            .iter()
            .position(|candidate| candidate.name == pinned.provider);
        let Some(other) = other.filter(|index| *index != decision.candidate) else {
            return;
        };
        let exclusions = decision.exclusions.clone();
        let can_run = self.kind == RequestKind::Decide || self.can_run_here(other);
        if can_run && exclusions.get(other).is_some_and(Option::is_none) {
            if let Session::Named { had, .. } = &mut self.session {
                *had = Some(pinned.provider.clone());
            }
            self.pursuit.tried = vec![other];
            self.decide(other, Reason::Sticky, None, exclusions, None);
        }
    }

    pub(super) fn recall(&mut self) -> Option<Next> {
        let sticky = self.plan.policy.sticky.as_ref()?;
        let Some(session) = self.facts().plain(&sticky.session_key) else {
            self.session = Session::Unnamed;
            return None;
        };
        let key = SessionKey::new(&self.request.tenant_id, &self.plan.policy_id, &session);
        let ttl = sticky.ttl;
        self.session = Session::Named {
            key: key.clone(),
            had: None,
            shared: true,
        };
        Some(Next::Recall { key, ttl })
    }

    /// A provider that takes traffic is kept for the session; one that only stands in is not.
    pub(super) fn pin(&self) -> Option<Next> {
        let (Session::Named { key, had, .. }, Some(decision)) = (&self.session, &self.decision)
        else {
            return None;
        };
        let candidate = self.plan.providers.get(decision.candidate)?;
        let exclusion = |name: &String| {
            let index = self
                .plan
                .providers
                .iter()
                .position(|known| known.name == *name)?;
            decision.exclusions.get(index).copied().flatten()
        };
        // A request in a hurry says nothing about the provider: the next one may have time for it.
        let hurried = matches!(
            had.as_ref().and_then(exclusion),
            Some(Exclusion::TooSlow(_))
        );
        let keeps = self.takes_traffic(decision.candidate)
            && had.as_ref() != Some(&candidate.name)
            && !hurried;
        let ttl = self.plan.policy.sticky.as_ref().map(|sticky| sticky.ttl)?;
        keeps.then(|| Next::Pin {
            key: key.clone(),
            provider: candidate.name.clone(),
            ttl,
            instead_of: had.clone(),
        })
    }

    /// Takes the result of an attempt at the provider.
    pub(super) fn provided(&mut self, result: CallResult) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let call = &decision.call;
        self.pursuit.note(&decision, &result);
        self.report_provider(call, &result);
        match result.outcome {
            Ok(reply) => {
                self.accept(call, reply);
                self.step = Step::Post(0);
            }
            Err(failure) if ends_the_request(&failure) => self.give_up(call, &failure),
            Err(failure) => {
                self.pursuit.failure = Some(failure);
                self.step = Step::Choose;
            }
        }
    }

    /// Why a provider cannot be called now.
    fn exclusion(&self, candidate: &Candidate, outlook: &Outlook<'_>) -> Option<Exclusion> {
        let call = match &candidate.choice {
            Ok(call) => call,
            Err(exclusion) => return Some(*exclusion),
        };
        if let Some(exclusion) = held_back_everywhere(call, outlook) {
            return Some(exclusion);
        }
        // Who only asks for a decision calls the provider itself, with time of its own.
        if self.kind == RequestKind::Decide {
            return None;
        }
        let vitals = (outlook.vitals)(call.id(), &call.target.place(0)?.subject);
        vitals
            .latency
            .filter(|usual| vitals.fresh && *usual > outlook.left)
            .map(Exclusion::TooSlow)
    }

    fn choose_first(&mut self, exclusions: Vec<Option<Exclusion>>, outlook: &mut Outlook<'_>) {
        if matches!(self.session, Session::Named { shared: false, .. }) {
            self.session_is_local();
        }
        if let Some(index) = self.sticky_choice(&exclusions) {
            return self.settle(index, Reason::Sticky, None, exclusions, outlook);
        }
        let listed = |index: &usize| {
            self.plan
                .providers
                .get(*index)
                .is_some_and(|candidate| candidate.listed)
        };
        let free = |index: &usize| exclusions.get(*index).is_some_and(Option::is_none);
        let chosen = match self.plan.policy.order {
            policy::Order::Weighted => {
                let weigh = |(index, candidate): (usize, &Candidate)| {
                    if free(&index) { candidate.weight } else { 0.0 }
                };
                let weights: Vec<f64> = self.plan.providers.iter().enumerate().map(weigh).collect();
                selection::weighted(&weights, (outlook.roll)())
                    .map(|index| (index, Reason::Weighted))
            }
            policy::Order::Priority => {
                let first = (0..self.plan.providers.len()).filter(listed).find(free);
                first.map(|index| {
                    (
                        index,
                        if index == 0 {
                            Reason::Weighted
                        } else {
                            Reason::Fallback
                        },
                    )
                })
            }
        };
        if let Some((index, reason)) = chosen {
            return self.settle(index, reason, None, exclusions, outlook);
        }
        let circuit_open = exclusions
            .iter()
            .any(|e| matches!(e, Some(Exclusion::CircuitOpen(_))));
        let failing = Failing::none_chosen(circuit_open);
        let open = |index: usize| {
            free(&index) && (self.kind == RequestKind::Decide || self.can_run_here(index))
        };
        let (plan, facts) = (&*self.plan, &self.facts());
        match (Situation {
            plan,
            facts,
            setback: None,
            open: &open,
            roll: 0.0,
        })
        .next_move(failing)
        {
            Move::Switch { to, rule } => {
                self.settle(to, Reason::Fallback, rule, exclusions, outlook)
            }
            Move::Retry { .. } | Move::Draw { .. } | Move::Stop => {
                self.fail(no_provider(&self.plan.providers, &exclusions))
            }
        }
    }

    /// The provider that the session has, while it can be called and takes traffic.
    fn sticky_choice(&self, exclusions: &[Option<Exclusion>]) -> Option<usize> {
        let Session::Named { had: Some(had), .. } = &self.session else {
            return None;
        };
        let index = self
            .plan
            .providers
            .iter()
            .position(|candidate| candidate.name == *had)?;
        let free = exclusions.get(index).is_some_and(Option::is_none);
        (free && self.takes_traffic(index)).then_some(index)
    }

    /// Whether a request may be sent to a provider without a rule that says so.
    fn takes_traffic(&self, index: usize) -> bool {
        let by_weight = self.plan.policy.order == policy::Order::Weighted;
        self.plan
            .providers
            .get(index)
            .is_some_and(|c| c.listed && (!by_weight || c.weight > 0.0))
    }

    /// The present provider failed: again, another one, or the end.
    fn go_on(
        &mut self,
        failure: CallFailure,
        exclusions: Vec<Option<Exclusion>>,
        outlook: &mut Outlook<'_>,
    ) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let open = |index: usize| {
            let untried = !self.pursuit.tried.contains(&index);
            untried
                && exclusions.get(index).is_some_and(Option::is_none)
                && self.can_run_here(index)
        };
        let setback = self.setback(&decision, &failure, outlook);
        let next = match self.affordable(setback, &decision, &open, (outlook.roll)()) {
            Ok(next) => next,
            Err(exhausted) => {
                self.give_up(&decision.call, &failure);
                self.failure = self.failure.take().map(|error| error.with(exhausted, true));
                return;
            }
        };
        match next {
            Move::Retry { wait, rule } => {
                self.pursuit.made += 1;
                self.pursuit.waited = wait;
                // A retry of a fallback is still a fallback.
                let reason = if decision.reason == Reason::Fallback {
                    Reason::Fallback
                } else {
                    Reason::Retry
                };
                self.decide(
                    decision.candidate,
                    reason,
                    rule,
                    exclusions,
                    decision.expected_latency,
                );
                self.step = Step::Wait(wait);
            }
            Move::Switch { to, rule } => {
                self.settle(to, Reason::Fallback, rule, exclusions, outlook)
            }
            Move::Draw { to } => self.settle(to, Reason::Weighted, None, exclusions, outlook),
            Move::Stop => self.give_up(&decision.call, &failure),
        }
    }

    /// What comes next within the budgets; an error names the one that is empty. A retry that nobody pays for is one that
    /// was used up: another provider may still take over.
    fn affordable(
        &self,
        mut setback: Setback,
        decision: &Decision,
        open: &dyn Fn(usize) -> bool,
        roll: f64,
    ) -> Result<Move, &'static str> {
        let pays = |again| {
            self.retry_tokens
                .as_ref()
                .is_none_or(|tokens| tokens.take(again))
        };
        let (plan, facts) = (&*self.plan, &self.facts());
        let next = |setback: &Setback| {
            Situation {
                plan,
                facts,
                setback: Some(setback),
                open,
                roll,
            }
            .next_move(setback.failing)
        };
        let mut refused = false;
        loop {
            let next = next(&setback);
            let paid = match next {
                Move::Stop if refused => return Err(RETRY_BUDGET_EXHAUSTED),
                // One that refused before anything was sent is replaced, not repeated.
                Move::Stop | Move::Draw { .. } => return Ok(next),
                Move::Retry { .. } | Move::Switch { .. } if self.budget.left() == 0 => {
                    return Err("attempt_budget_exhausted");
                }
                Move::Retry { .. } => pays(Again::Retry(decision.call.id())),
                Move::Switch { to, .. } => {
                    let id = self
                        .plan
                        .providers
                        .get(to)
                        .map(|candidate| candidate.name.as_str());
                    pays(Again::Fallback(id.unwrap_or_default()))
                }
            };
            match next {
                _ if paid => {
                    self.budget.take();
                    return Ok(next);
                }
                Move::Retry { .. } => (refused, setback.may_retry) = (true, false),
                Move::Switch { .. } | Move::Draw { .. } | Move::Stop => {
                    return Err(RETRY_BUDGET_EXHAUSTED);
                }
            }
        }
    }

    fn setback(
        &self,
        decision: &Decision,
        failure: &CallFailure,
        outlook: &Outlook<'_>,
    ) -> Setback {
        let target = &decision.call.target;
        let refuses = matches!(
            failure,
            CallFailure::Answered {
                retryable: Some(false),
                ..
            }
        );
        Setback {
            failing: Failing::of(failure),
            own_retries: failure.retries(Kind::Provider, target.retry),
            may_retry: !refuses
                && !self.request.is_retry()
                && !matches!(failure, CallFailure::CircuitOpen { .. }),
            made: self.pursuit.made,
            only_place: target.places.len() == 1,
            asked_to_wait: failure.asked_to_wait(),
            usual: usual_latency(&decision.call, outlook),
            left: outlook.left,
        }
    }

    /// A provider that the caller executes itself cannot take over inside the router.
    fn can_run_here(&self, index: usize) -> bool {
        let candidate = self.plan.providers.get(index);
        candidate
            .and_then(|c| c.choice.as_ref().ok())
            .is_some_and(|call| !call.extension.is_external())
    }

    /// Takes a candidate that was not tried yet.
    fn settle(
        &mut self,
        index: usize,
        reason: Reason,
        rule: Option<usize>,
        exclusions: Vec<Option<Exclusion>>,
        outlook: &Outlook<'_>,
    ) {
        let first = self.pursuit.tried.is_empty();
        self.pursuit.tried.push(index);
        (self.pursuit.made, self.pursuit.turn, self.pursuit.waited) = (0, 0, Duration::ZERO);
        let call = self
            .plan
            .providers
            .get(index)
            .and_then(|candidate| candidate.choice.as_ref().ok());
        let latency = call.and_then(|call| usual_latency(call, outlook));
        let refused =
            call.filter(|call| self.kind == RequestKind::Route && call.extension.is_external());
        let refused = refused.map(|call| external(call.id()));
        self.decide(index, reason, rule, exclusions, latency);
        self.step = if first {
            Step::Pin
        } else {
            self.step_after_choice()
        };
        if let Some(error) = refused {
            self.fail(error);
        }
    }

    fn decide(
        &mut self,
        candidate: usize,
        reason: Reason,
        rule: Option<usize>,
        exclusions: Vec<Option<Exclusion>>,
        expected_latency: Option<Duration>,
    ) {
        let Some(Ok(call)) = self
            .plan
            .providers
            .get(candidate)
            .map(|c| c.choice.as_ref())
        else {
            return;
        };
        let message = self
            .decision
            .as_ref()
            .map_or(&self.message, |before| &before.message)
            .clone();
        let call = Arc::clone(call);
        let decision = Decision {
            candidate,
            call,
            reason,
            exclusions,
            rule,
            expected_latency,
            message,
        };
        self.decision = Some(Arc::new(decision));
    }

    fn give_up(&mut self, call: &PlannedCall, failure: &CallFailure) {
        if let Some(error) = fatal(call, failure) {
            self.fail(error);
        }
    }

    fn session_is_local(&mut self) {
        let degraded = Degraded {
            id: "sticky".into(),
            reason: "known_to_this_replica_only".into(),
        };
        if !self.degraded.contains(&degraded) {
            self.degraded.push(degraded);
        }
    }

    /// One line for each provider, whatever number of attempts it took.
    fn report_provider(&mut self, call: &PlannedCall, result: &CallResult) {
        let status = result
            .outcome
            .as_ref()
            .map_or_else(CallFailure::status, |_| "success");
        let instance = instance_of(call, result.place);
        let latency_ms = milliseconds(result.latency);
        let known = self
            .reports
            .iter_mut()
            .find(|r| r.id == call.id() && r.kind == Kind::Provider);
        if let Some(report) = known {
            (report.status, report.instance) = (status, instance);
            report.latency_ms += latency_ms;
            report.attempts += result.attempts;
            return;
        }
        self.reports.push(Report {
            id: call.id().to_owned(),
            kind: Kind::Provider,
            version: call.target.version.to_string(),
            instance,
            status,
            latency_ms,
            attempts: result.attempts,
        });
    }
}

impl Pursuit {
    fn note(&mut self, decision: &Decision, result: &CallResult) {
        self.turn = result.place + 1;
        self.trail.push(Attempt {
            provider_id: decision.call.id().to_owned(),
            version: decision.call.target.version.to_string(),
            instance: instance_of(&decision.call, result.place),
            reason: decision.reason.as_str(),
            status: result
                .outcome
                .as_ref()
                .map_or_else(CallFailure::status, |_| "success"),
            error_type: result.outcome.as_ref().err().map(CallFailure::reason),
            rule: decision.rule,
            waited_ms: milliseconds(std::mem::take(&mut self.waited)),
            latency_ms: milliseconds(result.latency),
        });
    }
}

fn instance_of(call: &PlannedCall, place: usize) -> Option<String> {
    call.target
        .places
        .get(place)
        .and_then(|place| place.instance.as_deref())
        .map(str::to_owned)
}

/// Why no place of a provider may be called, and for how long that is so; `None` when one may.
fn held_back_everywhere(call: &PlannedCall, outlook: &Outlook<'_>) -> Option<Exclusion> {
    let (mut soonest, mut patience): (Option<Duration>, bool) = (None, false);
    for place in &call.target.places {
        let vitals = (outlook.vitals)(call.id(), &place.subject);
        let wait = vitals.asked_to_wait.or(vitals.held_back)?;
        patience |= vitals.asked_to_wait.is_some();
        soonest = Some(soonest.map_or(wait, |known| known.min(wait)));
    }
    soonest.map(if patience {
        Exclusion::AskedToWait
    } else {
        Exclusion::CircuitOpen
    })
}

/// How long the answers of a provider usually take, at the place that would be called.
fn usual_latency(call: &PlannedCall, outlook: &Outlook<'_>) -> Option<Duration> {
    (outlook.vitals)(call.id(), &call.target.place(0)?.subject).latency
}

/// The request's own end, or the bus's: no other provider could do better.
fn ends_the_request(failure: &CallFailure) -> bool {
    match failure {
        CallFailure::Deadline | CallFailure::BusUnavailable | CallFailure::TooLarge { .. } => true,
        CallFailure::TooLittleTime | CallFailure::Refused(_) | CallFailure::Cancelled => true,
        CallFailure::Timeout | CallFailure::NoResponders | CallFailure::CircuitOpen { .. } => false,
        CallFailure::Answered { .. }
        | CallFailure::Malformed(_)
        | CallFailure::Overloaded { .. } => false,
    }
}

//! The choice of a provider, and what comes after one failed.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::DecisionReason;
use beamline_contract::policy::Order;

use super::consequences::{external, no_provider, nobody_takes_over};
use super::exclusions::usual_latency;
use super::reported::Reported;
use super::results::RETRY_BUDGET_EXHAUSTED;
use super::state::{Decision, Run, Session, TimeShare};
use super::step::Step;
use crate::conditions::Facts;
use crate::request::RequestKind;
use crate::request::error::RequestError;
use crate::request::failure::{AnsweredFailure, CallFailure, FailureClass};
use crate::request::fallback::{Fallbacks, Recovery};
use crate::request::plan::{Candidate, Exclusion};
use crate::request::retry::FailedAttempt;
use crate::target::retry_budget::{Again, RetryTokens};
use crate::target::selection::{self, ChoiceContext};

/// What surrounds a failed attempt.
struct Around<'a> {
    decision: &'a Decision,
    exclusions: &'a [Option<Exclusion>],
    /// Which candidates answer lately, as far as that is known.
    answering: &'a [bool],
    /// Uniform in `0.0..1.0`.
    roll: f64,
}

impl Run {
    /// Chooses the provider, or what comes after one failed. `tokens` are the budgets that all
    /// requests share.
    pub fn choose(&mut self, choice: &mut ChoiceContext<'_>, tokens: &dyn RetryTokens) {
        let exclusions = self.exclusions(choice);
        match self.progress.failure.take() {
            None => self.choose_first(exclusions, choice),
            Some(failure) => self.recover(&failure, exclusions, choice, tokens),
        }
    }

    fn choose_first(&mut self, exclusions: Vec<Option<Exclusion>>, choice: &mut ChoiceContext<'_>) {
        if matches!(self.session, Session::Named { shared: false, .. }) {
            self.note_local_session();
        }
        if let Some(reported) = self.reported() {
            return self.recover_reported(reported, exclusions, choice);
        }
        if let Some(index) = self.session_provider(&exclusions) {
            return self.settle(index, DecisionReason::Sticky, None, exclusions, choice);
        }
        if let Some((to, rule)) = self.instead_of_first(&exclusions, choice) {
            return self.settle(to, DecisionReason::Fallback, Some(rule), exclusions, choice);
        }
        if let Some((index, reason)) = self.first_choice(&exclusions, choice) {
            return self.settle(index, reason, None, exclusions, choice);
        }
        match self.stand_in(&exclusions) {
            Recovery::Switch { to, rule } => {
                self.settle(to, DecisionReason::Fallback, rule, exclusions, choice);
            }
            Recovery::Retry { .. } | Recovery::Draw { .. } | Recovery::Stop => {
                self.fail(no_provider(&self.plan.providers, &exclusions));
            }
        }
    }

    /// By weight, or the first of the list, among those that can be called.
    fn first_choice(
        &self,
        exclusions: &[Option<Exclusion>],
        choice: &mut ChoiceContext<'_>,
    ) -> Option<(usize, DecisionReason)> {
        let candidates = self.plan.providers.iter().zip(exclusions);
        match self.plan.policy.order {
            Order::Weighted => {
                let mut weights = Vec::with_capacity(exclusions.len());
                for (candidate, exclusion) in candidates {
                    weights.push(if exclusion.is_none() {
                        candidate.weight
                    } else {
                        0.0
                    });
                }
                let index = selection::weighted(&weights, (choice.roll)())?;
                Some((index, DecisionReason::Weighted))
            }
            Order::Priority => {
                let index = candidates
                    .into_iter()
                    .position(|(candidate, exclusion)| candidate.listed && exclusion.is_none())?;
                let reason = if index == 0 {
                    DecisionReason::Weighted
                } else {
                    DecisionReason::Fallback
                };
                Some((index, reason))
            }
        }
    }

    /// What comes after a failure that the caller tells of: the caller waits and repeats, or
    /// another provider takes over.
    fn recover_reported(
        &mut self,
        reported: Reported,
        exclusions: Vec<Option<Exclusion>>,
        choice: &mut ChoiceContext<'_>,
    ) {
        let index = reported.provider;
        let failed = FailedAttempt {
            may_retry: matches!(exclusions.get(index), Some(None)),
            ..reported.attempt(choice.left)
        };
        let roll = (choice.roll)();
        // Who stands before it in a list was asked already.
        let is_behind = |other: usize| {
            let candidate = self.plan.providers.get(other);
            let is_listed = candidate.is_some_and(|candidate| candidate.listed);
            other > index || self.plan.policy.order == Order::Weighted || !is_listed
        };
        let mut out = vec![index];
        if failed.class.is_of_program() {
            out.extend(self.other_faces(index));
        }
        let is_open = |other: usize| {
            !out.contains(&other) && is_behind(other) && self.is_free(other, &exclusions)
        };
        let facts = self.facts();
        let fallbacks = Fallbacks {
            failed: Some(&failed),
            roll,
            ..self.rules(self.name_of(index), &facts, &is_open)
        };
        let recovery = fallbacks.recovery(failed.class);
        // Whoever takes over only stands in: a session does not move to it.
        self.progress.tried.push(index);
        match recovery {
            Recovery::Retry { wait, rule } => {
                self.settle(index, DecisionReason::Retry, rule, exclusions, choice);
                if let Some(decision) = &mut self.decision {
                    Arc::make_mut(decision).wait = Some(wait);
                }
            }
            Recovery::Switch { to, rule } => {
                self.settle(to, DecisionReason::Fallback, rule, exclusions, choice);
            }
            Recovery::Draw { to } => {
                self.settle(to, DecisionReason::Weighted, None, exclusions, choice);
            }
            Recovery::Stop => self.fail(nobody_takes_over(self.name_of(index))),
        }
    }

    /// A rule goes on fitting while its provider is kept back for what the rule is about: whoever
    /// would have been chosen, if nobody were kept back, is replaced as after a failure.
    fn instead_of_first(
        &self,
        exclusions: &[Option<Exclusion>],
        choice: &mut ChoiceContext<'_>,
    ) -> Option<(usize, usize)> {
        let is_kept_back = |exclusion: &Option<Exclusion>| exclusion.and_then(Exclusion::class);
        if exclusions
            .iter()
            .all(|exclusion| is_kept_back(exclusion).is_none())
        {
            return None;
        }
        let as_if_free: Vec<_> = exclusions
            .iter()
            .map(|exclusion| exclusion.filter(|exclusion| exclusion.class().is_none()))
            .collect();
        let (index, _) = self.first_choice(&as_if_free, choice)?;
        let class = exclusions.get(index).and_then(is_kept_back)?;
        let is_open = |index: usize| self.is_free(index, exclusions);
        let facts = self.facts();
        let fallbacks = self.rules(self.name_of(index), &facts, &is_open);
        fallbacks.instead(class)
    }

    /// The policy's rules about a provider that is not called.
    fn rules<'a>(
        &'a self,
        provider: Option<&'a str>,
        facts: &'a Facts<'a>,
        is_open: &'a dyn Fn(usize) -> bool,
    ) -> Fallbacks<'a> {
        Fallbacks {
            plan: &self.plan,
            facts,
            failed: None,
            provider,
            is_open,
            roll: 0.0,
        }
    }

    fn name_of(&self, index: usize) -> Option<&str> {
        let candidate = self.plan.providers.get(index);
        candidate.map(|candidate| candidate.name.as_str())
    }

    fn is_free(&self, index: usize, exclusions: &[Option<Exclusion>]) -> bool {
        let is_free = matches!(exclusions.get(index), Some(None));
        is_free && (self.kind == RequestKind::Decide || self.runs_here(index))
    }

    /// What the rules say when none can be chosen.
    fn stand_in(&self, exclusions: &[Option<Exclusion>]) -> Recovery {
        let is_circuit_open = exclusions
            .iter()
            .any(|exclusion| matches!(exclusion, Some(Exclusion::CircuitOpen(..))));
        let is_open = |index: usize| self.is_free(index, exclusions);
        let facts = self.facts();
        let fallbacks = self.rules(None, &facts, &is_open);
        fallbacks.recovery(FailureClass::none_chosen(is_circuit_open))
    }

    /// The present provider failed: again, another one, or the end.
    fn recover(
        &mut self,
        failure: &CallFailure,
        exclusions: Vec<Option<Exclusion>>,
        choice: &mut ChoiceContext<'_>,
        tokens: &dyn RetryTokens,
    ) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let answer = self.progress.without_content.take();
        let failed = self.failed_attempt(&decision, failure, choice);
        if failed.class.is_of_program() {
            let faces = self.other_faces(decision.candidate);
            self.progress.tried.extend(faces);
        }
        let roll = (choice.roll)();
        let answering = self.answering(choice);
        let around = Around {
            decision: &decision,
            exclusions: &exclusions,
            answering: &answering,
            roll,
        };
        let recovery = self.affordable(failed, &around, tokens);
        if let (Some(answer), Err(_) | Ok(Recovery::Stop)) = (answer, &recovery) {
            return self.take_answer(&decision.call, answer);
        }
        let recovery = match recovery {
            Ok(recovery) => recovery,
            Err(exhausted) => {
                self.give_up(&decision.call, failure);
                self.failure = self.failure.take().map(|error| error.with(exhausted, true));
                return;
            }
        };
        match recovery {
            Recovery::Retry { wait, rule } => {
                self.progress.made += 1;
                self.progress.waited = wait;
                // A retry of a fallback is still a fallback.
                let reason = match decision.reason {
                    DecisionReason::Fallback => DecisionReason::Fallback,
                    DecisionReason::Sticky | DecisionReason::Weighted | DecisionReason::Retry => {
                        DecisionReason::Retry
                    }
                };
                let expected = decision.expected_latency;
                self.progress.share = self.time_share(decision.candidate, &exclusions, choice);
                self.decide(decision.candidate, reason, rule, exclusions, expected);
                self.step = Step::Wait(wait);
            }
            Recovery::Switch { to, rule } => {
                self.settle(to, DecisionReason::Fallback, rule, exclusions, choice);
            }
            Recovery::Draw { to } => {
                self.settle(to, DecisionReason::Weighted, None, exclusions, choice);
            }
            Recovery::Stop => self.give_up(&decision.call, failure),
        }
    }

    /// What comes next within the budgets; an error names the one that is empty. A retry that
    /// nobody pays for is one that was used up: another provider may still take over.
    fn affordable(
        &mut self,
        mut failed: FailedAttempt,
        around: &Around<'_>,
        tokens: &dyn RetryTokens,
    ) -> Result<Recovery, &'static str> {
        let mut is_refused = false;
        let mut unpaid = Vec::new();
        loop {
            let recovery = self.recovery(&failed, &unpaid, around);
            let again = match recovery {
                Recovery::Stop if is_refused => return Err(RETRY_BUDGET_EXHAUSTED),
                // One that refused before anything was sent is replaced, not repeated.
                Recovery::Stop | Recovery::Draw { .. } => return Ok(recovery),
                Recovery::Switch { .. } if failed.class.kept_back => return Ok(recovery),
                Recovery::Retry { .. } => Again::Retry(around.decision.call.id()),
                Recovery::Switch { to, .. } => {
                    let name = self.name_of(to).unwrap_or_default();
                    if around.answering.get(to) == Some(&true) {
                        Again::Takeover(name)
                    } else {
                        Again::Fallback(name)
                    }
                }
            };
            if self.extra_attempts == 0 {
                return Err("attempt_budget_exhausted");
            }
            if tokens.take(again) {
                self.extra_attempts -= 1;
                return Ok(recovery);
            }
            is_refused = true;
            match recovery {
                // Another one may answer, and cost nothing.
                Recovery::Switch { to, .. } => unpaid.push(to),
                Recovery::Retry { .. } | Recovery::Draw { .. } | Recovery::Stop => {
                    failed.may_retry = false;
                }
            }
        }
    }

    /// `unpaid`: candidates that no budget pays for.
    fn recovery(&self, failed: &FailedAttempt, unpaid: &[usize], around: &Around<'_>) -> Recovery {
        let is_open = |index: usize| {
            let is_free = matches!(around.exclusions.get(index), Some(None));
            let is_new = !self.progress.tried.contains(&index) && !unpaid.contains(&index);
            is_free && is_new && self.runs_here(index)
        };
        let facts = self.facts();
        let fallbacks = Fallbacks {
            failed: Some(failed),
            roll: around.roll,
            ..self.rules(Some(around.decision.call.id()), &facts, &is_open)
        };
        fallbacks.recovery(failed.class)
    }

    fn answering(&self, choice: &ChoiceContext<'_>) -> Vec<bool> {
        let is_answering = |candidate: &Candidate| {
            let call = candidate.choice.as_ref().ok()?;
            let place = call.target.endpoint(0)?;
            Some(!(choice.endpoint_state)(call.id(), &place.subject).failing)
        };
        let candidates = self.plan.providers.iter();
        candidates
            .map(|candidate| is_answering(candidate).unwrap_or_default())
            .collect()
    }

    /// An attempt leaves the next provider what 95 % of its answers take, or a quarter of the time
    /// where that is unknown, and has what its own take in any case.
    fn time_share(
        &self,
        index: usize,
        exclusions: &[Option<Exclusion>],
        choice: &ChoiceContext<'_>,
    ) -> TimeShare {
        let faces = self.other_faces(index);
        let is_open = |other: usize| {
            let is_new = other != index && !self.progress.tried.contains(&other);
            is_new && !faces.contains(&other) && self.is_free(other, exclusions)
        };
        let facts = self.facts();
        let fallbacks = self.rules(self.name_of(index), &facts, &is_open);
        let next = fallbacks
            .after_silence()
            .filter(|_| self.extra_attempts > 0);
        let Some(next) = next else {
            return TimeShare::default();
        };
        let a_quarter = choice.left / 4;
        TimeShare {
            reserve: self.usual_at_most(next, choice).unwrap_or(a_quarter),
            least: self.usual_at_most(index, choice).unwrap_or(a_quarter),
        }
    }

    fn usual_at_most(&self, index: usize, choice: &ChoiceContext<'_>) -> Option<Duration> {
        let call = self.plan.providers.get(index)?.choice.as_ref().ok()?;
        let place = call.target.endpoint(0)?;
        let state = (choice.endpoint_state)(call.id(), &place.subject);
        state.p95.filter(|_| state.fresh)
    }

    fn failed_attempt(
        &self,
        decision: &Decision,
        failure: &CallFailure,
        choice: &ChoiceContext<'_>,
    ) -> FailedAttempt {
        let call = &decision.call;
        let says_no = failure
            .answered()
            .is_some_and(AnsweredFailure::must_not_be_repeated);
        let is_open = matches!(failure, CallFailure::CircuitOpen { .. });
        let usual = usual_latency(call, choice);
        FailedAttempt {
            may_retry: !says_no && !is_open,
            ..FailedAttempt::new(call, failure, self.progress.made, usual, choice.left)
        }
    }

    /// Takes a candidate that was not tried yet.
    fn settle(
        &mut self,
        index: usize,
        reason: DecisionReason,
        rule: Option<usize>,
        exclusions: Vec<Option<Exclusion>>,
        choice: &ChoiceContext<'_>,
    ) {
        let is_first = self.progress.tried.is_empty();
        self.progress.tried.push(index);
        self.progress.made = 0;
        self.progress.turn = 0;
        self.progress.waited = Duration::ZERO;
        let plan = Arc::clone(&self.plan);
        let Some(Ok(call)) = plan.providers.get(index).map(|c| &c.choice) else {
            // Only who is not excluded is chosen.
            return self.fail(RequestError::internal());
        };
        let expected = usual_latency(call, choice);
        self.progress.share = self.time_share(index, &exclusions, choice);
        self.decide(index, reason, rule, exclusions, expected);
        let chosen = Step::Choose.after(self.kind, &plan);
        self.step = if is_first {
            chosen
        } else {
            chosen.after(self.kind, &plan)
        };
        if self.kind == RequestKind::Route && call.extension.is_external() {
            self.fail(external(call.id()));
        }
    }

    pub(super) fn decide(
        &mut self,
        candidate: usize,
        reason: DecisionReason,
        rule: Option<usize>,
        exclusions: Vec<Option<Exclusion>>,
        expected_latency: Option<Duration>,
    ) {
        let choice = self.plan.providers.get(candidate).map(|c| &c.choice);
        let Some(Ok(call)) = choice else {
            return;
        };
        let message = match &self.decision {
            Some(before) => before.message.clone(),
            None => self.message.clone(),
        };
        self.decision = Some(Arc::new(Decision {
            candidate,
            call: Arc::clone(call),
            reason,
            exclusions,
            rule,
            expected_latency,
            wait: None,
            message,
        }));
    }
}

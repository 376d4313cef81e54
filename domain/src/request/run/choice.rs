//! The choice of a provider, and what comes after one failed.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::DecisionReason;
use beamline_contract::policy::Order;

use super::consequences::{external, no_provider};
use super::exclusions::usual_latency;
use super::results::RETRY_BUDGET_EXHAUSTED;
use super::state::{Decision, Run, Session};
use super::step::Step;
use crate::request::RequestKind;
use crate::request::error::RequestError;
use crate::request::failure::{AnsweredFailure, CallFailure, FailureClass};
use crate::request::fallback::{Fallbacks, Recovery};
use crate::request::plan::Exclusion;
use crate::request::retry::FailedAttempt;
use crate::target::retry_budget::{Again, RetryTokens};
use crate::target::selection::{self, ChoiceContext};

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
        if let Some(index) = self.session_provider(&exclusions) {
            return self.settle(index, DecisionReason::Sticky, None, exclusions, choice);
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

    /// What the rules say when none can be chosen.
    fn stand_in(&self, exclusions: &[Option<Exclusion>]) -> Recovery {
        let is_circuit_open = exclusions
            .iter()
            .any(|exclusion| matches!(exclusion, Some(Exclusion::CircuitOpen(_))));
        let is_open = |index: usize| {
            let is_free = matches!(exclusions.get(index), Some(None));
            is_free && (self.kind == RequestKind::Decide || self.runs_here(index))
        };
        let fallbacks = Fallbacks {
            plan: &self.plan,
            facts: &self.facts(),
            failed: None,
            is_open: &is_open,
            roll: 0.0,
        };
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
        let roll = (choice.roll)();
        let recovery = self.affordable(failed, &decision, &exclusions, roll, tokens);
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
        decision: &Decision,
        exclusions: &[Option<Exclusion>],
        roll: f64,
        tokens: &dyn RetryTokens,
    ) -> Result<Recovery, &'static str> {
        let mut is_refused = false;
        loop {
            let recovery = self.recovery(&failed, exclusions, roll);
            let again = match recovery {
                Recovery::Stop if is_refused => return Err(RETRY_BUDGET_EXHAUSTED),
                // One that refused before anything was sent is replaced, not repeated.
                Recovery::Stop | Recovery::Draw { .. } => return Ok(recovery),
                Recovery::Retry { .. } => Again::Retry(decision.call.id()),
                Recovery::Switch { to, .. } => {
                    let candidate = self.plan.providers.get(to);
                    Again::Fallback(candidate.map_or("", |candidate| &candidate.name))
                }
            };
            if self.extra_attempts == 0 {
                return Err("attempt_budget_exhausted");
            }
            if tokens.take(again) {
                self.extra_attempts -= 1;
                return Ok(recovery);
            }
            if !matches!(recovery, Recovery::Retry { .. }) {
                return Err(RETRY_BUDGET_EXHAUSTED);
            }
            is_refused = true;
            failed.may_retry = false;
        }
    }

    fn recovery(
        &self,
        failed: &FailedAttempt,
        exclusions: &[Option<Exclusion>],
        roll: f64,
    ) -> Recovery {
        let is_open = |index: usize| {
            let is_free = matches!(exclusions.get(index), Some(None));
            is_free && !self.progress.tried.contains(&index) && self.runs_here(index)
        };
        let fallbacks = Fallbacks {
            plan: &self.plan,
            facts: &self.facts(),
            failed: Some(failed),
            is_open: &is_open,
            roll,
        };
        fallbacks.recovery(failed.class)
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
            may_retry: !says_no && !is_open && !self.request.is_retry(),
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
            message,
        }));
    }
}

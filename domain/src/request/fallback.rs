//! What to do when a provider failed, or when none could be chosen: try it again, let another take
//! over, or stop.
//!
//! The policy's rules are tried in order, and the first that fits and still has something to offer
//! wins: a retry, or a provider that was not tried yet and can be called. So a chain of fallbacks
//! visits no provider twice.

use std::fmt;
use std::time::Duration;

use crate::conditions::Facts;
use crate::policy::Fallback;
use crate::request::failure::FailureClass;
use crate::request::plan::Plan;
use crate::request::retry::FailedAttempt;
use crate::target::selection::weighted;
use beamline_contract::policy::Order;

/// What happens next. `rule` is the position of the policy's rule that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    Retry {
        wait: Duration,
        rule: Option<usize>,
    },
    /// The candidate at this position takes over.
    Switch {
        to: usize,
        rule: Option<usize>,
    },
    /// The call was kept back after the choice, so nothing was called: the candidate at this
    /// position was drawn from the rest.
    Draw {
        to: usize,
    },
    Stop,
}

/// What the next step is decided from.
pub struct Fallbacks<'a> {
    pub plan: &'a Plan,
    pub facts: &'a Facts<'a>,
    /// `None` when nothing has been tried, because nothing could be chosen.
    pub failed: Option<&'a FailedAttempt>,
    /// Whether a candidate was not tried yet and can be called.
    pub is_open: &'a dyn Fn(usize) -> bool,
    /// Uniform in `0.0..1.0`.
    pub roll: f64,
}

impl fmt::Debug for Fallbacks<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fallbacks")
            .field("failed", &self.failed)
            .field("roll", &self.roll)
            .finish_non_exhaustive()
    }
}

impl Fallbacks<'_> {
    /// Decides what comes next, and asks the rules for `all_providers_failed` when nothing else is
    /// left.
    pub fn recovery(&self, class: FailureClass) -> Recovery {
        let all_failed = FailureClass {
            all_failed: true,
            ..class
        };
        self.recovery_from(class)
            .or_else(|| self.recovery_from(all_failed))
            .unwrap_or(Recovery::Stop)
    }

    fn recovery_from(&self, class: FailureClass) -> Option<Recovery> {
        let mut has_rule = false;
        for (index, rule) in self.plan.policy.fallbacks.iter().enumerate() {
            if !fits(rule, class, self.facts) {
                continue;
            }
            has_rule = true;
            if let Some(recovery) = self.by_rule(index, rule) {
                return Some(recovery);
            }
        }
        // The record's own retries count only where no rule says otherwise.
        if !has_rule && let Some(wait) = self.failed.and_then(|f| f.wait_by_record(self.roll)) {
            return Some(Recovery::Retry { wait, rule: None });
        }
        self.draw_again(class).or_else(|| self.next_in_list(class))
    }

    fn by_rule(&self, index: usize, rule: &Fallback) -> Option<Recovery> {
        if let Some(failed) = self.failed {
            let granted = rule.retry.unwrap_or(failed.granted);
            if let Some(wait) = failed.wait(granted, rule.backoff, self.roll) {
                return Some(Recovery::Retry {
                    wait,
                    rule: Some(index),
                });
            }
        }
        let name = rule.to.as_ref()?;
        let candidates = &self.plan.providers;
        let to = candidates.iter().position(|known| known.name == *name)?;
        (self.is_open)(to).then_some(Recovery::Switch {
            to,
            rule: Some(index),
        })
    }

    /// By weight, a call that was kept back only after the choice: the choice is made again among
    /// the rest.
    fn draw_again(&self, class: FailureClass) -> Option<Recovery> {
        if self.plan.policy.order != Order::Weighted || !class.kept_back || self.failed.is_none() {
            return None;
        }
        let mut weights = Vec::with_capacity(self.plan.providers.len());
        for (index, candidate) in self.plan.providers.iter().enumerate() {
            weights.push(if (self.is_open)(index) {
                candidate.weight
            } else {
                0.0
            });
        }
        weighted(&weights, self.roll).map(|to| Recovery::Draw { to })
    }

    /// By priority, the next one takes over without a rule.
    fn next_in_list(&self, class: FailureClass) -> Option<Recovery> {
        if self.plan.policy.order != Order::Priority || !class.asks_the_next() {
            return None;
        }
        let to = self
            .plan
            .providers
            .iter()
            .enumerate()
            .position(|(index, candidate)| candidate.listed && (self.is_open)(index))?;
        Some(Recovery::Switch { to, rule: None })
    }
}

fn fits(rule: &Fallback, class: FailureClass, facts: &Facts<'_>) -> bool {
    let statuses = &rule.when.status;
    let is_of_class = if statuses.is_empty() {
        class.is_any()
    } else {
        statuses.iter().any(|status| class.is(*status))
    };
    is_of_class && rule.when.conditions.matches(facts)
}

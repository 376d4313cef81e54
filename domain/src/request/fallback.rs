//! What to do when a provider failed, or when none could be chosen: try it again, let another take
//! over, or stop.
//!
//! The policy's rules are tried in order, and the first that fits and still has something to offer
//! wins: a retry, or a provider that was not tried yet and can be called. So a chain of fallbacks
//! visits no provider twice.

use std::fmt;
use std::time::Duration;

use crate::conditions::Facts;
use crate::policy::{Fallback, When};
use crate::request::failure::FailureClass;
use crate::request::plan::Plan;
use crate::request::retry::FailedAttempt;
use crate::target::selection::weighted;
use beamline_contract::failure::FailureKind;
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
    /// The provider that failed, or that is kept back.
    pub provider: Option<&'a str>,
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
            if !self.fits(rule, class) {
                continue;
            }
            has_rule = true;
            if let Some(recovery) = self.by_rule(index, rule) {
                return Some(recovery);
            }
        }
        // Nobody is asked twice where another provider waits.
        if let Some(next) = self.next_in_list(class) {
            return Some(next);
        }
        // The record's own retries count only where no rule says otherwise.
        if !has_rule && let Some(wait) = self.failed.and_then(|f| f.wait_by_record(self.roll)) {
            return Some(Recovery::Retry { wait, rule: None });
        }
        self.draw_again(class)
    }

    /// The candidate that takes over by a rule for a provider that is kept back. Neither the list
    /// nor the weights are asked.
    pub fn instead(&self, class: FailureClass) -> Option<(usize, usize)> {
        let rules = self.plan.policy.fallbacks.iter().enumerate();
        let mut fitting = rules.filter(|(_, rule)| self.fits(rule, class));
        fitting.find_map(|(index, rule)| Some((self.target(rule)?, index)))
    }

    /// The candidate that would take over from one that does not answer in time.
    pub fn after_silence(&self) -> Option<usize> {
        let silence = FailureClass::of(FailureKind::Timeout);
        let by_rule = |class| self.instead(class).map(|(to, _)| to);
        let in_list = || match self.next_in_list(silence)? {
            Recovery::Switch { to, .. } => Some(to),
            Recovery::Retry { .. } | Recovery::Draw { .. } | Recovery::Stop => None,
        };
        let last = FailureClass {
            all_failed: true,
            ..silence
        };
        by_rule(silence).or_else(in_list).or_else(|| by_rule(last))
    }

    /// Without a number of its own a rule repeats what the record grants, but only where it leads
    /// to nobody else.
    fn by_rule(&self, index: usize, rule: &Fallback) -> Option<Recovery> {
        let target = self.target(rule);
        if let Some(failed) = self.failed {
            let by_record = if target.is_some() { 0 } else { failed.granted };
            let granted = rule.retry.unwrap_or(by_record);
            if let Some(wait) = failed.wait(granted, rule.backoff, self.roll) {
                return Some(Recovery::Retry {
                    wait,
                    rule: Some(index),
                });
            }
        }
        target.map(|to| Recovery::Switch {
            to,
            rule: Some(index),
        })
    }

    /// The candidate that a rule leads to, if it can be called.
    fn target(&self, rule: &Fallback) -> Option<usize> {
        let name = rule.to.as_ref()?;
        let candidates = &self.plan.providers;
        let to = candidates.iter().position(|known| known.name == *name)?;
        (self.is_open)(to).then_some(to)
    }

    fn fits(&self, rule: &Fallback, class: FailureClass) -> bool {
        let When {
            status,
            providers,
            conditions,
        } = &rule.when;
        let is_of_class = if status.is_empty() {
            class.is_any()
        } else {
            status.iter().any(|status| class.is(*status))
        };
        let is_about_it = providers.is_empty()
            || self
                .provider
                .is_some_and(|provider| providers.iter().any(|named| named == provider));
        is_of_class && is_about_it && conditions.matches(self.facts)
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

//! What to do when a provider failed, or when none could be chosen: try it again, let another take over, or stop.
//!
//! The policy's rules are tried in order, and the first that fits and still has something to offer wins: a retry, or a
//! provider that was not tried yet and can be called. So a chain of fallbacks visits no provider twice.

use std::fmt;
use std::time::Duration;

use crate::conditions::Facts;
use crate::policy::{Backoff, Fallback, Order, Status, Strategy};
use crate::request::call::CallFailure;
use crate::request::plan::{Candidate, Plan};
use crate::target::selection::weighted;

/// What a failure is, in the words of `when.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failing {
    timeout: bool,
    no_responders: bool,
    circuit_open: bool,
    /// Nothing was sent: its breaker kept the call back, or it found no place.
    kept_back: bool,
    /// As HTTP would number it, when it can be numbered.
    code: Option<u16>,
    /// Nothing else that the policy says is left to try.
    all_failed: bool,
}

/// A provider's failure, as far as the next step depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Setback {
    pub failing: Failing,
    /// Retries that its record grants for this failure; 0 when another attempt could not help.
    pub own_retries: u32,
    /// False when a retry cannot or must not be made, whatever a rule says.
    pub may_retry: bool,
    /// Retries made at this provider so far.
    pub made: u32,
    /// It has no other place where a retry could go.
    pub only_place: bool,
    /// The wait that the provider asked for.
    pub asked_to_wait: Option<Duration>,
    /// How long its answers usually take.
    pub usual: Option<Duration>,
    /// What is left of the request's time.
    pub left: Duration,
}

/// What happens next. `rule` is the position of the policy's rule that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Retry {
        wait: Duration,
        rule: Option<usize>,
    },
    /// The candidate at this position takes over.
    Switch {
        to: usize,
        rule: Option<usize>,
    },
    /// The call was kept back after the choice, so nothing was called: the candidate at this position was drawn from the
    /// rest.
    Draw {
        to: usize,
    },
    Stop,
}

/// Waits between the retries that a record grants, where no rule says otherwise: full jitter over 25 ms, doubled.
const OWN_BACKOFF: Backoff = Backoff {
    strategy: Strategy::Exponential,
    base: Duration::from_millis(25),
    max: Duration::from_secs(1),
    jitter: true,
};
/// Whom nobody heard, that one is asked again at the same place after this, or up to twice as long: time to subscribe again.
pub const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(50);
/// With less time than this after the wait, a retry is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);

impl Failing {
    pub fn of(failure: &CallFailure) -> Self {
        let code = |code| Self {
            code: Some(code),
            ..Self::default()
        };
        match failure {
            CallFailure::Timeout | CallFailure::Deadline | CallFailure::TooLittleTime => Self {
                timeout: true,
                ..Self::default()
            },
            CallFailure::Overloaded { .. } => Self {
                kept_back: true,
                ..code(503)
            },
            // NATS itself numbers it 503.
            CallFailure::NoResponders => Self {
                no_responders: true,
                ..code(503)
            },
            CallFailure::CircuitOpen { .. } => Self {
                circuit_open: true,
                kept_back: true,
                ..Self::default()
            },
            CallFailure::Answered { code: word, .. } => match word.as_str() {
                "timeout" | "deadline_exceeded" => Self {
                    timeout: true,
                    ..Self::default()
                },
                "rate_limited" => code(429),
                "overloaded" | "unavailable" => code(503),
                "invalid_request" | "invalid_config" => code(400),
                word => code(
                    word.parse()
                        .ok()
                        .filter(|n| (100..=999).contains(n))
                        .unwrap_or(500),
                ),
            },
            CallFailure::Malformed(_) => code(502),
            CallFailure::BusUnavailable | CallFailure::TooLarge { .. } => Self::default(),
            CallFailure::Refused(_) | CallFailure::Cancelled => Self::default(),
        }
    }

    /// No provider could be chosen; `circuit_open`: at least one because of its breaker.
    pub fn none_chosen(circuit_open: bool) -> Self {
        Self {
            circuit_open,
            ..Self::default()
        }
    }

    fn is(self, status: Status) -> bool {
        let within = |range: std::ops::RangeInclusive<u16>| {
            self.code.is_some_and(|code| range.contains(&code))
        };
        match status {
            Status::Timeout => self.timeout,
            Status::ServerError => within(500..=599),
            Status::ClientError => within(400..=499),
            Status::RateLimited => within(429..=429),
            Status::Code(code) => within(code..=code),
            Status::Error => true,
            Status::NoResponders => self.no_responders,
            Status::CircuitBreakerOpen => self.circuit_open,
            Status::AllProvidersFailed => self.all_failed,
        }
    }

    /// A request that is wrong here is wrong everywhere: 4xx but timeouts and limits.
    fn is_callers_fault(self) -> bool {
        self.is(Status::ClientError) && !self.is(Status::RateLimited) && !self.is(Status::Code(408))
    }
}

impl Fallback {
    fn fits(&self, failing: Failing, facts: &Facts<'_>) -> bool {
        let status = &self.when.status;
        (status.is_empty() || status.iter().any(|status| failing.is(*status)))
            && self.when.conditions.matches(facts)
    }
}

/// What the next step is decided from.
pub struct Situation<'a> {
    pub plan: &'a Plan,
    pub facts: &'a Facts<'a>,
    /// `None` when nothing has been tried, because nothing could be chosen.
    pub setback: Option<&'a Setback>,
    /// Whether a candidate was not tried yet and can be called.
    pub open: &'a dyn Fn(usize) -> bool,
    /// Uniform in `0.0..1.0`.
    pub roll: f64,
}

impl fmt::Debug for Situation<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Situation")
            .field("setback", &self.setback)
            .field("roll", &self.roll)
            .finish_non_exhaustive()
    }
}

impl Situation<'_> {
    /// Decides what comes next, and asks the rules for `all_providers_failed` when nothing else is left.
    pub fn next_move(&self, failing: Failing) -> Move {
        let all_failed = Failing {
            all_failed: true,
            ..failing
        };
        self.move_for(failing)
            .or_else(|| self.move_for(all_failed))
            .unwrap_or(Move::Stop)
    }

    fn move_for(&self, failing: Failing) -> Option<Move> {
        let fits = |(_, rule): &(usize, &Fallback)| rule.fits(failing, self.facts);
        let mut rules = self
            .plan
            .policy
            .fallbacks
            .iter()
            .enumerate()
            .filter(fits)
            .peekable();
        // The record's own retries count only where no rule says otherwise.
        let own = self.setback.filter(|_| rules.peek().is_none());
        rules
            .find_map(|(index, rule)| self.by_rule(index, rule))
            .or_else(|| {
                own.and_then(|setback| {
                    self.retry(
                        setback,
                        setback.own_retries,
                        self.own_backoff(setback),
                        None,
                    )
                })
            })
            .or_else(|| self.draw_again(failing))
            .or_else(|| self.next_in_list(failing))
    }

    fn by_rule(&self, index: usize, rule: &Fallback) -> Option<Move> {
        let again = self.setback.and_then(|setback| {
            let granted = rule.retry.unwrap_or(setback.own_retries);
            self.retry(setback, granted, rule.backoff, Some(index))
        });
        again.or_else(|| {
            let name = rule.to.as_ref()?;
            let to = self
                .plan
                .providers
                .iter()
                .position(|candidate| candidate.name == *name)?;
            (self.open)(to).then_some(Move::Switch {
                to,
                rule: Some(index),
            })
        })
    }

    fn retry(
        &self,
        setback: &Setback,
        granted: u32,
        backoff: Backoff,
        rule: Option<usize>,
    ) -> Option<Move> {
        retry_wait(setback, granted, backoff, self.roll).map(|wait| Move::Retry { wait, rule })
    }

    fn own_backoff(&self, setback: &Setback) -> Backoff {
        if !(setback.failing.no_responders && setback.only_place) {
            return OWN_BACKOFF;
        }
        Backoff {
            strategy: Strategy::Fixed,
            base: SUBSCRIBE_AGAIN.mul_f64(1.0 + self.roll),
            jitter: false,
            ..OWN_BACKOFF
        }
    }

    /// By weight, a call that was kept back only after the choice: the choice is made again among the rest.
    fn draw_again(&self, failing: Failing) -> Option<Move> {
        if self.plan.policy.order != Order::Weighted || !failing.kept_back || self.setback.is_none()
        {
            return None;
        }
        let weigh = |(index, candidate): (usize, &Candidate)| {
            if (self.open)(index) {
                candidate.weight
            } else {
                0.0
            }
        };
        let weights: Vec<f64> = self.plan.providers.iter().enumerate().map(weigh).collect();
        weighted(&weights, self.roll).map(|to| Move::Draw { to })
    }

    /// By priority, the next one takes over without a rule.
    fn next_in_list(&self, failing: Failing) -> Option<Move> {
        if self.plan.policy.order != Order::Priority || failing.is_callers_fault() {
            return None;
        }
        let listed = |index: &usize| {
            self.plan
                .providers
                .get(*index)
                .is_some_and(|candidate| candidate.listed)
        };
        let mut rest = (0..self.plan.providers.len()).filter(listed);
        rest.find(|index| (self.open)(*index))
            .map(|to| Move::Switch { to, rule: None })
    }
}

/// The wait before one more attempt, if one is granted and there is time for it.
fn retry_wait(setback: &Setback, granted: u32, backoff: Backoff, roll: f64) -> Option<Duration> {
    let wait = backoff
        .wait(setback.made + 1, roll)
        .max(setback.asked_to_wait.unwrap_or_default());
    let needed = wait.saturating_add(setback.usual.unwrap_or(LEAST_TIME));
    (setback.may_retry && setback.made < granted && needed < setback.left).then_some(wait)
}

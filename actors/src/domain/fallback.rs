//! What to do when a provider failed, or when none could be chosen: try it again, let another take over, or stop.
//!
//! The policy's rules are tried in order, and the first that fits and still has something to offer wins: a retry, or a
//! provider that was not tried yet and can be called. So a chain of fallbacks visits no provider twice.

use std::time::Duration;

use super::call::CallFailure;
use super::conditions::Facts;
use super::plan::{Candidate, Plan};
use super::policy::{Backoff, Fallback, Order, Status, Strategy};
use super::selection::weighted;

/// What a failure is, in the words of `when.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failing {
    timeout: bool,
    no_responders: bool,
    circuit_open: bool,
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
    /// The breaker refused the call after the choice, so nothing was called: the candidate at this position was drawn
    /// from the rest.
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
/// With less time than this after the wait, a retry is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);

impl Failing {
    pub fn of(failure: &CallFailure) -> Self {
        let code = |code| Self { code: Some(code), ..Self::default() };
        match failure {
            CallFailure::Timeout | CallFailure::Deadline => Self { timeout: true, ..Self::default() },
            CallFailure::Overloaded { .. } => code(503),
            // NATS itself numbers it 503.
            CallFailure::NoResponders => Self { no_responders: true, ..code(503) },
            CallFailure::CircuitOpen { .. } => Self { circuit_open: true, ..Self::default() },
            CallFailure::Answered { code: word, .. } => match word.as_str() {
                "timeout" | "deadline_exceeded" => Self { timeout: true, ..Self::default() },
                "rate_limited" => code(429),
                "overloaded" | "unavailable" => code(503),
                "invalid_request" | "invalid_config" => code(400),
                word => code(word.parse().ok().filter(|n| (100..=999).contains(n)).unwrap_or(500)),
            },
            CallFailure::Malformed(_) => code(502),
            CallFailure::BusUnavailable | CallFailure::TooLarge { .. } => Self::default(),
            CallFailure::Refused(_) | CallFailure::Cancelled => Self::default(),
        }
    }

    /// No provider could be chosen; `circuit_open`: at least one because of its breaker.
    pub fn none_chosen(circuit_open: bool) -> Self {
        Self { circuit_open, ..Self::default() }
    }

    fn is(self, status: Status) -> bool {
        let within = |range: std::ops::RangeInclusive<u16>| self.code.is_some_and(|code| range.contains(&code));
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
        (status.is_empty() || status.iter().any(|status| failing.is(*status))) && self.when.conditions.matches(facts)
    }
}

/// Decides what comes after `setback`, and asks the rules for `all_providers_failed` when nothing else is left; `None` when
/// nothing has been tried because nothing could be chosen. `open` says whether a candidate was not tried yet and can be
/// called. `roll` is uniform in `0.0..1.0`.
pub fn next_move(
    plan: &Plan,
    facts: &Facts<'_>,
    failing: Failing,
    setback: Option<&Setback>,
    open: &dyn Fn(usize) -> bool,
    roll: f64,
) -> Move {
    match move_for(plan, facts, failing, setback, open, roll) {
        Move::Stop => move_for(plan, facts, Failing { all_failed: true, ..failing }, setback, open, roll),
        next @ (Move::Retry { .. } | Move::Switch { .. } | Move::Draw { .. }) => next,
    }
}

fn move_for(
    plan: &Plan,
    facts: &Facts<'_>,
    failing: Failing,
    setback: Option<&Setback>,
    open: &dyn Fn(usize) -> bool,
    roll: f64,
) -> Move {
    let position = |name: &String| plan.providers.iter().position(|candidate| candidate.name == *name);
    let mut ruled = false;
    for (index, rule) in plan.policy.fallbacks.iter().enumerate().filter(|(_, rule)| rule.fits(failing, facts)) {
        ruled = true;
        let granted = |setback: &Setback| rule.retry.unwrap_or(setback.own_retries);
        if let Some(wait) = setback.and_then(|setback| retry_wait(setback, granted(setback), rule.backoff, roll)) {
            return Move::Retry { wait, rule: Some(index) };
        }
        if let Some(to) = rule.to.as_ref().and_then(position).filter(|to| open(*to)) {
            return Move::Switch { to, rule: Some(index) };
        }
    }
    let own = setback.filter(|_| !ruled);
    if let Some(wait) = own.and_then(|setback| retry_wait(setback, setback.own_retries, OWN_BACKOFF, roll)) {
        return Move::Retry { wait, rule: None };
    }
    if plan.policy.order == Order::Weighted && failing.circuit_open && setback.is_some() {
        let weigh = |(index, candidate): (usize, &Candidate)| if open(index) { candidate.weight } else { 0.0 };
        let weights: Vec<f64> = plan.providers.iter().enumerate().map(weigh).collect();
        if let Some(to) = weighted(&weights, roll) {
            return Move::Draw { to };
        }
    }
    if plan.policy.order == Order::Priority && !failing.is_callers_fault() {
        let listed = |(_, candidate): &(usize, &Candidate)| candidate.listed;
        let mut next = plan.providers.iter().enumerate().filter(listed).map(|(index, _)| index);
        if let Some(to) = next.find(|index| open(*index)) {
            return Move::Switch { to, rule: None };
        }
    }
    Move::Stop
}

/// The wait before one more attempt, if one is granted and there is time for it.
fn retry_wait(setback: &Setback, granted: u32, backoff: Backoff, roll: f64) -> Option<Duration> {
    let wait = backoff.wait(setback.made + 1, roll).max(setback.asked_to_wait.unwrap_or_default());
    let needed = wait.saturating_add(setback.usual.unwrap_or(LEAST_TIME));
    (setback.may_retry && setback.made < granted && needed < setback.left).then_some(wait)
}

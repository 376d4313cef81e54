//! The circuit breaker of one extension: opens after five failures in a row, tries again five seconds later.
//!
//! It never sees a request. It is asked whether a call may go, and told how the call ended.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker (Envoy's default is 5, Linkerd's 7).
const CONSECUTIVE_FAILURES: u32 = 5;
/// How long an open breaker refuses every call.
const OPEN_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    /// Refuses until then; the first call after it is the probe.
    Open {
        until: Instant,
    },
    /// One probe is on its way.
    HalfOpen,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// How a call ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The extension did its work, whatever it said.
    Success,
    Failure,
    /// Says nothing about the extension: the router refused, the bus was away, the caller had no time.
    Ignored,
}

/// The right to make one call. Its outcome must be recorded; the generation tells a late one from a timely one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
}

#[derive(Debug)]
pub struct Breaker {
    state: State,
    failures: u32,
    generation: u64,
    opened_at: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, generation: 0, opened_at: None }
    }
}

impl Breaker {
    /// May a call go? If not, how long until the next try.
    pub fn check(&mut self, now: Instant) -> Result<Permit, Duration> {
        match self.state {
            State::Closed => {}
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.enter(State::HalfOpen),
            State::HalfOpen => return Err(OPEN_FOR),
        }
        Ok(Permit { generation: self.generation })
    }

    /// How long calls are kept back, if they are; while a probe is out, nothing else goes. Asking changes nothing.
    pub fn held_back(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            State::HalfOpen => Some(OPEN_FOR),
            State::Open { .. } | State::Closed => None,
        }
    }

    /// Takes the outcome of a call. One from before the last change of state changes nothing.
    pub fn record(&mut self, permit: Permit, outcome: Outcome, now: Instant) {
        if permit.generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (State::Closed, Outcome::Success) => self.failures = 0,
            (State::Closed, Outcome::Failure) => {
                self.failures += 1;
                if self.failures >= CONSECUTIVE_FAILURES {
                    self.open(now);
                }
            }
            (State::HalfOpen, Outcome::Success) => {
                self.failures = 0;
                self.opened_at = None;
                self.enter(State::Closed);
            }
            (State::HalfOpen, Outcome::Failure) => {
                self.failures += 1;
                self.open(now);
            }
            // The probe told nothing: the next call may probe again at once.
            (State::HalfOpen, Outcome::Ignored) => self.enter(State::Open { until: now }),
            (State::Closed, Outcome::Ignored) | (State::Open { .. }, _) => {}
        }
    }

    /// The state as of `now`: an open time that is over shows as half open, though no call has come yet.
    pub fn state(&self, now: Instant) -> State {
        match self.state {
            State::Open { until } if now >= until => State::HalfOpen,
            state @ (State::Closed | State::Open { .. } | State::HalfOpen) => state,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When it opened, while it has not closed again.
    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    fn open(&mut self, now: Instant) {
        self.opened_at = self.opened_at.or(Some(now));
        self.enter(State::Open { until: now + OPEN_FOR });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            let permit = breaker.check(now).unwrap();
            breaker.record(permit, Outcome::Failure, now);
        }
    }

    #[test]
    fn opens_after_five_failures_in_a_row_and_probes_after_five_seconds() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        failed(&mut breaker, 4, start);
        let permit = breaker.check(start).unwrap();
        breaker.record(permit, Outcome::Success, start);
        failed(&mut breaker, 5, start);
        assert_eq!(breaker.check(start + Duration::from_secs(4)), Err(Duration::from_secs(1)));

        let later = start + OPEN_FOR;
        assert_eq!((breaker.state(later), breaker.held_back(later)), (State::HalfOpen, None));
        let probe = breaker.check(later).unwrap();
        assert!(breaker.check(later).is_err(), "one probe at a time");
        assert!(breaker.held_back(later).is_some(), "nobody is sent after a probe");
        breaker.record(probe, Outcome::Failure, later);
        assert!(breaker.check(later).is_err());

        let recovered = later + OPEN_FOR;
        let probe = breaker.check(recovered).unwrap();
        breaker.record(probe, Outcome::Success, recovered);
        assert_eq!((breaker.state(recovered), breaker.opened_at()), (State::Closed, None));
    }

    #[test]
    fn late_and_ignored_outcomes_change_nothing() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let late = breaker.check(now).unwrap();
        failed(&mut breaker, 5, now);
        breaker.record(late, Outcome::Success, now);
        assert!(matches!(breaker.state(now), State::Open { .. }));

        let after = now + OPEN_FOR;
        let probe = breaker.check(after).unwrap();
        breaker.record(probe, Outcome::Ignored, after);
        let next = breaker.check(after).expect("a probe that told nothing gives its permit back");
        breaker.record(next, Outcome::Success, after);
        assert_eq!(breaker.state(after), State::Closed);

        for _ in 0..50 {
            let permit = breaker.check(after).unwrap();
            breaker.record(permit, Outcome::Ignored, after);
        }
        assert_eq!(breaker.state(after), State::Closed);
    }
}

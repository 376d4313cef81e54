//! The circuit breaker of one target: opens after some failures in a row, tries again five seconds later.
//!
//! It never sees a request. It is asked whether a call may go, and told how the call ended. All policies that call the
//! target share it, because the traffic of each is evidence for all; how many failures are too many is said by the policy
//! under which the failed call was made.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker unless the policy says otherwise (Envoy's default is 5, Linkerd's 7).
pub const FAILURE_THRESHOLD: u32 = 5;
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

    /// Of two, the one through which a call gets sooner.
    fn better(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open { until: one }, Self::Open { until: other }) => Self::Open { until: one.min(other) },
            (Self::Closed, _) | (_, Self::Closed) => Self::Closed,
            (Self::HalfOpen, _) | (_, Self::HalfOpen) => Self::HalfOpen,
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
    /// Failures in a row that are too many for whoever makes the call.
    threshold: u32,
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
    /// May a call go? If not, how long until the next try. A failure of the call opens the breaker when it makes at least
    /// `threshold` failures in a row.
    pub fn check(&mut self, now: Instant, threshold: u32) -> Result<Permit, Duration> {
        match self.state {
            State::Closed => {}
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.enter(State::HalfOpen),
            State::HalfOpen => return Err(OPEN_FOR),
        }
        Ok(Permit { generation: self.generation, threshold })
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
                self.failures = self.failures.saturating_add(1);
                if self.failures >= permit.threshold {
                    self.open(now);
                }
            }
            (State::HalfOpen, Outcome::Success) => {
                self.failures = 0;
                self.opened_at = None;
                self.enter(State::Closed);
            }
            (State::HalfOpen, Outcome::Failure) => {
                self.failures = self.failures.saturating_add(1);
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

    /// What is shown of it; `opened_at` while it has not closed again.
    pub fn reading(&self, now: Instant) -> BreakerReading {
        BreakerReading { state: self.state(now), failures: self.failures, opened_at: self.opened_at }
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

/// A breaker at one moment, or several of them as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerReading {
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
    pub opened_at: Option<Instant>,
}

impl BreakerReading {
    /// The breakers of an extension's targets as one: closed while any of them lets calls through, open only when all are.
    pub fn over(readings: impl IntoIterator<Item = Self>) -> Self {
        let closed = Self { state: State::Closed, failures: 0, opened_at: None };
        let better = |one: Self, other: Self| Self {
            state: one.state.better(other.state),
            failures: one.failures.max(other.failures),
            opened_at: one.opened_at.into_iter().chain(other.opened_at).min(),
        };
        let all = readings.into_iter().reduce(better).unwrap_or(closed);
        Self { opened_at: all.opened_at.filter(|_| all.state != State::Closed), ..all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            let permit = breaker.check(now, FAILURE_THRESHOLD).unwrap();
            breaker.record(permit, Outcome::Failure, now);
        }
    }

    #[test]
    fn opens_after_five_failures_in_a_row_and_probes_after_five_seconds() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        failed(&mut breaker, 4, start);
        let permit = breaker.check(start, FAILURE_THRESHOLD).unwrap();
        breaker.record(permit, Outcome::Success, start);
        failed(&mut breaker, 5, start);
        assert_eq!(breaker.check(start + Duration::from_secs(4), FAILURE_THRESHOLD), Err(Duration::from_secs(1)));

        let later = start + OPEN_FOR;
        assert_eq!((breaker.state(later), breaker.held_back(later)), (State::HalfOpen, None));
        let probe = breaker.check(later, FAILURE_THRESHOLD).unwrap();
        assert!(breaker.check(later, FAILURE_THRESHOLD).is_err(), "one probe at a time");
        assert!(breaker.held_back(later).is_some(), "nobody is sent after a probe");
        breaker.record(probe, Outcome::Failure, later);
        assert!(breaker.check(later, FAILURE_THRESHOLD).is_err());

        let recovered = later + OPEN_FOR;
        let probe = breaker.check(recovered, FAILURE_THRESHOLD).unwrap();
        breaker.record(probe, Outcome::Success, recovered);
        assert_eq!(breaker.reading(recovered), BreakerReading::over([]));
    }

    #[test]
    fn late_and_ignored_outcomes_change_nothing() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let late = breaker.check(now, FAILURE_THRESHOLD).unwrap();
        failed(&mut breaker, 5, now);
        breaker.record(late, Outcome::Success, now);
        assert!(matches!(breaker.state(now), State::Open { .. }));

        let after = now + OPEN_FOR;
        let probe = breaker.check(after, FAILURE_THRESHOLD).unwrap();
        breaker.record(probe, Outcome::Ignored, after);
        let next = breaker.check(after, FAILURE_THRESHOLD).expect("a probe that told nothing gives its permit back");
        breaker.record(next, Outcome::Success, after);
        assert_eq!(breaker.state(after), State::Closed);

        for _ in 0..50 {
            let permit = breaker.check(after, FAILURE_THRESHOLD).unwrap();
            breaker.record(permit, Outcome::Ignored, after);
        }
        assert_eq!(breaker.state(after), State::Closed);
    }

    #[test]
    fn a_failure_is_judged_by_the_threshold_of_its_own_call() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let mut fail = |threshold| {
            let permit = breaker.check(now, threshold).unwrap();
            breaker.record(permit, Outcome::Failure, now);
            breaker.state(now)
        };
        (0..7).for_each(|_| assert_eq!(fail(8), State::Closed, "seven failures are few for a patient policy"));
        assert!(matches!(fail(2), State::Open { .. }), "and many for another, which shares the breaker");

        let mut impatient = Breaker::default();
        let permit = impatient.check(now, 1).unwrap();
        impatient.record(permit, Outcome::Failure, now);
        assert!(matches!(impatient.state(now), State::Open { .. }));
    }

    #[test]
    fn several_breakers_are_as_good_as_the_best_of_them() {
        let start = Instant::now();
        let reading = |state, failures, opened_at| BreakerReading { state, failures, opened_at };
        let open = |second| {
            let at = start + Duration::from_secs(second);
            reading(State::Open { until: at + OPEN_FOR }, 5, Some(at))
        };
        let half_open = reading(State::HalfOpen, 6, Some(start));
        let closed = reading(State::Closed, 2, None);
        assert_eq!(BreakerReading::over([]), reading(State::Closed, 0, None));
        assert_eq!(BreakerReading::over([open(3)]), open(3));
        assert_eq!(BreakerReading::over([open(3), open(1), open(2)]), open(1), "the one that is tried first");
        assert_eq!(BreakerReading::over([open(3), half_open]), half_open);
        assert_eq!(BreakerReading::over([half_open, closed, open(1)]), reading(State::Closed, 6, None));
    }
}

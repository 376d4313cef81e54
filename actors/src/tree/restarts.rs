//! When a supervisor restarts a child, and when it gives up.

use std::collections::VecDeque;
use std::time::Duration;

use beamline_domain::backoff::{Exponential, jitter};
use tokio::time::Instant;

/// How many restarts are too many.
#[derive(Debug, Clone, Copy)]
pub struct Intensity {
    pub restarts: usize,
    pub within: Duration,
}

/// Waits before a restart: one after the first end, and twice as long after each further one in the
/// window.
const BACKOFF: Exponential =
    Exponential::doubling(Duration::from_millis(50), Duration::from_secs(5));
/// Children that ended together shall not start together.
const JITTER: f64 = 0.25;
/// A child that may fail without end, and ran for so long, starts with a short wait again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// The restarts of one supervisor.
#[derive(Debug)]
pub struct RestartLog {
    intensity: Intensity,
    recent: VecDeque<Instant>,
}

/// What to do about a child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    /// Too many restarts: the supervisor itself fails, and its own supervisor decides.
    GiveUp,
}

impl RestartLog {
    pub fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            recent: VecDeque::new(),
        }
    }

    /// Takes note of an end. `roll` is uniform in `0.0..1.0`.
    pub fn record(&mut self, now: Instant, roll: f64) -> Verdict {
        self.forget(now);
        if self.recent.len() >= self.intensity.restarts {
            return Verdict::GiveUp;
        }
        let wait = backoff(self.recent.len(), roll);
        self.recent.push_back(now);
        Verdict::RestartAfter(wait)
    }

    fn forget(&mut self, now: Instant) {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) > self.intensity.within)
        {
            self.recent.pop_front();
        }
    }
}

/// The ends of one child that is restarted without end.
#[derive(Debug, Default)]
pub(super) struct Patience {
    in_a_row: usize,
}

impl Patience {
    /// How long to wait after an end, for a child that had run for `ran`.
    pub(super) fn record(&mut self, ran: Duration, roll: f64) -> Duration {
        if ran > SETTLED_AFTER {
            self.in_a_row = 0;
        }
        let wait = backoff(self.in_a_row, roll);
        self.in_a_row = self.in_a_row.saturating_add(1);
        wait
    }
}

fn backoff(restarts_before: usize, roll: f64) -> Duration {
    let number = u32::try_from(restarts_before).unwrap_or(u32::MAX);
    jitter(BACKOFF.wait(number.saturating_add(1)), JITTER, roll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_longer_with_every_restart_and_gives_up_at_the_limit() {
        let mut log = RestartLog::new(Intensity {
            restarts: 3,
            within: Duration::from_secs(10),
        });
        let verdicts: Vec<Verdict> = (0..4).map(|_| log.record(Instant::now(), 0.5)).collect();
        let after = |ms| Verdict::RestartAfter(Duration::from_millis(ms));
        assert_eq!(
            verdicts,
            [after(50), after(100), after(200), Verdict::GiveUp]
        );
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(
            log.record(Instant::now(), 0.5),
            after(50),
            "old restarts are forgotten"
        );
    }

    #[test]
    fn a_child_that_may_fail_without_end_waits_longer_until_it_has_run_for_a_while() {
        let mut patience = Patience::default();
        let waits: Vec<u128> = (0..9)
            .map(|_| patience.record(Duration::ZERO, 0.5).as_millis())
            .collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(
            patience.record(Duration::from_secs(31), 0.5),
            Duration::from_millis(50)
        );
    }
}

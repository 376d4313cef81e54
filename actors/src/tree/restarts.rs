//! When a supervisor restarts a child, and when it gives up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many restarts are too many.
#[derive(Debug, Clone, Copy)]
pub struct Intensity {
    pub restarts: usize,
    pub within: Duration,
}

/// First wait before a restart; it doubles with every restart in the window.
const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(5);

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

    /// Takes note of an end. `jitter` is uniform in `0.0..1.0` and moves the wait by up to a quarter either way.
    pub fn record(&mut self, now: Instant, jitter: f64) -> Verdict {
        self.forget(now);
        if self.recent.len() >= self.intensity.restarts {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(16);
        self.recent.push_back(now);
        let wait = BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_CAP);
        Verdict::RestartAfter(wait.mul_f64(0.75 + jitter / 2.0))
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
}

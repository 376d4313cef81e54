//! How well an extension, or one of its targets, has done lately: its success rate and latencies over the last calls.

use std::time::{Duration, Instant};

/// Calls that the figures look back on.
const WINDOW: usize = 512;
/// Contract section 5: `healthy` from here, `degraded` from the next.
const HEALTHY: f64 = 0.95;
const DEGRADED: f64 = 0.80;
/// Fewer calls do not show that a target is unhealthy: else one failure in two calls would do it.
const LEAST_EVIDENCE: usize = 10;
/// After this long without a call the past says nothing of the present, and a target that was avoided gets another try.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// A ring of the last outcomes.
#[derive(Debug, Clone, Default)]
pub struct Health {
    ring: Vec<Sample>,
    next: usize,
    total: u64,
    /// Outcomes at the end of the ring that speak for the present: those since the last pause or recovery.
    recent: usize,
    last: Option<Instant>,
    last_success: Option<Instant>,
    last_failure: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    success: bool,
    micros: u32,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Calls since the router started.
    pub requests: u64,
    /// 0 to 1 over the window; `None` before the first call.
    pub success_rate: Option<f64>,
    /// Latencies of successful calls: a refusal after no time at all says nothing about how long an answer takes.
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
    /// When the calls that speak for the present are enough of them and too few of them successes: their last.
    pub failing_at: Option<Instant>,
    pub last: Option<Instant>,
    pub last_success: Option<Instant>,
    pub last_failure: Option<Instant>,
}

impl Health {
    pub fn record(&mut self, success: bool, latency: Duration, now: Instant) {
        let sample = Sample { success, micros: u32::try_from(latency.as_micros()).unwrap_or(u32::MAX) };
        match self.ring.get_mut(self.next) {
            Some(slot) => *slot = sample,
            None => self.ring.push(sample),
        }
        self.next = (self.next + 1) % WINDOW;
        self.total += 1;
        if self.last.is_some_and(|last| is_past(last, now)) {
            self.recent = 0;
        }
        self.recent = (self.recent + 1).min(WINDOW);
        self.last = Some(now);
        *(if success { &mut self.last_success } else { &mut self.last_failure }) = Some(now);
    }

    /// The target works again: what was before still counts in the rates, but is no reason to avoid it.
    pub fn recovered(&mut self) {
        self.recent = 0;
    }

    pub fn figures(&self) -> Figures {
        let mut micros: Vec<u32> =
            self.ring.iter().filter(|sample| sample.success).map(|sample| sample.micros).collect();
        micros.sort_unstable();
        let at = |percent: usize| {
            let rank = (micros.len() * percent).div_ceil(100).saturating_sub(1);
            micros.get(rank).map(|m| Duration::from_micros(u64::from(*m)))
        };
        let (p50, p95, p99) = (at(50), at(95), at(99));
        let success_rate = rate(micros.len(), self.ring.len());
        let failing_at = self.last.filter(|_| self.is_failing());
        let Self { total: requests, last, last_success, last_failure, .. } = *self;
        Figures { requests, success_rate, p50, p95, p99, failing_at, last, last_success, last_failure }
    }

    fn is_failing(&self) -> bool {
        let (newer, older) = self.ring.split_at_checked(self.next).unwrap_or((&self.ring, &[]));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        let successes = newest_first.take(self.recent).filter(|sample| sample.success).count();
        self.recent >= LEAST_EVIDENCE && rate(successes, self.recent).is_some_and(|rate| rate < DEGRADED)
    }
}

impl Figures {
    pub fn status(&self) -> &'static str {
        match self.success_rate {
            None => "unknown",
            Some(rate) if rate >= HEALTHY => "healthy",
            Some(rate) if rate >= DEGRADED => "degraded",
            Some(_) => "unhealthy",
        }
    }

    /// Whether there was a call lately, so that the latencies speak for the present.
    pub fn are_fresh(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| !is_past(last, now))
    }

    /// Whether a choice should go elsewhere. Stricter evidence than for the status: enough calls, and none of long ago.
    pub fn is_unhealthy(&self, now: Instant) -> bool {
        self.failing_at.is_some_and(|last| !is_past(last, now))
    }
}

fn is_past(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) > FRESH_FOR
}

/// `None` of nothing.
fn rate(part: usize, whole: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "both are at most the window")]
    let rate = (whole > 0).then(|| part as f64 / whole as f64);
    rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_cover_the_last_calls_only() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.figures().status(), "unknown");
        for _ in 0..WINDOW {
            health.record(false, Duration::from_secs(1), now);
        }
        assert_eq!(health.figures().status(), "unhealthy");
        for ms in 1..=WINDOW as u64 {
            health.record(true, Duration::from_millis(ms), now);
        }
        let figures = health.figures();
        assert_eq!((figures.status(), figures.requests), ("healthy", 2 * WINDOW as u64));
        assert_eq!((figures.p50, figures.p99), (Some(Duration::from_millis(256)), Some(Duration::from_millis(507))));
    }

    #[test]
    fn the_bounds_belong_to_the_better_status() {
        for (failures, status) in [(0, "healthy"), (5, "healthy"), (6, "degraded"), (20, "degraded"), (21, "unhealthy")]
        {
            let (mut health, now) = (Health::default(), Instant::now());
            (0..100).for_each(|i| health.record(i >= failures, Duration::ZERO, now));
            assert_eq!(health.figures().status(), status, "{failures} of 100");
            assert_eq!(health.figures().is_unhealthy(now), status == "unhealthy", "{failures} of 100");
        }
    }

    #[test]
    fn nine_failures_are_not_enough_to_be_avoided() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..9).for_each(|_| health.record(false, Duration::ZERO, now));
        assert!(!health.figures().is_unhealthy(now));
        health.record(false, Duration::ZERO, now);
        assert!(health.figures().is_unhealthy(now));
    }

    #[test]
    fn what_is_avoided_gets_another_try_and_is_judged_by_it() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..100).for_each(|_| health.record(false, Duration::ZERO, now));
        assert!(health.figures().is_unhealthy(now + FRESH_FOR));
        let later = now + FRESH_FOR + Duration::from_millis(1);
        assert!(!health.figures().is_unhealthy(later), "a pause is over");
        (0..9).for_each(|_| health.record(false, Duration::ZERO, later));
        assert!(!health.figures().is_unhealthy(later));
        health.record(false, Duration::ZERO, later);
        assert!(health.figures().is_unhealthy(later), "it fails still");

        health.recovered();
        assert!(!health.figures().is_unhealthy(later));
        assert_eq!(health.figures().status(), "unhealthy", "the rate still looks back on all of it");
    }

    #[test]
    fn only_the_newest_outcomes_decide_when_the_ring_has_gone_round() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..WINDOW + 7).for_each(|_| health.record(false, Duration::ZERO, now));
        let later = now + FRESH_FOR * 2;
        (0..10).for_each(|_| health.record(true, Duration::ZERO, later));
        assert!(!health.figures().is_unhealthy(later));
        (0..3).for_each(|_| health.record(false, Duration::ZERO, later));
        assert!(health.figures().is_unhealthy(later), "ten of thirteen");
    }
}

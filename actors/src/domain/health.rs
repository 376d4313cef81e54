//! How well an extension has done lately: its success rate and latencies over the last calls.

use std::time::Duration;

/// Calls that the figures look back on.
const WINDOW: usize = 512;
/// Contract section 5: `healthy` from here, `degraded` from the next.
const HEALTHY: f64 = 0.95;
const DEGRADED: f64 = 0.80;

/// A ring of the last outcomes.
#[derive(Debug, Default)]
pub struct Health {
    ring: Vec<Sample>,
    next: usize,
    total: u64,
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
}

impl Health {
    pub fn record(&mut self, success: bool, latency: Duration) {
        let sample = Sample { success, micros: u32::try_from(latency.as_micros()).unwrap_or(u32::MAX) };
        match self.ring.get_mut(self.next) {
            Some(slot) => *slot = sample,
            None => self.ring.push(sample),
        }
        self.next = (self.next + 1) % WINDOW;
        self.total += 1;
    }

    pub fn figures(&self) -> Figures {
        let mut micros: Vec<u32> =
            self.ring.iter().filter(|sample| sample.success).map(|sample| sample.micros).collect();
        micros.sort_unstable();
        let at = |percent: usize| {
            let rank = (micros.len() * percent).div_ceil(100).saturating_sub(1);
            micros.get(rank).map(|m| Duration::from_micros(u64::from(*m)))
        };
        let successes = self.ring.iter().filter(|sample| sample.success).count();
        #[expect(clippy::cast_precision_loss, reason = "both are at most the window")]
        let success_rate = (!self.ring.is_empty()).then(|| successes as f64 / self.ring.len() as f64);
        Figures { requests: self.total, success_rate, p50: at(50), p95: at(95), p99: at(99) }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_cover_the_last_calls_only() {
        let mut health = Health::default();
        assert_eq!(health.figures().status(), "unknown");
        for _ in 0..WINDOW {
            health.record(false, Duration::from_secs(1));
        }
        assert_eq!(health.figures().status(), "unhealthy");
        for ms in 1..=WINDOW as u64 {
            health.record(true, Duration::from_millis(ms));
        }
        let figures = health.figures();
        assert_eq!((figures.status(), figures.requests), ("healthy", 2 * WINDOW as u64));
        assert_eq!((figures.p50, figures.p99), (Some(Duration::from_millis(256)), Some(Duration::from_millis(507))));
    }

    #[test]
    fn the_bounds_belong_to_the_better_status() {
        for (failures, status) in [(0, "healthy"), (5, "healthy"), (6, "degraded"), (20, "degraded"), (21, "unhealthy")]
        {
            let mut health = Health::default();
            (0..100).for_each(|i| health.record(i >= failures, Duration::ZERO));
            assert_eq!(health.figures().status(), status, "{failures} of 100");
        }
    }
}

//! How well an extension, or one of its targets, has done lately: its success rate and latencies
//! over a sliding window of time.

use std::time::{Duration, Instant};

mod latencies;

use latencies::Latencies;

/// Time that the figures look back on, in slots that are forgotten as a whole.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(5);
/// Contract section 5: `healthy` from here, `degraded` from the next.
const HEALTHY: f64 = 0.95;
const DEGRADED: f64 = 0.80;
/// Who answers this part of its calls may take over without that being a storm of retries.
const ANSWERING: f64 = 0.5;
/// Fewer calls do not show that a target is unhealthy: else one failure in two calls would do it.
const LEAST_EVIDENCE: u32 = 10;
/// After this long without a call the past says nothing of the present, and a target that was
/// avoided gets another try.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The outcomes of the last 30 s in which there were calls. A pause takes nothing away until the
/// next call.
#[derive(Debug, Clone, Default)]
pub struct Health {
    slots: [Slot; SLOTS],
    /// The slot of the present, and when it began.
    current: usize,
    began: Option<Instant>,
    total: u64,
    last: Option<Instant>,
    last_success: Option<Instant>,
    last_failure: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    all: Tally,
    /// Outcomes that speak for the present: those since the last recovery.
    recent: Tally,
    latencies: Latencies,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    successes: u32,
    calls: u32,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Calls since the router started.
    pub requests: u64,
    /// 0 to 1 over the window; `None` before the first call.
    pub success_rate: Option<f64>,
    /// The same over the last ten seconds or a little less.
    pub lately: Option<f64>,
    /// Latencies of successful calls: a refusal after no time at all says nothing about how long an
    /// answer takes.
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
    /// When the calls that speak for the present are enough of them and too few of them successes:
    /// their last.
    pub failing_at: Option<Instant>,
    pub last: Option<Instant>,
    pub last_success: Option<Instant>,
    pub last_failure: Option<Instant>,
}

impl Health {
    pub fn record(&mut self, success: bool, latency: Duration, now: Instant) {
        self.turn(now);
        if let Some(slot) = self.slots.get_mut(self.current) {
            slot.all.add(success);
            slot.recent.add(success);
            if success {
                slot.latencies.add(latency);
            }
        }
        self.total += 1;
        self.last = Some(now);
        *(if success {
            &mut self.last_success
        } else {
            &mut self.last_failure
        }) = Some(now);
    }

    /// The target works again: what was before still counts in the rates, but is no reason to avoid
    /// it.
    pub fn recovered(&mut self) {
        self.slots
            .iter_mut()
            .for_each(|slot| slot.recent = Tally::default());
    }

    pub fn figures(&self) -> Figures {
        let all = Tally::sum(self.slots.iter().map(|slot| slot.all));
        let before = (self.current + SLOTS - 1) % SLOTS;
        let lately = [self.current, before].map(|slot| self.slots.get(slot));
        let lately = Tally::sum(lately.into_iter().flatten().map(|slot| slot.all));
        let recent = Tally::sum(self.slots.iter().map(|slot| slot.recent));
        let [p50, p95, p99] =
            Latencies::percentiles(self.slots.iter().map(|slot| &slot.latencies), [50, 95, 99]);
        let is_failing =
            recent.calls >= LEAST_EVIDENCE && recent.rate().is_some_and(|rate| rate < DEGRADED);
        let failing_at = self.last.filter(|_| is_failing);
        let Self {
            total: requests,
            last,
            last_success,
            last_failure,
            ..
        } = *self;
        Figures {
            requests,
            success_rate: all.rate(),
            lately: lately.rate(),
            p50,
            p95,
            p99,
            failing_at,
            last,
            last_success,
            last_failure,
        }
    }

    /// Forgets the slots that are over, and goes on in the one of `now`.
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began).as_secs() / SLOT.as_secs();
        for _ in 0..passed.min(SLOTS as u64) {
            self.current = (self.current + 1) % SLOTS;
            if let Some(slot) = self.slots.get_mut(self.current) {
                slot.clear();
            }
        }
        self.began = Some(began + Duration::from_secs(passed * SLOT.as_secs()));
    }
}

impl Slot {
    /// Keeps its memory.
    fn clear(&mut self) {
        (self.all, self.recent) = (Tally::default(), Tally::default());
        self.latencies.clear();
    }
}

impl Tally {
    fn add(&mut self, success: bool) {
        self.calls = self.calls.saturating_add(1);
        self.successes = self.successes.saturating_add(u32::from(success));
    }

    fn sum(tallies: impl Iterator<Item = Self>) -> Self {
        tallies.fold(Self::default(), |sum, tally| Self {
            successes: sum.successes.saturating_add(tally.successes),
            calls: sum.calls.saturating_add(tally.calls),
        })
    }

    /// `None` of nothing.
    fn rate(self) -> Option<f64> {
        (self.calls > 0).then(|| f64::from(self.successes) / f64::from(self.calls))
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

    /// Whether it answered at least half of its calls lately, as far as that is known.
    pub fn answers(&self, now: Instant) -> bool {
        let is_of_lately = |last: Instant| now.saturating_duration_since(last) <= SLOT * 2;
        let lately = self.lately.filter(|_| self.last.is_some_and(is_of_lately));
        lately.is_none_or(|rate| rate >= ANSWERING)
    }

    /// Whether a choice should go elsewhere. Stricter evidence than for the status: enough calls,
    /// and none of long ago.
    pub fn is_unhealthy(&self, now: Instant) -> bool {
        self.failing_at.is_some_and(|last| !is_past(last, now))
    }
}

fn is_past(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) > FRESH_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_half_of_its_calls_of_the_last_seconds_answers() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut health = Health::default();
        assert!(health.figures().answers(at(0)), "nothing is known");
        for _ in 0..100 {
            health.record(true, Duration::ZERO, at(0));
        }
        for _ in 0..3 {
            health.record(false, Duration::ZERO, at(12));
        }
        assert!(!health.figures().answers(at(12)), "what was before is over");
        for _ in 0..3 {
            health.record(true, Duration::ZERO, at(13));
        }
        assert!(health.figures().answers(at(13)));
        health.record(false, Duration::ZERO, at(14));
        assert!(!health.figures().answers(at(14)));
        assert!(
            health.figures().answers(at(25)),
            "nothing is known any more"
        );
    }

    #[test]
    fn figures_cover_the_last_thirty_seconds_only() {
        let mut health = Health::default();
        let start = Instant::now();
        assert_eq!(health.figures().status(), "unknown");
        (0..500).for_each(|_| health.record(false, Duration::from_secs(1), start));
        assert_eq!(health.figures().status(), "unhealthy");
        let ms = |ms| Duration::from_millis(ms);
        for n in 1..=1000 {
            health.record(true, ms(n), start + ms(29_999));
        }
        let figures = health.figures();
        assert_eq!(
            (figures.status(), figures.success_rate),
            ("unhealthy", Some(1000.0 / 1500.0))
        );
        health.record(true, ms(500), start + ms(30_000));
        let figures = health.figures();
        assert_eq!((figures.status(), figures.requests), ("healthy", 1501));
        for (percentile, exact) in [
            (figures.p50, 500.0),
            (figures.p95, 950.0),
            (figures.p99, 990.0),
        ] {
            let off = percentile.unwrap().as_secs_f64() * 1000.0 / exact - 1.0;
            assert!(off.abs() < 0.02, "{percentile:?} is {exact} ms");
        }
    }

    #[test]
    fn a_pause_takes_nothing_away_until_the_next_call() {
        let mut health = Health::default();
        let start = Instant::now();
        (0..20).for_each(|n| health.record(n >= 2, Duration::ZERO, start));
        let later = start + Duration::from_secs(86_400 * 365);
        assert_eq!(
            (health.figures().status(), health.figures().are_fresh(later)),
            ("degraded", false)
        );
        health.record(true, Duration::ZERO, later);
        assert_eq!(
            (health.figures().success_rate, health.figures().requests),
            (Some(1.0), 21)
        );
    }

    #[test]
    fn the_bounds_belong_to_the_better_status() {
        for (failures, status) in [
            (0, "healthy"),
            (5, "healthy"),
            (6, "degraded"),
            (20, "degraded"),
            (21, "unhealthy"),
        ] {
            let mut health = Health::default();
            let now = Instant::now();
            (0..100).for_each(|i| health.record(i >= failures, Duration::ZERO, now));
            assert_eq!(health.figures().status(), status, "{failures} of 100");
            assert_eq!(
                health.figures().is_unhealthy(now),
                status == "unhealthy",
                "{failures} of 100"
            );
        }
    }

    #[test]
    fn nine_failures_are_not_enough_to_be_avoided() {
        let mut health = Health::default();
        let now = Instant::now();
        (0..9).for_each(|_| health.record(false, Duration::ZERO, now));
        assert!(!health.figures().is_unhealthy(now));
        health.record(false, Duration::ZERO, now);
        assert!(health.figures().is_unhealthy(now));
    }

    #[test]
    fn what_is_avoided_gets_another_try_and_is_judged_by_it() {
        let mut health = Health::default();
        let now = Instant::now();
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
        assert_eq!(
            health.figures().status(),
            "unhealthy",
            "the rate still looks back on all of it"
        );
    }

    #[test]
    fn only_the_newest_outcomes_decide_after_a_pause() {
        let mut health = Health::default();
        let now = Instant::now();
        (0..519).for_each(|_| health.record(false, Duration::ZERO, now));
        let later = now + FRESH_FOR * 2;
        (0..10).for_each(|_| health.record(true, Duration::ZERO, later));
        assert!(!health.figures().is_unhealthy(later));
        (0..3).for_each(|_| health.record(false, Duration::ZERO, later));
        assert!(health.figures().is_unhealthy(later), "ten of thirteen");
    }
}

//! What a breaker goes by: the router's defaults, what an extension's record says over them, and
//! what the policy says over that.

use std::time::Duration;

use crate::backoff::{Exponential, jitter};
use beamline_contract::record::{BreakerOverrides, BreakerSetting, Isolation, Kind};

/// Every number that a breaker goes by, for the calls of one target under one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The past that the rates look back on, in whole seconds.
    pub window: u32,
    /// Fewer calls in the window say nothing about rates.
    pub minimum_calls: u32,
    /// Percent of failures in the window that opens it.
    pub failure_rate: u32,
    /// A call that takes at least this long is slow.
    pub slow_call_duration: Duration,
    /// Percent of slow calls in the window that opens it; 100 is off.
    pub slow_call_rate: u32,
    /// Failures in a row that open it, however few calls there are.
    pub consecutive_failures: u32,
    /// The first open time; each further one is longer by the factor, up to the cap.
    pub open_base: Duration,
    pub open_factor: u32,
    pub open_cap: Duration,
    /// Percent by which an open time is made shorter or longer, so that replicas do not probe
    /// together.
    pub jitter: u32,
    /// Closed for this long, the next open time is the first again.
    pub reset_after: Duration,
    /// Probes in flight at most.
    pub half_open_permits: u32,
    /// Probes that must succeed, with no failure between, to close it.
    pub half_open_successes: u32,
    /// Half open for this long without a verdict, it opens again.
    pub half_open_max: Duration,
    /// What one attempt may take.
    pub timeout: Duration,
    pub isolation: Isolation,
}

/// What is enough while another replica's breaker is open.
const WARY_CALLS: u32 = 5;
const WARY_FAILURES: u32 = 2;

/// The longest look into the past, in seconds.
pub(super) const MAX_WINDOW: u32 = 30;

impl Settings {
    /// The defaults for calls that may take `timeout`, with `written` over them. The latency of a
    /// model varies by nature, so slow calls are only held against the others.
    pub fn new(kind: Kind, timeout: Duration, written: &BreakerOverrides) -> Self {
        let number = |setting: BreakerSetting| {
            let number = written.get(setting).or(setting.default_number());
            number.unwrap_or_default()
        };
        let time = |setting| Duration::from_millis(u64::from(number(setting)));
        let time_or = |setting, default: Duration| {
            let written = written.get(setting);
            written.map_or(default, |ms| Duration::from_millis(u64::from(ms)))
        };
        let slow_call_rate = if kind == Kind::Provider { 100 } else { 80 };
        Self {
            window: number(BreakerSetting::Window)
                .div_ceil(1_000)
                .clamp(1, MAX_WINDOW),
            minimum_calls: number(BreakerSetting::MinimumCalls),
            failure_rate: number(BreakerSetting::FailureRate),
            slow_call_duration: time_or(BreakerSetting::SlowCallDuration, timeout.mul_f64(0.8)),
            slow_call_rate: written
                .get(BreakerSetting::SlowCallRate)
                .unwrap_or(slow_call_rate),
            consecutive_failures: number(BreakerSetting::ConsecutiveFailures),
            open_base: time(BreakerSetting::OpenBase),
            open_factor: number(BreakerSetting::OpenFactor),
            open_cap: time(BreakerSetting::OpenCap),
            jitter: number(BreakerSetting::Jitter),
            reset_after: time(BreakerSetting::ResetAfter),
            half_open_permits: number(BreakerSetting::HalfOpenPermits),
            half_open_successes: number(BreakerSetting::HalfOpenSuccesses),
            half_open_max: time_or(
                BreakerSetting::HalfOpenMax,
                (timeout * 2).max(Duration::from_secs(10)),
            ),
            timeout,
            isolation: written.isolation.unwrap_or_default(),
        }
    }

    /// The same for a call that may take so much longer, because there is so much of it.
    #[must_use]
    pub fn with_extra_time(self, extra: Duration) -> Self {
        if extra.is_zero() {
            return self;
        }
        Self {
            slow_call_duration: self.slow_call_duration + extra.mul_f64(0.8),
            timeout: self.timeout + extra,
            ..self
        }
    }

    /// The same while another replica's breaker is open: less is needed, where it is less.
    #[must_use]
    pub fn wary(self) -> Self {
        Self {
            minimum_calls: self.minimum_calls.min(WARY_CALLS),
            consecutive_failures: self.consecutive_failures.min(WARY_FAILURES),
            ..self
        }
    }

    /// The `n`th open time in a row, counted from 1. `roll` is uniform in `0.0..1.0`.
    pub fn open_time(&self, n: u32, roll: f64) -> Duration {
        let backoff = Exponential {
            first: self.open_base,
            factor: self.open_factor,
            longest: self.open_cap,
        };
        jitter(backoff.wait(n), f64::from(self.jitter) / 100.0, roll)
    }

    /// No open time is longer.
    pub fn longest_open_time(&self) -> Duration {
        self.open_cap.mul_f64(1.0 + f64::from(self.jitter) / 100.0)
    }

    /// Each by its name in a record, for people to see.
    pub fn shown(&self) -> Vec<(&'static str, u64)> {
        BreakerSetting::ALL
            .into_iter()
            .map(|setting| (setting.name(), self.number(setting)))
            .collect()
    }

    fn number(&self, setting: BreakerSetting) -> u64 {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match setting {
            BreakerSetting::Window => u64::from(self.window) * 1_000,
            BreakerSetting::MinimumCalls => self.minimum_calls.into(),
            BreakerSetting::FailureRate => self.failure_rate.into(),
            BreakerSetting::SlowCallDuration => ms(self.slow_call_duration),
            BreakerSetting::SlowCallRate => self.slow_call_rate.into(),
            BreakerSetting::ConsecutiveFailures => self.consecutive_failures.into(),
            BreakerSetting::OpenBase => ms(self.open_base),
            BreakerSetting::OpenFactor => self.open_factor.into(),
            BreakerSetting::OpenCap => ms(self.open_cap),
            BreakerSetting::Jitter => self.jitter.into(),
            BreakerSetting::ResetAfter => ms(self.reset_after),
            BreakerSetting::HalfOpenPermits => self.half_open_permits.into(),
            BreakerSetting::HalfOpenSuccesses => self.half_open_successes.into(),
            BreakerSetting::HalfOpenMax => ms(self.half_open_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lies_over_the_defaults() {
        let read = |json: &str| serde_json::from_str::<BreakerOverrides>(json).unwrap();
        let own = read(
            r#"{"minimum_calls": 7, "window_ms": 2500, "open_base_ms": 100, "from_the_future": {"a": []}}"#,
        );
        let all = own.overlaid(&read(r#"{"minimum_calls": 9, "half_open_max_ms": 30000}"#));
        let settings = Settings::new(Kind::Pre, Duration::from_millis(100), &all);
        let shown: Vec<String> = settings
            .shown()
            .iter()
            .map(|(name, number)| format!("{name}={number}"))
            .collect();
        assert_eq!(
            shown.join(" "),
            "window_ms=3000 minimum_calls=9 failure_rate=50 slow_call_duration_ms=80 slow_call_rate=80 \
             consecutive_failures=5 open_base_ms=100 open_factor=2 open_cap_ms=60000 jitter=25 reset_after_ms=60000 \
             half_open_permits=3 half_open_successes=3 half_open_max_ms=30000"
        );
    }

    #[test]
    fn slow_models_do_not_open_it_and_long_calls_get_time_to_answer() {
        let settings = Settings::new(
            Kind::Provider,
            Duration::from_secs(20),
            &BreakerOverrides::default(),
        );
        assert_eq!(
            (settings.slow_call_rate, settings.half_open_max),
            (100, Duration::from_secs(40))
        );
        let settings = Settings::new(
            Kind::Post,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        assert_eq!(
            (settings.slow_call_rate, settings.half_open_max),
            (80, Duration::from_secs(10))
        );
    }

    #[test]
    fn open_times_grow_to_the_cap() {
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        let grown: Vec<u64> = (1..=6)
            .map(|n| settings.open_time(n, 0.5).as_secs())
            .collect();
        assert_eq!(grown, [5, 10, 20, 40, 60, 60]);
        assert_eq!(settings.open_time(1, 0.0), Duration::from_millis(3_750));
        assert_eq!(settings.open_time(u32::MAX, 1.0), Duration::from_secs(75));
    }
}

//! What a breaker goes by: the router's defaults, what an extension's record says over them, and what the policy says over
//! that.

use std::fmt;
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::backoff::{Exponential, jitter};
use crate::document::{Mistakes, Object};
use beamline_contract::record::Kind;

/// One of the numbers that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Window,
    MinimumCalls,
    FailureRate,
    SlowCallDuration,
    SlowCallRate,
    ConsecutiveFailures,
    OpenBase,
    OpenFactor,
    OpenCap,
    Jitter,
    ResetAfter,
    HalfOpenPermits,
    HalfOpenSuccesses,
    HalfOpenMax,
}

const COUNT: usize = 14;

impl Setting {
    /// Each with its name in a record and its limits. Rates and jitter are in percent.
    pub const ALL: [(Self, &'static str, u32, u32); COUNT] = [
        (Self::Window, "window_ms", 1_000, 30_000),
        (Self::MinimumCalls, "minimum_calls", 1, 100_000),
        (Self::FailureRate, "failure_rate", 1, 100),
        (Self::SlowCallDuration, "slow_call_duration_ms", 1, 600_000),
        (Self::SlowCallRate, "slow_call_rate", 1, 100),
        (Self::ConsecutiveFailures, "consecutive_failures", 1, 1_000),
        (Self::OpenBase, "open_base_ms", 100, 600_000),
        (Self::OpenFactor, "open_factor", 1, 10),
        (Self::OpenCap, "open_cap_ms", 100, 600_000),
        (Self::Jitter, "jitter", 0, 50),
        (Self::ResetAfter, "reset_after_ms", 1_000, 3_600_000),
        (Self::HalfOpenPermits, "half_open_permits", 1, 100),
        (Self::HalfOpenSuccesses, "half_open_successes", 1, 100),
        (Self::HalfOpenMax, "half_open_max_ms", 1_000, 600_000),
    ];

    /// The name in a policy, where failures in a row have always had one of their own.
    pub fn policy_name(self, name: &'static str) -> &'static str {
        if self == Self::ConsecutiveFailures {
            "failure_threshold"
        } else {
            name
        }
    }
}

/// The settings that somebody wrote down; what is left out stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    numbers: [Option<u32>; COUNT],
    pub isolation: Option<Isolation>,
}

/// Whose calls share a breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All calls of a target: the traffic of each tenant is evidence for all.
    #[default]
    Shared,
    /// Those of one tenant: where a target does something else for each of them.
    Tenant,
}

impl Isolation {
    pub const WORDS: [(&'static str, Self); 2] =
        [("shared", Self::Shared), ("tenant", Self::Tenant)];
}

/// Its name in a record; a policy has no say in it.
const ISOLATION: &str = "isolation";

impl Overrides {
    /// Reads the `breaker` object of a record.
    pub fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Self {
        let isolation = object.choice(ISOLATION, &Isolation::WORDS, mistakes);
        Self {
            isolation,
            ..Self::read_as(object, |_, name| name, mistakes)
        }
    }

    /// Reads the `circuit_breaker` object of a policy.
    pub fn read_policy(object: Object<'_>, mistakes: &mut Mistakes) -> Self {
        Self::read_as(object, Setting::policy_name, mistakes)
    }

    fn read_as(
        mut object: Object<'_>,
        call: impl Fn(Setting, &'static str) -> &'static str,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut overrides = Self::default();
        for (setting, name, least, most) in Setting::ALL {
            let number = object.whole(
                call(setting, name),
                u64::from(least)..=u64::from(most),
                mistakes,
            );
            if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
                overrides.set(setting, number);
            }
        }
        let known = Setting::ALL.map(|(setting, name, ..)| call(setting, name));
        object.finish(&known, mistakes);
        overrides
    }

    pub fn get(&self, setting: Setting) -> Option<u32> {
        self.numbers.get(setting as usize).copied().flatten()
    }

    pub fn set(&mut self, setting: Setting, number: u32) {
        if let Some(slot) = self.numbers.get_mut(setting as usize) {
            *slot = Some(number);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.isolation.is_none() && self.numbers.iter().all(Option::is_none)
    }

    /// What is written down, by its name in a record.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, &'static str, u32)> {
        Setting::ALL
            .into_iter()
            .zip(self.numbers)
            .filter_map(|((setting, name, ..), number)| Some((setting, name, number?)))
    }

    /// These, with those of `other` in place of their own.
    #[must_use]
    pub fn overlaid(self, other: &Self) -> Self {
        let mut all = self;
        other
            .iter()
            .for_each(|(setting, _, number)| all.set(setting, number));
        all
    }
}

impl Serialize for Overrides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (_, name, number) in self.iter() {
            map.serialize_entry(name, &number)?;
        }
        if let Some(isolation) = self.isolation {
            map.serialize_entry(ISOLATION, &isolation)?;
        }
        map.end()
    }
}

/// From a store, which holds what was checked before; what only a newer router knows is passed over.
impl<'de> Deserialize<'de> for Overrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Stored;
        impl<'de> Visitor<'de> for Stored {
            type Value = Overrides;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Overrides, A::Error> {
                let mut overrides = Overrides::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == ISOLATION {
                        overrides.isolation = Some(map.next_value()?);
                        continue;
                    }
                    match Setting::ALL.into_iter().find(|(_, name, ..)| *name == key) {
                        Some((setting, ..)) => overrides.set(setting, map.next_value()?),
                        None => map.next_value::<IgnoredAny>().map(drop)?,
                    }
                }
                Ok(overrides)
            }
        }
        deserializer.deserialize_map(Stored)
    }
}

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
    /// Percent by which an open time is made shorter or longer, so that replicas do not probe together.
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
    /// The defaults for calls that may take `timeout`, with `written` over them. The latency of a model varies by nature,
    /// so slow calls are only held against the others.
    pub fn new(kind: Kind, timeout: Duration, written: &Overrides) -> Self {
        let number = |setting, default| written.get(setting).unwrap_or(default);
        let time = |setting, default: Duration| {
            written
                .get(setting)
                .map_or(default, |ms| Duration::from_millis(u64::from(ms)))
        };
        let slow_call_rate = if kind == Kind::Provider { 100 } else { 80 };
        Self {
            window: number(Setting::Window, MAX_WINDOW * 1_000)
                .div_ceil(1_000)
                .clamp(1, MAX_WINDOW),
            minimum_calls: number(Setting::MinimumCalls, 20),
            failure_rate: number(Setting::FailureRate, 50),
            slow_call_duration: time(Setting::SlowCallDuration, timeout.mul_f64(0.8)),
            slow_call_rate: number(Setting::SlowCallRate, slow_call_rate),
            consecutive_failures: number(Setting::ConsecutiveFailures, 5),
            open_base: time(Setting::OpenBase, Duration::from_secs(5)),
            open_factor: number(Setting::OpenFactor, 2),
            open_cap: time(Setting::OpenCap, Duration::from_secs(60)),
            jitter: number(Setting::Jitter, 25),
            reset_after: time(Setting::ResetAfter, Duration::from_secs(60)),
            half_open_permits: number(Setting::HalfOpenPermits, 3),
            half_open_successes: number(Setting::HalfOpenSuccesses, 3),
            half_open_max: time(
                Setting::HalfOpenMax,
                (timeout * 2).max(Duration::from_secs(10)),
            ),
            timeout,
            isolation: written.isolation.unwrap_or_default(),
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
        Setting::ALL
            .into_iter()
            .map(|(setting, name, ..)| (name, self.number(setting)))
            .collect()
    }

    fn number(&self, setting: Setting) -> u64 {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match setting {
            Setting::Window => u64::from(self.window) * 1_000,
            Setting::MinimumCalls => self.minimum_calls.into(),
            Setting::FailureRate => self.failure_rate.into(),
            Setting::SlowCallDuration => ms(self.slow_call_duration),
            Setting::SlowCallRate => self.slow_call_rate.into(),
            Setting::ConsecutiveFailures => self.consecutive_failures.into(),
            Setting::OpenBase => ms(self.open_base),
            Setting::OpenFactor => self.open_factor.into(),
            Setting::OpenCap => ms(self.open_cap),
            Setting::Jitter => self.jitter.into(),
            Setting::ResetAfter => ms(self.reset_after),
            Setting::HalfOpenPermits => self.half_open_permits.into(),
            Setting::HalfOpenSuccesses => self.half_open_successes.into(),
            Setting::HalfOpenMax => ms(self.half_open_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_settings() {
        for (index, (setting, ..)) in Setting::ALL.into_iter().enumerate() {
            assert_eq!(setting as usize, index, "{setting:?}");
        }
    }

    #[test]
    fn what_is_written_lies_over_the_defaults() {
        let read = |json: &str| serde_json::from_str::<Overrides>(json).unwrap();
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
        assert_eq!(
            serde_json::to_string(&all).unwrap(),
            r#"{"window_ms":2500,"minimum_calls":9,"open_base_ms":100,"half_open_max_ms":30000}"#
        );
    }

    #[test]
    fn slow_models_do_not_open_it_and_long_calls_get_time_to_answer() {
        let settings = Settings::new(
            Kind::Provider,
            Duration::from_secs(20),
            &Overrides::default(),
        );
        assert_eq!(
            (settings.slow_call_rate, settings.half_open_max),
            (100, Duration::from_secs(40))
        );
        let settings = Settings::new(Kind::Post, Duration::from_secs(1), &Overrides::default());
        assert_eq!(
            (settings.slow_call_rate, settings.half_open_max),
            (80, Duration::from_secs(10))
        );
    }

    #[test]
    fn open_times_grow_to_the_cap() {
        let settings = Settings::new(Kind::Pre, Duration::from_secs(1), &Overrides::default());
        let grown: Vec<u64> = (1..=6)
            .map(|n| settings.open_time(n, 0.5).as_secs())
            .collect();
        assert_eq!(grown, [5, 10, 20, 40, 60, 60]);
        assert_eq!(settings.open_time(1, 0.0), Duration::from_millis(3_750));
        assert_eq!(settings.open_time(u32::MAX, 1.0), Duration::from_secs(75));
    }
}

//! What a record or a policy says about breakers; what it leaves out stays as it is.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of the numbers that can be set. Rates and jitter are in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerSetting {
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

impl BreakerSetting {
    pub const ALL: [Self; COUNT] = [
        Self::Window,
        Self::MinimumCalls,
        Self::FailureRate,
        Self::SlowCallDuration,
        Self::SlowCallRate,
        Self::ConsecutiveFailures,
        Self::OpenBase,
        Self::OpenFactor,
        Self::OpenCap,
        Self::Jitter,
        Self::ResetAfter,
        Self::HalfOpenPermits,
        Self::HalfOpenSuccesses,
        Self::HalfOpenMax,
    ];

    /// The name in a record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window_ms",
            Self::MinimumCalls => "minimum_calls",
            Self::FailureRate => "failure_rate",
            Self::SlowCallDuration => "slow_call_duration_ms",
            Self::SlowCallRate => "slow_call_rate",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::OpenBase => "open_base_ms",
            Self::OpenFactor => "open_factor",
            Self::OpenCap => "open_cap_ms",
            Self::Jitter => "jitter",
            Self::ResetAfter => "reset_after_ms",
            Self::HalfOpenPermits => "half_open_permits",
            Self::HalfOpenSuccesses => "half_open_successes",
            Self::HalfOpenMax => "half_open_max_ms",
        }
    }

    /// The name in a policy, where failures in a row have always had one of their own.
    pub fn policy_name(self) -> &'static str {
        if self == Self::ConsecutiveFailures {
            "failure_threshold"
        } else {
            self.name()
        }
    }

    /// What holds where nobody writes anything; `None` where that depends on the extension.
    pub fn default_number(self) -> Option<u32> {
        match self {
            Self::Window => Some(30_000),
            Self::MinimumCalls => Some(20),
            Self::FailureRate => Some(50),
            Self::ConsecutiveFailures => Some(5),
            Self::OpenBase => Some(5_000),
            Self::OpenFactor => Some(2),
            Self::OpenCap | Self::ResetAfter => Some(60_000),
            Self::Jitter => Some(25),
            Self::HalfOpenPermits | Self::HalfOpenSuccesses => Some(3),
            Self::SlowCallDuration | Self::SlowCallRate | Self::HalfOpenMax => None,
        }
    }

    /// The numbers that somebody may write.
    pub fn limits(self) -> RangeInclusive<u32> {
        match self {
            Self::Window => 1_000..=30_000,
            Self::MinimumCalls => 1..=100_000,
            Self::FailureRate | Self::SlowCallRate => 1..=100,
            Self::SlowCallDuration => 1..=600_000,
            Self::ConsecutiveFailures => 1..=1_000,
            Self::OpenBase | Self::OpenCap => 100..=600_000,
            Self::OpenFactor => 1..=10,
            Self::Jitter => 0..=50,
            Self::ResetAfter => 1_000..=3_600_000,
            Self::HalfOpenPermits | Self::HalfOpenSuccesses => 1..=100,
            Self::HalfOpenMax => 1_000..=600_000,
        }
    }
}

/// Whose calls share a breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// The settings that somebody wrote down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BreakerOverrides {
    numbers: [Option<u32>; COUNT],
    /// A policy has no say in it.
    pub isolation: Option<Isolation>,
}

impl BreakerOverrides {
    /// The name of [`Self::isolation`] in a record.
    pub const ISOLATION: &'static str = "isolation";

    pub fn get(&self, setting: BreakerSetting) -> Option<u32> {
        self.numbers.get(setting as usize).copied().flatten()
    }

    pub fn set(&mut self, setting: BreakerSetting, number: u32) {
        if let Some(slot) = self.numbers.get_mut(setting as usize) {
            *slot = Some(number);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.isolation.is_none() && self.numbers.iter().all(Option::is_none)
    }

    /// The numbers that are written down.
    pub fn numbers(&self) -> impl Iterator<Item = (BreakerSetting, u32)> {
        BreakerSetting::ALL
            .into_iter()
            .filter_map(|setting| Some((setting, self.get(setting)?)))
    }

    /// These, with the numbers of `other` in place of their own.
    #[must_use]
    pub fn overlaid(self, other: &Self) -> Self {
        let mut all = self;
        for (setting, number) in other.numbers() {
            all.set(setting, number);
        }
        all
    }
}

impl Serialize for BreakerOverrides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (setting, number) in self.numbers() {
            map.serialize_entry(setting.name(), &number)?;
        }
        if let Some(isolation) = self.isolation {
            map.serialize_entry(Self::ISOLATION, &isolation)?;
        }
        map.end()
    }
}

/// From a store, which holds what was checked before; what only a newer router knows is passed
/// over.
impl<'de> Deserialize<'de> for BreakerOverrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Stored)
    }
}

struct Stored;

impl<'de> Visitor<'de> for Stored {
    type Value = BreakerOverrides;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BreakerOverrides, A::Error> {
        let mut overrides = BreakerOverrides::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == BreakerOverrides::ISOLATION {
                overrides.isolation = Some(map.next_value()?);
                continue;
            }
            let known = BreakerSetting::ALL
                .into_iter()
                .find(|setting| setting.name() == key);
            match known {
                Some(setting) => overrides.set(setting, map.next_value()?),
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_settings() {
        for (index, setting) in BreakerSetting::ALL.into_iter().enumerate() {
            assert_eq!(setting as usize, index, "{setting:?}");
        }
    }

    #[test]
    fn the_numbers_of_another_lie_over_its_own() {
        let read = |json: &str| serde_json::from_str::<BreakerOverrides>(json).unwrap();
        let own = read(
            r#"{"minimum_calls": 7, "window_ms": 2500, "open_base_ms": 100, "from_the_future": {"a": []}}"#,
        );
        let all = own.overlaid(&read(r#"{"minimum_calls": 9, "half_open_max_ms": 30000}"#));
        assert_eq!(
            serde_json::to_string(&all).unwrap(),
            r#"{"window_ms":2500,"minimum_calls":9,"open_base_ms":100,"half_open_max_ms":30000}"#
        );
    }
}

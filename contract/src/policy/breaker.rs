//! What a policy asks of breakers.

use serde::{Serialize, Serializer};

use crate::record::{BreakerOverrides, BreakerSetting};

/// Keys of older policies, the settings that they are now, and what their numbers are multiplied
/// with. `enabled` is one more.
pub const OLDER_BREAKER_KEYS: [(&str, BreakerSetting, f64); 5] = [
    ("error_rate_window_seconds", BreakerSetting::Window, 1_000.0),
    ("error_rate_threshold", BreakerSetting::FailureRate, 100.0),
    ("timeout_ms", BreakerSetting::OpenBase, 1.0),
    ("half_open_max_calls", BreakerSetting::HalfOpenPermits, 1.0),
    ("success_threshold", BreakerSetting::HalfOpenSuccesses, 1.0),
];

/// The numbers of a policy for the breakers of its providers, by their names in a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitBreaker(pub BreakerOverrides);

impl CircuitBreaker {
    pub fn is_empty(&self) -> bool {
        self.0.numbers().next().is_none()
    }
}

impl Serialize for CircuitBreaker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = self.0.numbers();
        serializer.collect_map(numbers.map(|(setting, number)| (setting.policy_name(), number)))
    }
}

//! What a policy asks of breakers.

use serde::{Serialize, Serializer};

use crate::record::BreakerOverrides;

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

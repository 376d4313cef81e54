//! How hard and how long a scenario is driven.

use std::time::Duration;

/// Phases of a scenario: calm, fault, calm again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Requests a second, whatever becomes of them.
    pub(crate) rate: f64,
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    /// After recovery.
    pub(crate) after: Duration,
}

impl Pace {
    /// For every run of the tests, beside other tests on a small machine.
    pub(crate) const QUICK: Self = Self {
        rate: 60.0,
        before: Duration::from_secs(1),
        fault: Duration::from_secs(3),
        after: Duration::from_secs(1),
    };
    /// As the fault matrix has it.
    pub(crate) const FULL: Self = Self {
        rate: 200.0,
        before: Duration::from_secs(10),
        fault: Duration::from_secs(20),
        after: Duration::from_secs(20),
    };

    /// `CHAOS_PACE` is `full` or `quick`.
    pub(crate) fn from_env() -> Self {
        match std::env::var("CHAOS_PACE").as_deref() {
            Ok("quick") => Self::QUICK,
            Ok("full") | Err(_) => Self::FULL,
            Ok(other) => panic!("CHAOS_PACE is \"{other}\"; use full or quick"),
        }
    }

    pub(crate) fn is_quick(self) -> bool {
        self.fault < Self::FULL.fault
    }
}

//! What comes after a failed provider.

use std::time::Duration;

use beamline_contract::policy::{BackoffEntry, Status, Strategy};

use crate::backoff::{Exponential, full_jitter};
use crate::conditions::Conditions;

/// What to do when a provider failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    pub when: When,
    /// Attempts after the first at the provider that failed; `None` leaves it to the provider's
    /// record.
    pub retry: Option<u32>,
    pub backoff: Backoff,
    /// The provider that takes over then; `None`: nobody, the rule only retries.
    pub to: Option<String>,
}

/// Which failures of which requests a rule is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct When {
    /// One of them; empty means any failure.
    pub status: Vec<Status>,
    /// Of one of these providers; empty means of any.
    pub providers: Vec<String>,
    pub conditions: Conditions,
}

/// The waits between the attempts of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub strategy: Strategy,
    pub base: Duration,
    pub max: Duration,
    /// A random part of each wait instead of all of it, so that callers do not come back together.
    pub jitter: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        let written = BackoffEntry::DEFAULT;
        Self {
            strategy: written.strategy,
            base: Duration::from_millis(written.base_ms),
            max: Duration::from_millis(written.max_ms),
            jitter: written.jitter,
        }
    }
}

impl Backoff {
    /// The wait before retry `number`, counted from 1. `roll` is uniform in `0.0..1.0`; with jitter
    /// the wait is that part of the full one.
    pub fn wait(&self, number: u32, roll: f64) -> Duration {
        let full = match self.strategy {
            Strategy::Exponential => Exponential::doubling(self.base, self.max).wait(number),
            Strategy::Linear => self.base.saturating_mul(number.max(1)).min(self.max),
            Strategy::Fixed => self.base.min(self.max),
        };
        if self.jitter {
            full_jitter(full, roll)
        } else {
            full
        }
    }
}

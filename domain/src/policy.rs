//! A tenant's policy (contract section 4): which extensions run, in which order, and what happens when one fails.
//!
//! There is one model. Every form of the document is brought into it where it is read.

use std::time::Duration;

use crate::backoff::{Exponential, full_jitter};
use crate::conditions::Conditions;
use crate::document::{Located, Mistakes, Object, check_json};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::policy::{Form, Mode, OnFail, Order, Status, Strategy};
use beamline_contract::record::BreakerOverrides;

pub mod complexity;
pub mod diff;
#[cfg(any(test, feature = "testing"))]
pub mod invariants;
mod places;
mod read;
pub mod waves;
mod write;

use places::Places;

/// The JSON Schema of all forms, for editors.
pub const SCHEMA: &str = include_str!("policy/schema.json");

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub version: String,
    /// Absent when the document leaves it to the name under which it is stored.
    pub policy_id: Option<String>,
    pub pre: Vec<Processor>,
    pub validators: Vec<Validator>,
    pub providers: Vec<Provider>,
    /// How one of the providers is chosen.
    pub order: Order,
    pub post: Vec<Processor>,
    /// Tried in their order.
    pub fallbacks: Vec<Fallback>,
    pub sticky: Option<Sticky>,
    pub circuit_breaker: BreakerOverrides,
    pub metadata: Fields,
    places: Places,
}

/// What somebody who is writing a document wants to know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// `None` when it is no object.
    pub form: Option<Form>,
    pub result: Result<Policy, Vec<Located>>,
}

/// A pre- or post-processor in a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub id: String,
    pub mode: Mode,
    pub config: Fields,
    /// `None`: after everything listed before it. A list: after those only; the empty list waits for nothing.
    pub depends_on: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Validator {
    pub id: String,
    pub on_fail: OnFail,
    pub config: Fields,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub name: String,
    /// Used in proportion to the sum of all; 0 takes no traffic. In a list by priority it says nothing.
    pub weight: f64,
    pub config: Fields,
}

/// What to do when a provider failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    pub when: When,
    /// Attempts after the first at the provider that failed; `None` leaves it to the provider's record.
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
        Self {
            strategy: Strategy::Exponential,
            base: Duration::from_millis(100),
            max: Duration::from_secs(2),
            jitter: true,
        }
    }
}

impl Backoff {
    /// The wait before retry `number`, counted from 1. `roll` is uniform in `0.0..1.0`; with jitter the wait is that part
    /// of the full one.
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

/// Requests of one session go to one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The context key whose value names the session.
    pub session_key: String,
    /// How long a session without a request keeps its provider.
    pub ttl: Duration,
}

impl Sticky {
    pub const DEFAULT_TTL: Duration = Duration::from_secs(600);
    pub const TTL: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
}

impl Policy {
    /// Reads a document as somebody wrote it, with all mistakes at once.
    pub fn parse(json: &str) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let parsed =
            Object::parse(json, &mut mistakes).map(|object| read::read(object, &mut mistakes).0);
        mistakes.into_result(parsed)
    }

    /// The same for somebody who has the text at hand: its form, and as good as all mistakes with line and column.
    pub fn check(json: &str) -> Checked {
        if let Err((mistake, position)) = check_json(json) {
            return Checked {
                form: None,
                result: Err(vec![Located { position, mistake }]),
            };
        }
        let mut mistakes = Mistakes::up_to(MAX_CHECKED);
        let parsed =
            Object::parse(json, &mut mistakes).map(|object| read::read(object, &mut mistakes));
        let form = parsed.as_ref().map(|(_, form)| *form);
        let result = match parsed {
            Some((policy, _)) if mistakes.count() == 0 => Ok(policy),
            _ => Err(mistakes.located_in(json)),
        };
        Checked { form, result }
    }

    /// Extensions in the pipeline: everything that could run for one request, providers counted as one call.
    pub fn pipeline_length(&self) -> usize {
        self.pre.len()
            + self.validators.len()
            + self.post.len()
            + usize::from(!self.providers.is_empty())
    }
}

/// Nobody mends more at once, and finding the place of each takes a walk through the text.
const MAX_CHECKED: usize = 1_000;

#[cfg(test)]
mod tests;

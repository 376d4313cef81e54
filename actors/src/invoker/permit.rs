//! The right to make one attempt, as an object that gives itself back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::breaker::{Outcome, Permit, Settings};

/// Where permits come from and go back to.
pub trait Gate {
    /// Which of its breakers granted a permit.
    type Breaker: std::fmt::Debug;

    /// Takes a permit back, with what its attempt says about the extension and how long it took.
    fn returned(&self, breaker: &Self::Breaker, permit: Permit, settings: &Settings, outcome: Outcome, took: Duration);
}

/// A permit that goes back however the attempt ends, a panic or a cancelled task included.
#[derive(Debug)]
pub struct Held<G: Gate> {
    gate: Arc<G>,
    breaker: G::Breaker,
    permit: Permit,
    settings: Settings,
    since: Instant,
    end: Option<(Outcome, Duration)>,
}

impl<G: Gate> Held<G> {
    /// Holds a permit that a breaker of `gate` granted at `since`.
    pub fn new(gate: Arc<G>, breaker: G::Breaker, permit: Permit, settings: Settings, since: Instant) -> Self {
        Self { gate, breaker, permit, settings, since, end: None }
    }

    /// Tells how the attempt ended and how long it took.
    pub fn finish(mut self, outcome: Outcome, took: Duration) {
        self.end = Some((outcome, took));
    }
}

impl<G: Gate> Drop for Held<G> {
    fn drop(&mut self) {
        let (outcome, took) = self.end.unwrap_or_else(|| {
            let took = now().saturating_duration_since(self.since);
            // Cut off, it tells nothing, unless it had all its time before.
            (if took >= self.settings.timeout { Outcome::Timeout } else { Outcome::Ignored }, took)
        });
        self.gate.returned(&self.breaker, self.permit, &self.settings, outcome, took);
    }
}

/// The breaker's clock: the runtime's, so that tests can pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

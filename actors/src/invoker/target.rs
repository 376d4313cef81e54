//! One target of an extension: a subject, with the breaker and the figures of the calls that went there. An instance that
//! fails harms only its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::domain::breaker::{Breaker, BreakerReading, Outcome, Permit, State};
use crate::domain::health::{Figures, Health};
use crate::domain::selection::Vitals;

/// What all callers of a target share.
#[derive(Debug)]
pub struct TargetState {
    extension_id: Arc<str>,
    pub subject: Arc<str>,
    record: Mutex<Record>,
    figures: ArcSwap<Figures>,
    /// There are outcomes that the figures do not show yet.
    unpublished: AtomicBool,
}

#[derive(Debug)]
struct Record {
    breaker: Breaker,
    health: Health,
    used_at: Instant,
}

impl TargetState {
    pub(super) fn new(extension_id: &Arc<str>, subject: &Arc<str>) -> Arc<Self> {
        let record = Record { breaker: Breaker::default(), health: Health::default(), used_at: now() };
        Arc::new(Self {
            extension_id: Arc::clone(extension_id),
            subject: Arc::clone(subject),
            record: Mutex::new(record),
            figures: ArcSwap::default(),
            unpublished: AtomicBool::new(false),
        })
    }

    /// Asks the breaker; if it says no, how long until the next try. `threshold` is the number of failures in a row that
    /// the caller's policy tolerates. The permit must be used or dropped; dropped unused, it tells the breaker nothing.
    pub fn permit(self: &Arc<Self>, threshold: u32) -> Result<CallPermit, Duration> {
        let now = now();
        let mut record = self.record.lock();
        record.used_at = now;
        let permit = record.breaker.check(now, threshold)?;
        drop(record);
        Ok(CallPermit { target: Arc::clone(self), permit, end: None })
    }

    pub fn breaker(&self) -> BreakerReading {
        self.record.lock().breaker.reading(now())
    }

    pub fn figures(&self) -> Arc<Figures> {
        self.figures.load_full()
    }

    /// What a choice between targets goes by. One that is only waiting for its probe is not unhealthy: if everybody went
    /// elsewhere, it would wait for ever.
    pub(super) fn vitals(&self) -> Vitals {
        let figures = self.figures.load();
        let now = now();
        let held_back = self.record.lock().breaker.held_back(now);
        let unhealthy = held_back.is_some() || figures.is_unhealthy(now);
        Vitals { held_back, unhealthy, latency: figures.p50, fresh: figures.are_fresh(now) }
    }

    /// Time since somebody last wanted to call it.
    pub(super) fn unused_for(&self) -> Duration {
        now().saturating_duration_since(self.record.lock().used_at)
    }

    /// Brings the figures up to date.
    pub(super) fn publish(&self) {
        if self.unpublished.swap(false, Ordering::Relaxed) {
            // Sorting takes longer than a copy, and callers wait for the lock.
            let health = self.record.lock().health.clone();
            self.figures.store(Arc::new(health.figures()));
        }
    }

    fn ended(&self, permit: Permit, end: Option<(Outcome, Duration)>) {
        let now = now();
        let (outcome, took) = end.unwrap_or((Outcome::Ignored, Duration::ZERO));
        let mut record = self.record.lock();
        let before = record.breaker.state(now);
        record.breaker.record(permit, outcome, now);
        let after = record.breaker.state(now);
        if before != State::Closed && after == State::Closed {
            record.health.recovered();
        }
        if outcome != Outcome::Ignored {
            record.health.record(outcome == Outcome::Success, took, now);
        }
        drop(record);
        self.unpublished.store(true, Ordering::Relaxed);
        self.log_change(before, after);
    }

    fn log_change(&self, before: State, after: State) {
        let (extension_id, subject) = (&*self.extension_id, &*self.subject);
        match after {
            State::Open { .. } if !matches!(before, State::Open { .. }) => {
                tracing::warn!(extension_id, subject, "the circuit breaker opened");
            }
            State::Closed if before != State::Closed => {
                tracing::info!(extension_id, subject, "the circuit breaker closed");
            }
            State::Open { .. } | State::Closed | State::HalfOpen => {}
        }
    }
}

/// The right to make one attempt. Gives itself back however the attempt ends, a panic or a cancelled task included.
#[derive(Debug)]
pub struct CallPermit {
    target: Arc<TargetState>,
    permit: Permit,
    end: Option<(Outcome, Duration)>,
}

impl CallPermit {
    /// Tells how the attempt ended and how long it took.
    pub fn finish(mut self, outcome: Outcome, took: Duration) {
        self.end = Some((outcome, took));
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.target.ended(self.permit, self.end);
    }
}

/// The breaker's clock: the runtime's, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

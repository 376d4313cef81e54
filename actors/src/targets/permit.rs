//! The right to make one attempt, as an object that gives itself back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use beamline_domain::target::breaker::{CallEnd, Outcome, Permit, Settings};

/// A timeout that comes later than this after its time says that this process is late, and nothing
/// of the extension.
pub(crate) const LOCAL_LAG: Duration = Duration::from_millis(50);

/// Where permits come from and go back to.
pub trait Gate {
    /// Which of its breakers granted a permit.
    type Breaker: std::fmt::Debug;

    /// Takes a permit back, with what its attempt says about the extension.
    fn returned(&self, breaker: &Self::Breaker, permit: Permit, settings: &Settings, end: CallEnd);
}

/// A permit that goes back however the attempt ends, a panic or a cancelled task included.
#[derive(Debug)]
pub struct Held<G: Gate> {
    gate: Arc<G>,
    breaker: G::Breaker,
    permit: Permit,
    settings: Settings,
    since: Instant,
    end: Option<CallEnd>,
}

impl<G: Gate> Held<G> {
    /// Holds a permit that a breaker of `gate` granted at `since`.
    pub fn new(
        gate: Arc<G>,
        breaker: G::Breaker,
        permit: Permit,
        settings: Settings,
        since: Instant,
    ) -> Self {
        Self {
            gate,
            breaker,
            permit,
            settings,
            since,
            end: None,
        }
    }

    /// Tells how the attempt ended and how long it took.
    pub fn finish(self, outcome: Outcome, took: Duration) {
        self.finish_with(CallEnd::new(outcome, took));
    }

    /// The same, and what a failure was about.
    pub fn finish_with(mut self, end: CallEnd) {
        self.end = Some(end);
    }
}

impl<G: Gate> Drop for Held<G> {
    fn drop(&mut self) {
        let end = self.end.unwrap_or_else(|| {
            let took = now().saturating_duration_since(self.since);
            // Cut off, it tells nothing, unless it had all its time before. Much more than that
            // says that this process is late: it should have ended the attempt itself.
            let in_full = self.settings.timeout..=self.settings.timeout + LOCAL_LAG;
            let outcome = if in_full.contains(&took) {
                Outcome::Timeout
            } else {
                Outcome::Ignored
            };
            CallEnd::new(outcome, took)
        });
        self.gate
            .returned(&self.breaker, self.permit, &self.settings, end);
    }
}

/// The breaker's clock: the runtime's, so that tests can pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::Tenant;
    use beamline_domain::target::breaker::{Breaker, Mode};

    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<Outcome>>);

    impl Gate for Told {
        type Breaker = ();

        fn returned(&self, (): &(), _: Permit, _: &Settings, end: CallEnd) {
            self.0.lock().push(end.outcome);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_cut_off_tells_something_only_when_its_own_time_is_just_over() {
        let timeout = Duration::from_secs(1);
        let told = Arc::<Told>::default();
        let settings = Settings::new(Kind::Pre, timeout, &BreakerOverrides::default());
        let just_over = settings.timeout + LOCAL_LAG;
        for after in [
            settings.timeout / 2,
            settings.timeout,
            just_over,
            just_over + Duration::from_millis(1),
        ] {
            let permit = Breaker::default()
                .check(Tenant::NOBODY, Mode::Normal, &settings, now(), 0.5)
                .expect("it is closed");
            let held = Held::new(Arc::clone(&told), (), permit, settings, now());
            tokio::time::advance(after).await;
            drop(held);
        }
        assert_eq!(
            *told.0.lock(),
            [
                Outcome::Ignored,
                Outcome::Timeout,
                Outcome::Timeout,
                Outcome::Ignored
            ]
        );
    }
}

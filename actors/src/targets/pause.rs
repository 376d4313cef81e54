//! A wait that an extension asked for: it has too much to do, or somebody has used up what it
//! grants.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pause(Option<Instant>);

/// Nobody is left alone for longer than this, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(60);

impl Pause {
    /// The longest of several waits counts.
    pub(super) fn ask(&mut self, wait: Duration, now: Instant) {
        self.0 = self.0.max(Some(now + wait.min(LONGEST)));
    }

    pub(super) fn left(self, now: Instant) -> Option<Duration> {
        self.0
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }
}

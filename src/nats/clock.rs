//! The time of day that deadlines of calls are written in.

use std::time::{Duration, Instant, SystemTime};

/// A wall clock that may be set at any moment. An extension drops what is past its deadline, so a deadline that is an hour
/// too early drops calls that somebody waits for; one that is too late only lets through a call that nobody does.
#[derive(Debug)]
pub(super) struct WallClock {
    begun: Instant,
    begun_at: SystemTime,
}

impl WallClock {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), begun_at: SystemTime::now() }
    }

    /// Never behind the time that has passed since the start.
    pub(super) fn now(&self) -> SystemTime {
        self.at(SystemTime::now(), self.begun.elapsed())
    }

    fn at(&self, wall: SystemTime, elapsed: Duration) -> SystemTime {
        wall.max(self.begun_at + elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_follows_leaps_ahead_and_no_leap_back() {
        let noon = SystemTime::UNIX_EPOCH + 12 * HOUR;
        let clock = WallClock { begun: Instant::now(), begun_at: noon };
        let cases = [
            ("as it should be", noon + SECOND, SECOND, noon + SECOND),
            ("an hour ahead", noon + HOUR, SECOND, noon + HOUR),
            ("back where it was", noon + 2 * SECOND, 2 * SECOND, noon + 2 * SECOND),
            ("an hour back", noon - HOUR, 3 * SECOND, noon + 3 * SECOND),
            ("after a sleep that only the wall clock counts", noon + 9 * HOUR, 4 * SECOND, noon + 9 * HOUR),
        ];
        for (what, wall, elapsed, expected) in cases {
            assert_eq!(clock.at(wall, elapsed), expected, "{what}");
        }
    }
}

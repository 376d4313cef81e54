//! The time of day that deadlines of calls are written and read in.

use std::time::{Duration, Instant, SystemTime};

/// A wall clock that may be set at any moment. An extension drops what is past its deadline, so a
/// deadline that seems to be an hour ago drops calls that somebody waits for; one that seems to
/// come late only lets through a call that nobody does. So both sides err towards late.
#[derive(Debug)]
pub struct WallClock {
    begun: Instant,
    begun_at: SystemTime,
}

/// Clocks of two machines differ; only a deadline older than this is believed to have passed.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

impl WallClock {
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            begun_at: SystemTime::now(),
        }
    }

    /// To write deadlines by: never behind the time that has passed since the start.
    pub fn latest(&self) -> SystemTime {
        self.latest_of(SystemTime::now(), self.begun.elapsed())
    }

    /// To judge deadlines by: never ahead of the time that has passed since the start.
    pub fn earliest(&self) -> SystemTime {
        self.earliest_of(SystemTime::now(), self.begun.elapsed())
    }

    /// Whether a deadline (RFC 3339) has passed for certain. One that cannot be read has not.
    pub fn is_past(&self, deadline: &str) -> bool {
        let deadline = humantime::parse_rfc3339_weak(deadline);
        deadline.is_ok_and(|at| {
            self.earliest()
                .duration_since(at)
                .is_ok_and(|age| age > CLOCK_SKEW)
        })
    }

    fn latest_of(&self, wall: SystemTime, elapsed: Duration) -> SystemTime {
        wall.max(self.begun_at + elapsed)
    }

    fn earliest_of(&self, wall: SystemTime, elapsed: Duration) -> SystemTime {
        wall.min(self.begun_at + elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_has_passed_when_clocks_that_differ_a_little_agree_on_it() {
        let clock = WallClock::start();
        let at = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
        let now = SystemTime::now();
        assert!(clock.is_past(&at(now - 2 * SECOND)) && clock.is_past("2001-02-03T04:05:06Z"));
        assert!(!clock.is_past(&at(now)) && !clock.is_past(&at(now + HOUR)));
        assert!(
            ["", "tomorrow", "99999999999999", "\u{0}"]
                .iter()
                .all(|nonsense| !clock.is_past(nonsense))
        );
    }

    #[test]
    fn who_writes_follows_leaps_ahead_and_who_reads_leaps_back() {
        let noon = SystemTime::UNIX_EPOCH + 12 * HOUR;
        let clock = WallClock {
            begun: Instant::now(),
            begun_at: noon,
        };
        let cases = [
            (
                "as it should be",
                noon + SECOND,
                SECOND,
                noon + SECOND,
                noon + SECOND,
            ),
            (
                "an hour ahead",
                noon + HOUR,
                SECOND,
                noon + HOUR,
                noon + SECOND,
            ),
            (
                "back where it was",
                noon + 2 * SECOND,
                2 * SECOND,
                noon + 2 * SECOND,
                noon + 2 * SECOND,
            ),
            (
                "an hour back",
                noon - HOUR,
                3 * SECOND,
                noon + 3 * SECOND,
                noon - HOUR,
            ),
            (
                "after a sleep that only it counts",
                noon + 9 * HOUR,
                4 * SECOND,
                noon + 9 * HOUR,
                noon + 4 * SECOND,
            ),
        ];
        for (what, wall, elapsed, latest, earliest) in cases {
            assert_eq!(clock.latest_of(wall, elapsed), latest, "{what}");
            assert_eq!(clock.earliest_of(wall, elapsed), earliest, "{what}");
        }
    }
}

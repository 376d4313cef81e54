//! How much longer than usual a message takes through the bus and back. What waits to be read is a
//! queue of the router, too, and from inside it looks like an extension that takes long: only a
//! message to oneself tells them apart.

use std::time::Duration;

/// The last trips, and what they usually take.
#[derive(Debug, Default)]
pub struct TripTimes {
    /// In seconds; the shortest one, which is slowly forgotten.
    usual: Option<f64>,
    last: [f64; COUNTED],
}

/// The shortest of so many counts: one may have been held up by chance.
const COUNTED: usize = 3;
/// With fifty trips a second, what is usual doubles in about a minute at most. It follows a bus
/// that has become slower for good, and hardly moves in an overload.
const FORGET: f64 = 1.0002;

impl TripTimes {
    /// A message came back after this time. Answers what the trips have in excess of the usual.
    pub fn took(&mut self, time: Duration) -> Duration {
        let time = time.as_secs_f64();
        let usual = self.usual.map_or(time, |usual| (usual * FORGET).min(time));
        self.usual = Some(usual);
        self.last.rotate_left(1);
        if let Some(last) = self.last.last_mut() {
            *last = time;
        }
        let shortest = self.last.iter().copied().fold(f64::INFINITY, f64::min);
        Duration::try_from_secs_f64((shortest - usual).max(0.0)).unwrap_or_default()
    }

    /// Zero before the first.
    pub fn usual(&self) -> Duration {
        self.usual
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default()
    }

    /// It did not come back: that says that the bus is gone, and nothing of a queue.
    pub fn lost(&mut self) {
        self.last = [0.0; COUNTED];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn only_what_is_beyond_the_usual_and_no_chance_counts() {
        let mut trips = TripTimes::default();
        let mut excess = |times: [u64; 4]| times.map(|time| trips.took(ms(time)).as_millis());
        assert_eq!(
            excess([30, 30, 30, 30]),
            [0, 0, 0, 0],
            "a bus that is far away is not late"
        );
        assert_eq!(
            excess([90, 90, 30, 30]),
            [0, 0, 0, 0],
            "two in a row may be chance"
        );
        assert_eq!(excess([50, 60, 70, 80]), [0, 0, 19, 29]);
        assert!(
            (ms(30)..ms(31)).contains(&trips.usual()),
            "{:?}",
            trips.usual()
        );
        trips.lost();
        assert_eq!(trips.took(ms(500)), Duration::ZERO);
    }

    #[test]
    fn a_bus_that_stays_slow_becomes_the_usual() {
        let mut trips = TripTimes::default();
        trips.took(ms(10));
        let minute = (0..3_000)
            .map(|_| trips.took(ms(40)))
            .last()
            .expect("trips");
        assert!((ms(15)..ms(25)).contains(&minute), "{minute:?}");
        let later = (0..6_000)
            .map(|_| trips.took(ms(40)))
            .last()
            .expect("trips");
        assert_eq!(later, Duration::ZERO);
    }
}

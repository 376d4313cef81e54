//! How many calls ran at the same time lately and were served. One moment of each second stands for
//! it: the one at which the most calls were in flight.

use std::time::{Duration, Instant};

/// Seconds that are looked back on.
const SECONDS: u64 = 30;

#[derive(Debug, Clone)]
pub(super) struct Served {
    origin: Instant,
    moments: [Moment; SECONDS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    /// The second that it is of, counted from the origin, and when it was.
    second: u64,
    at: Duration,
    in_flight: u32,
    /// Of those in flight then, so many have been served by now.
    served: u32,
}

impl Served {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            moments: [Moment::default(); SECONDS as usize],
        }
    }

    /// So many calls are in flight, the one that comes now included.
    pub(super) fn in_flight(&mut self, calls: u32, now: Instant) {
        let at = now.saturating_duration_since(self.origin);
        if let Some(moment) = self.moment(at.as_secs())
            && calls > moment.in_flight
        {
            (moment.at, moment.in_flight, moment.served) = (at, calls, 0);
        }
    }

    /// A call was served that began then.
    pub(super) fn add(&mut self, began: Instant, now: Instant) {
        let began = began.saturating_duration_since(self.origin);
        let now = now.saturating_duration_since(self.origin);
        let oldest = (now.as_secs() + 1).saturating_sub(SECONDS);
        for second in began.as_secs().max(oldest)..=now.as_secs() {
            if let Some(moment) = self.moment(second)
                && began <= moment.at
                && moment.at < now
            {
                moment.served = moment.served.saturating_add(1);
            }
        }
    }

    /// The most that were served at the same time.
    pub(super) fn most(&self, now: Instant) -> u32 {
        let present = now.saturating_duration_since(self.origin).as_secs();
        let fresh = self
            .moments
            .iter()
            .filter(|moment| moment.second + SECONDS > present);
        fresh.map(|moment| moment.served).max().unwrap_or_default()
    }

    /// That of a second; until calls come in it, its beginning.
    fn moment(&mut self, second: u64) -> Option<&mut Moment> {
        let place = usize::try_from(second % SECONDS).ok()?;
        let moment = self.moments.get_mut(place)?;
        if moment.second != second {
            *moment = Moment {
                second,
                at: Duration::from_secs(second),
                ..Moment::default()
            };
        }
        Some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_at_the_same_time_counts_and_only_lately() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut served = Served::new(start);
        for call in 0..8 {
            served.in_flight(call + 1, at(1_100));
        }
        // Three were refused; five are served one after the other.
        (0..5).for_each(|call| served.add(at(1_100), at(1_200 + call)));
        assert_eq!(served.most(at(1_300)), 5);
        for call in 0..50 {
            let began = at(2_000 + call * 10);
            served.in_flight(1, began);
            served.add(began, began + Duration::from_millis(10));
        }
        assert_eq!(served.most(at(3_000)), 5, "one at a time adds nothing");
        assert_eq!(served.most(at(30_999)), 5);
        assert_eq!(served.most(at(31_000)), 1, "thirty seconds later");
    }

    #[test]
    fn calls_that_take_longer_than_what_is_looked_back_on_count() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut served = Served::new(start);
        served.in_flight(4, at(0));
        (0..4).for_each(|_| served.add(at(0), at(90)));
        assert_eq!(served.most(at(91)), 4);
    }
}

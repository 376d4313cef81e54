//! How many retries the traffic of the last ten seconds pays for. A retry helps against a fault
//! that passes; against one that lasts it only adds load, so there may never be many more retries
//! than a part of the attempts.
//!
//! The algorithm is Finagle's: attempts pay in, retries take out, and what was paid in or taken out
//! counts for ten seconds.

use std::fmt;
use std::time::{Duration, Instant};

/// What another attempt of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again<'a> {
    /// Another attempt at this extension.
    Retry(&'a str),
    /// This provider takes over from another, and fails as well lately. Its own budget is not
    /// asked.
    Fallback(&'a str),
    /// This provider takes over from another, and answers. That is no storm of retries: it costs
    /// nothing.
    Takeover(&'a str),
}

/// The budgets of a router, as who makes retries sees them.
pub trait RetryTokens: fmt::Debug + Send + Sync {
    /// Takes what another attempt costs from every budget that it concerns; false when one of them
    /// is empty.
    fn take(&self, again: Again<'_>) -> bool;
}

/// Grants everything: for a run that nobody pays for, such as a dry run.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

impl RetryTokens for Unlimited {
    fn take(&self, _: Again<'_>) -> bool {
        true
    }
}

/// How much a budget grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Retries in a hundred attempts.
    percent: u32,
    /// Retries a second that need no traffic to pay for them, for extensions that are seldom
    /// called.
    floor: u32,
}

impl Allowance {
    /// Of one extension.
    pub const EXTENSION: Self = Self {
        percent: 20,
        floor: 3,
    };
    /// Of the whole router.
    pub const ROUTER: Self = Self {
        percent: 10,
        floor: 10,
    };
}

/// Slots of one second each: as long as anything counts.
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);
/// A retry in the unit of account; an attempt pays in `percent` of these.
const RETRY: i64 = 100;

/// A budget of retries.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    allowance: Allowance,
    /// Paid in less taken out, by second.
    slots: [i64; SLOTS],
    present: usize,
    present_since: Instant,
}

impl RetryBudget {
    pub fn new(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            slots: [0; SLOTS],
            present: 0,
            present_since: now,
        }
    }

    /// An attempt was made that is no retry.
    pub fn attempted(&mut self, now: Instant) {
        self.add(i64::from(self.allowance.percent), now);
    }

    /// Takes a retry out; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.advance(now);
        let floor = i64::from(self.allowance.floor) * SLOTS as i64 * RETRY;
        let granted = floor + self.slots.iter().sum::<i64>() >= RETRY;
        if granted {
            self.add(-RETRY, now);
        }
        granted
    }

    /// A retry that was taken and is not made after all.
    pub fn give_back(&mut self, now: Instant) {
        self.add(RETRY, now);
    }

    fn add(&mut self, amount: i64, now: Instant) {
        self.advance(now);
        if let Some(slot) = self.slots.get_mut(self.present) {
            *slot = slot.saturating_add(amount);
        }
    }

    /// Forgets what is too old. A clock that is read before another thread's and used after it
    /// stands still.
    fn advance(&mut self, now: Instant) {
        let past = now.saturating_duration_since(self.present_since);
        if past < SLOT {
            return;
        }
        let whole = Duration::from_secs(past.as_secs());
        self.present_since += whole;
        for _ in 0..past.as_secs().min(SLOTS as u64) {
            self.present = (self.present + 1) % SLOTS;
            if let Some(slot) = self.slots.get_mut(self.present) {
                *slot = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(budget: &mut RetryBudget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn without_traffic_the_floor_is_granted_and_comes_back_after_ten_seconds() {
        let start = Instant::now();
        for (allowance, floor) in [(Allowance::EXTENSION, 30), (Allowance::ROUTER, 100)] {
            let mut budget = RetryBudget::new(allowance, start);
            assert_eq!(taken(&mut budget, start), floor);
            assert_eq!(taken(&mut budget, start + Duration::from_millis(9_999)), 0);
            assert_eq!(taken(&mut budget, start + Duration::from_secs(10)), floor);
            assert_eq!(
                taken(&mut budget, start + Duration::from_secs(86_400)),
                floor,
                "no more after a long pause"
            );
        }
    }

    #[test]
    fn attempts_pay_for_their_part_of_retries_and_are_forgotten() {
        let start = Instant::now();
        for (allowance, retries) in [
            (Allowance::EXTENSION, 30 + 200),
            (Allowance::ROUTER, 100 + 100),
        ] {
            let mut budget = RetryBudget::new(allowance, start);
            (0..1000).for_each(|_| budget.attempted(start));
            let mut later = budget.clone();
            assert_eq!(taken(&mut budget, start + Duration::from_secs(9)), retries);
            let floor = usize::try_from(allowance.floor).unwrap() * 10;
            assert_eq!(taken(&mut later, start + Duration::from_secs(10)), floor);
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(Allowance::EXTENSION, now);
        assert_eq!(taken(&mut budget, now), 30);
        budget.give_back(now);
        assert_eq!(taken(&mut budget, now), 1);
    }

    #[test]
    fn a_clock_that_is_read_a_little_late_does_no_harm() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(Allowance::EXTENSION, start + Duration::from_secs(5));
        budget.attempted(start);
        assert!(budget.take(start));
        assert_eq!(taken(&mut budget, start + Duration::from_secs(5)), 29);
    }

    proptest! {
        /// Whatever comes in whatever order: of the last ten slots, no more retries than the
        /// attempts there pay for.
        #[test]
        fn retries_never_exceed_what_a_naive_count_allows(
            steps in prop::collection::vec((0u64..3_000, any::<bool>()), 0..400), router in any::<bool>(),
        ) {
            let allowance = if router { Allowance::ROUTER } else { Allowance::EXTENSION };
            let start = Instant::now();
            let mut budget = RetryBudget::new(allowance, start);
            let mut elapsed = Duration::ZERO;
            let mut log: Vec<(u64, bool)> = Vec::new();
            for (pause, attempt) in steps {
                elapsed += Duration::from_millis(pause / 10);
                let now = start + elapsed;
                let second = elapsed.as_secs();
                let counted = |wanted| log.iter().filter(|(at, kind)| second - at < 10 && *kind == wanted).count() as u64;
                let room = u64::from(allowance.floor) * 1_000 + counted(true) * u64::from(allowance.percent);
                let want = (counted(false) + 1) * 100 <= room;
                if attempt {
                    budget.attempted(now);
                    log.push((second, true));
                } else {
                    let granted = budget.take(now);
                    prop_assert_eq!(granted, want);
                    if granted {
                        log.push((second, false));
                    }
                }
            }
        }
    }
}

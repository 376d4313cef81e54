//! Wrong keys: counted, told once a minute, and answered later and later. A right key is never kept
//! waiting for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Tries that cost no time: a typing mistake, an old file.
const FREE: f64 = 5.0;
/// One of them is forgotten in this time.
const FORGOTTEN_IN: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Answers that are kept back at a time; more tell that there are too many.
const KEPT_BACK: usize = 256;

#[derive(Debug)]
pub(super) struct WrongKeys {
    count: Counter,
    /// By the id of a key that exists; all others are one.
    tallies: Mutex<HashMap<Option<String>, Tally>>,
    places: Arc<Semaphore>,
}

/// How an answer to a wrong key is kept back.
#[derive(Debug)]
pub(super) struct Slowed {
    pub(super) wait: Duration,
    /// `None`: too many are kept back already.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Tally {
    level: f64,
    at: Instant,
    told_at: Option<Instant>,
    untold: u64,
}

impl WrongKeys {
    pub(super) fn new(count: Counter) -> Self {
        Self {
            count,
            tallies: Mutex::default(),
            places: Arc::new(Semaphore::new(KEPT_BACK)),
        }
    }

    /// Notes a wrong try; `None`: it is answered at once.
    pub(super) fn note(&self, key_id: Option<&str>, now: Instant) -> Option<Slowed> {
        self.count.inc();
        let told;
        let wait;
        {
            let mut tallies = self.tallies.lock();
            let tally = tallies
                .entry(key_id.map(str::to_owned))
                .or_insert_with(|| Tally::new(now));
            wait = tally.wait_of_next(now);
            told = tally.told(now);
        }
        if let Some(tries) = told {
            let key_id = key_id.unwrap_or("none");
            tracing::warn!(key_id, tries, "wrong keys were used in the administration");
        }
        if wait.is_zero() {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        Some(Slowed { wait, place })
    }
}

impl Tally {
    fn new(now: Instant) -> Self {
        Self {
            level: 0.0,
            at: now,
            told_at: None,
            untold: 0,
        }
    }

    fn wait_of_next(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        let forgotten = passed.as_secs_f64() / FORGOTTEN_IN.as_secs_f64();
        // It does not rise for ever: the longest wait is reached long before.
        self.level = ((self.level - forgotten).max(0.0) + 1.0).min(FREE * 4.0);
        self.at = now;
        let beyond = self.level - FREE;
        if beyond <= 0.0 {
            return Duration::ZERO;
        }
        FIRST_WAIT
            .mul_f64(2.0_f64.powf(beyond - 1.0))
            .min(LONGEST_WAIT)
    }

    /// How many there were since the last line of the log, once a minute.
    fn told(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let is_due = self
            .told_at
            .is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
        if !is_due {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(keys: &WrongKeys, id: Option<&str>, tries: usize, now: Instant) -> Vec<u128> {
        let tries = (0..tries).map(|_| keys.note(id, now));
        let waits = tries.map(|slowed| slowed.map_or(Duration::ZERO, |slowed| slowed.wait));
        waits.map(|wait| wait.as_millis()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_is_slowed_by_its_own_wrong_tries_only() {
        let keys = WrongKeys::new(Counter::default());
        let now = Instant::now();
        assert_eq!(
            waits(&keys, Some("a"), 8, now),
            [0, 0, 0, 0, 0, 250, 500, 1_000]
        );
        assert_eq!(waits(&keys, Some("b"), 1, now), [0]);
        assert_eq!(waits(&keys, None, 1, now), [0]);
        assert_eq!(waits(&keys, Some("a"), 40, now).last(), Some(&5_000));
        let later = now + FORGOTTEN_IN * 30;
        assert_eq!(waits(&keys, Some("a"), 1, later), [0], "forgotten");
        assert_eq!(keys.count.get(), 51);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_kept_back() {
        let keys = WrongKeys::new(Counter::default());
        let now = Instant::now();
        let kept: Vec<Slowed> = (0..KEPT_BACK + 20)
            .filter_map(|_| keys.note(None, now))
            .collect();
        let with_place = kept.iter().filter(|slowed| slowed.place.is_some());
        assert_eq!(with_place.count(), KEPT_BACK);
        drop(kept);
        assert!(
            keys.note(None, now)
                .is_some_and(|slowed| slowed.place.is_some())
        );
    }

    #[test]
    fn the_log_hears_of_many_in_one_line() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let told: Vec<_> = (0..100).map(|_| tally.told(start)).collect();
        assert_eq!(told.iter().flatten().collect::<Vec<_>>(), [&1]);
        assert_eq!(tally.told(start + TOLD_EVERY), Some(100));
    }
}

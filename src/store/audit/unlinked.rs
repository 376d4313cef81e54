//! Rows that the chain does not have yet: those that this replica has written, and those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A row that nobody vouches for in this time is nobody's.
const VOUCHED_WITHIN: Duration = Duration::from_secs(60);

/// The rows that this process has written and that the chain does not have yet.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Vouched(Arc<Mutex<BTreeSet<i64>>>);

impl Vouched {
    /// Of a row that everybody can see by now.
    pub(in crate::store) fn add(&self, row_id: i64) {
        self.0.lock().insert(row_id);
    }

    pub(super) fn all(&self) -> Vec<i64> {
        self.0.lock().iter().copied().collect()
    }

    /// They are in the chain, whoever put them there, or were never written.
    pub(super) fn settled(&self, row_ids: &[i64]) {
        let mut vouched = self.0.lock();
        for row_id in row_ids {
            vouched.remove(row_id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// Rows of others, and since when this replica has seen that the chain does not have them. No clock
/// but its own counts: neither what a row says, nor the time of another machine.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    seen: BTreeMap<i64, Instant>,
}

impl Strangers {
    /// Of all `unlinked` rows of others, those for which nobody has vouched in time.
    pub(super) fn of_nobody(&mut self, unlinked: &[i64], now: Instant) -> Vec<i64> {
        let still: BTreeSet<i64> = unlinked.iter().copied().collect();
        self.seen.retain(|id, _| still.contains(id));
        for id in still {
            self.seen.entry(id).or_insert(now);
        }
        let is_late = |since: &Instant| now.saturating_duration_since(*since) > VOUCHED_WITHIN;
        let late = self.seen.iter().filter(|(_, since)| is_late(since));
        late.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_nobodys_when_it_was_seen_for_long() {
        let mut strangers = Strangers::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(strangers.of_nobody(&[7, 8], at(0)).is_empty());
        assert!(strangers.of_nobody(&[8, 9], at(60)).is_empty());
        assert_eq!(strangers.of_nobody(&[7, 8, 9], at(61)), [8]);
        assert_eq!(strangers.of_nobody(&[7, 9], at(121)), [9], "7 was away");
        assert!(strangers.of_nobody(&[], at(200)).is_empty());
        assert!(strangers.seen.is_empty());
    }
}

//! Who was called when a connection broke. Once may be chance; twice is worth a connection of its
//! own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Subjects that were called when connections broke.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    seen: HashMap<Arc<str>, Seen>,
}

#[derive(Debug)]
struct Seen {
    breaks: u32,
    last: Instant,
}

/// Breaks at which a subject was called before it is set apart.
const BREAKS: u32 = 2;
/// After so long without a break nothing is held against it any more.
pub(super) const FORGIVEN: Duration = Duration::from_secs(600);
/// More subjects than are called at once.
const REMEMBERED: usize = 10_000;

impl Suspects {
    /// Takes what was called at each of several breaks, numbered, and answers which are to be set
    /// apart now.
    pub(super) fn were_called(
        &mut self,
        at_breaks: Vec<(u64, Arc<str>)>,
        now: Instant,
    ) -> Vec<Arc<str>> {
        self.seen
            .retain(|_, seen| now.duration_since(seen.last) < FORGIVEN);
        let distinct: BTreeSet<(u64, Arc<str>)> = at_breaks.into_iter().collect();
        let mut apart = Vec::new();
        for (_, subject) in distinct {
            if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&subject) {
                continue;
            }
            let seen = self.seen.entry(Arc::clone(&subject)).or_insert(Seen {
                breaks: 0,
                last: now,
            });
            seen.breaks += 1;
            seen.last = now;
            if seen.breaks == BREAKS {
                apart.push(subject);
            }
        }
        apart
    }

    /// Nothing is held against it any more.
    pub(super) fn forgive(&mut self, subject: &str) {
        self.seen.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(breaks: &[(u64, &str)]) -> Vec<(u64, Arc<str>)> {
        let owned = breaks
            .iter()
            .map(|(number, subject)| (*number, (*subject).into()));
        owned.collect()
    }

    #[test]
    fn twice_is_once_too_often() {
        let now = Instant::now();
        let mut suspects = Suspects::default();
        // Many calls of one subject at one break are one.
        let first = called(&[(1, "a"), (1, "b"), (1, "a"), (1, "a")]);
        assert!(suspects.were_called(first, now).is_empty());
        let apart = suspects.were_called(called(&[(2, "a")]), now);
        assert_eq!(apart, [Arc::from("a")]);
        assert!(
            suspects.were_called(called(&[(3, "a")]), now).is_empty(),
            "it is apart"
        );
        let both = suspects.were_called(called(&[(4, "c"), (5, "c")]), now);
        assert_eq!(both, [Arc::from("c")]);
    }

    #[test]
    fn chance_is_forgotten_after_a_while() {
        let start = Instant::now();
        let mut suspects = Suspects::default();
        for number in 0..10 {
            let now = start + FORGIVEN * number;
            let once = called(&[(u64::from(number), "a")]);
            assert!(suspects.were_called(once, now).is_empty(), "{number}");
        }
        suspects.forgive("a");
        let now = start + FORGIVEN * 9;
        assert!(suspects.were_called(called(&[(20, "a")]), now).is_empty());
    }

    #[test]
    fn they_do_not_pile_up() {
        let mut suspects = Suspects::default();
        let many = (0..3 * REMEMBERED).map(|number| (1, number.to_string().into()));
        suspects.were_called(many.collect(), Instant::now());
        assert_eq!(suspects.seen.len(), REMEMBERED);
    }
}

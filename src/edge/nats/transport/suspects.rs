//! Who was called when a connection broke. Once may be chance; twice is worth a connection of its
//! own.

use std::collections::HashMap;
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
    /// Takes what was called before one break, and answers which of it is not to be called there
    /// again.
    pub(super) fn were_called(&mut self, called: Vec<Arc<str>>, now: Instant) -> Vec<Arc<str>> {
        self.seen
            .retain(|_, seen| now.duration_since(seen.last) < FORGIVEN);
        let mut apart = Vec::new();
        for subject in called {
            if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&subject) {
                continue;
            }
            let seen = self.seen.entry(Arc::clone(&subject)).or_insert(Seen {
                breaks: 0,
                last: now,
            });
            seen.breaks += 1;
            seen.last = now;
            if seen.breaks >= BREAKS {
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

    fn called(subjects: &[&str]) -> Vec<Arc<str>> {
        subjects.iter().map(|subject| (*subject).into()).collect()
    }

    #[test]
    fn twice_is_once_too_often() {
        let now = Instant::now();
        let mut suspects = Suspects::default();
        assert!(suspects.were_called(called(&["a", "b"]), now).is_empty());
        let apart = suspects.were_called(called(&["a", "c"]), now);
        assert_eq!(apart, [Arc::from("a")]);
        let again = suspects.were_called(called(&["a"]), now);
        assert_eq!(again, [Arc::from("a")], "nobody has set it apart yet");
    }

    #[test]
    fn chance_is_forgotten_after_a_while() {
        let start = Instant::now();
        let mut suspects = Suspects::default();
        for number in 0..10 {
            let now = start + FORGIVEN * number;
            assert!(
                suspects.were_called(called(&["a"]), now).is_empty(),
                "{number}"
            );
        }
        suspects.forgive("a");
        let now = start + FORGIVEN * 9;
        assert!(suspects.were_called(called(&["a"]), now).is_empty());
    }

    #[test]
    fn they_do_not_pile_up() {
        let mut suspects = Suspects::default();
        let many = (0..3 * REMEMBERED).map(|number| number.to_string().into());
        suspects.were_called(many.collect(), Instant::now());
        assert_eq!(suspects.seen.len(), REMEMBERED);
    }
}

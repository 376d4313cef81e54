//! Failed calls in the log: the first of a kind at once, those like it later as one line with their
//! number.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A reason fills at most one line for each tenant in this time.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(5);
/// A reason fills at most one line in this time, however many tenants it meets: what extensions
/// answer must not fill a disk.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// With more reasons and tenants than this, the tenants are not told apart.
const MOST_KINDS: usize = 64;

/// Why a call failed, and whose it was.
type FailureOf = (&'static str, Arc<str>);

/// What was told of the failures of one extension, and what was not.
#[derive(Debug, Default)]
pub(super) struct Failures {
    kinds: HashMap<FailureOf, Told>,
    /// When a reason filled its last line.
    lines: HashMap<&'static str, Instant>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    more: u64,
}

/// Failures that nobody was told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Untold {
    pub(super) reason: &'static str,
    /// Whose they were, where it was one tenant.
    pub(super) tenant_id: Option<Arc<str>>,
    pub(super) tenants: usize,
    pub(super) more: u64,
}

impl Failures {
    /// Whether to tell of this one, with the number of those like it since the last line. Otherwise
    /// it is counted for the next.
    pub(super) fn add(
        &mut self,
        reason: &'static str,
        tenant_id: &Arc<str>,
        now: Instant,
    ) -> Option<u64> {
        let kind = self.kind(reason, tenant_id);
        let has_room = self.has_room(reason, now);
        let told = self.kinds.get(&kind);
        let is_news = told.is_none_or(|told| now.duration_since(told.at) >= TELL_EVERY);
        let told = self.kinds.entry(kind).or_insert(Told { at: now, more: 0 });
        if !is_news || !has_room {
            told.more += 1;
            return None;
        }
        told.at = now;
        let more = std::mem::take(&mut told.more);
        self.lines.insert(reason, now);
        Some(more)
    }

    /// What is to be told although nothing like it failed again, in one line for each reason; what
    /// is over is forgotten.
    pub(super) fn untold(&mut self, now: Instant) -> Vec<Untold> {
        let is_due = |told: &Told| now.duration_since(told.at) >= TELL_EVERY;
        self.kinds.retain(|_, told| told.more > 0 || !is_due(told));
        let mut untold: Vec<Untold> = Vec::new();
        for ((reason, tenant_id), told) in &mut self.kinds {
            let has_room = has_room(&self.lines, reason, now);
            if told.more == 0 || !is_due(told) || !has_room {
                continue;
            }
            told.at = now;
            let more = std::mem::take(&mut told.more);
            match untold.iter_mut().find(|before| before.reason == *reason) {
                Some(before) => {
                    before.tenant_id = None;
                    before.tenants += 1;
                    before.more += more;
                }
                None => untold.push(Untold {
                    reason,
                    tenant_id: Some(Arc::clone(tenant_id)),
                    tenants: 1,
                    more,
                }),
            }
        }
        self.lines
            .extend(untold.iter().map(|untold| (untold.reason, now)));
        untold
    }

    /// Whether something is left to tell, or to forget.
    pub(super) fn is_waiting(&self) -> bool {
        !self.kinds.is_empty()
    }

    fn has_room(&self, reason: &str, now: Instant) -> bool {
        has_room(&self.lines, reason, now)
    }

    fn kind(&self, reason: &'static str, tenant_id: &Arc<str>) -> FailureOf {
        let kind = (reason, Arc::clone(tenant_id));
        if self.kinds.len() < MOST_KINDS || self.kinds.contains_key(&kind) {
            return kind;
        }
        (reason, Arc::from(""))
    }
}

fn has_room(lines: &HashMap<&'static str, Instant>, reason: &str, now: Instant) -> bool {
    let last = lines.get(reason);
    last.is_none_or(|last| now.duration_since(*last) >= LINE_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_one_line_with_a_count() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let acme: Arc<str> = "acme".into();
        assert_eq!(failures.add("timeout", &acme, start), Some(0));
        for _ in 0..100 {
            assert_eq!(failures.add("timeout", &acme, start), None);
        }
        assert_eq!(failures.add("5xx", &acme, start), Some(0), "another reason");
        let soon = start + LINE_EVERY;
        assert_eq!(
            failures.add("timeout", &"globex".into(), soon),
            Some(0),
            "another tenant"
        );
        let later = start + TELL_EVERY;
        assert_eq!(failures.add("timeout", &acme, later), Some(100));
    }

    #[test]
    fn the_count_is_told_also_when_it_stops_and_then_all_is_forgotten() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let acme: Arc<str> = "acme".into();
        failures.add("timeout", &acme, start);
        failures.add("timeout", &acme, start);
        assert_eq!(failures.untold(start), []);
        let untold = Untold {
            reason: "timeout",
            tenant_id: Some(acme),
            tenants: 1,
            more: 1,
        };
        assert_eq!(failures.untold(start + TELL_EVERY), [untold]);
        assert_eq!(failures.untold(start + TELL_EVERY * 2), []);
        assert!(!failures.is_waiting());
    }

    #[test]
    fn very_many_tenants_cost_no_memory_and_one_line() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let told = (0..10_000)
            .filter_map(|tenant: u32| failures.add("timeout", &tenant.to_string().into(), now))
            .count();
        assert_eq!(told, 1);
        assert!(failures.kinds.len() <= MOST_KINDS + 1);
        let untold = failures.untold(now + TELL_EVERY);
        assert_eq!(untold.len(), 1);
        assert_eq!((untold[0].more, &untold[0].tenant_id), (9_999, &None));
        assert_eq!(untold[0].tenants, MOST_KINDS);
    }
}

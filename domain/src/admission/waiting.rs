//! Those of one tenant who wait for a place. A short queue is served in order. One that stands is
//! served from its new end, and its old end is let go: whoever has waited long is the least likely
//! to be served in time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Priority;

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) item: T,
    pub(super) priority: Priority,
    pub(super) bytes: usize,
    pub(super) since: Instant,
    /// Waiting longer than this is of no use.
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The oldest first.
    waiting: VecDeque<Waiting<T>>,
    standing: Standing,
}

/// Whether the queue is a burst or stands. CoDel's rule: it stands when, for a whole interval,
/// nobody was served before the oldest had waited longer than the target. Serving the last one ends
/// it.
#[derive(Debug, Default)]
struct Standing {
    interval_ends: Option<Instant>,
    shortest: Option<Duration>,
    stands: bool,
}

/// CoDel's values for queues of servers, as in folly and wangle.
const TARGET: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_millis(100);
/// A standing queue is cut off here.
const STANDING_WAIT: Duration = Duration::from_millis(10);

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_standing(&self) -> bool {
        self.standing.stands
    }

    /// Whether, being full, it lets its oldest go for a newcomer instead of turning the newcomer
    /// away: a burst is kept in its order, but who has waited beyond the target is worth less than
    /// who has just come.
    pub(super) fn gives_way(&self, now: Instant) -> bool {
        let oldest = self.waiting.front();
        self.standing.stands
            || oldest.is_some_and(|oldest| now.saturating_duration_since(oldest.since) > TARGET)
    }

    pub(super) fn push(&mut self, waiting: Waiting<T>) {
        // Emptied by letting go, it has not recovered yet.
        if self.waiting.is_empty()
            && self
                .standing
                .interval_ends
                .is_none_or(|end| end <= waiting.since)
        {
            self.standing = Standing::from(waiting.since);
        }
        self.waiting.push_back(waiting);
    }

    /// Whose turn it is.
    pub(super) fn take_next(&mut self, now: Instant) -> Option<Waiting<T>> {
        let oldest = self.waiting.front()?.since;
        self.standing
            .observe(now.saturating_duration_since(oldest), now);
        let next = if self.standing.stands {
            self.waiting.pop_back()
        } else {
            self.waiting.pop_front()
        };
        if self.waiting.is_empty() {
            self.standing = Standing::default();
        }
        next
    }

    pub(super) fn take_oldest(&mut self) -> Option<Waiting<T>> {
        self.waiting.pop_front()
    }

    pub(super) fn has_late(&self, now: Instant) -> bool {
        self.waiting
            .iter()
            .any(|waiting| self.late_at(waiting) <= now)
    }

    pub(super) fn take_late(&mut self, now: Instant) -> Option<Waiting<T>> {
        let at = self
            .waiting
            .iter()
            .position(|waiting| self.late_at(waiting) <= now)?;
        self.waiting.remove(at)
    }

    /// When the next of them will have waited long enough.
    pub(super) fn next_late(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .map(|waiting| self.late_at(waiting))
            .min()
    }

    fn late_at(&self, waiting: &Waiting<T>) -> Instant {
        if self.standing.stands {
            waiting.until.min(waiting.since + STANDING_WAIT)
        } else {
            waiting.until
        }
    }
}

impl Standing {
    fn from(now: Instant) -> Self {
        Self {
            interval_ends: Some(now + INTERVAL),
            ..Self::default()
        }
    }

    fn observe(&mut self, wait: Duration, now: Instant) {
        self.shortest = Some(self.shortest.map_or(wait, |known| known.min(wait)));
        if self.interval_ends.is_some_and(|end| now >= end) {
            self.stands = self.shortest.is_some_and(|shortest| shortest > TARGET);
            self.shortest = None;
            self.interval_ends = Some(now + INTERVAL);
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            standing: Standing::default(),
        }
    }
}

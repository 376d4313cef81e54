//! The limit of requests in flight, as far as it follows the router itself.
//!
//! What is watched is how long work waits for the router: a message in the mailbox of its pipeline,
//! a task before it runs, an answer that nobody has read yet. That time knows nothing of slow
//! providers and large requests; it grows only when there is more work than threads do. Requests
//! that wait for somebody else cost no thread, so they are not limited here: held are those at
//! work.

use std::time::{Duration, Instant};

/// What was done since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkDone {
    /// Time that work waited for a thread, of all hops together.
    pub waited: Duration,
    /// How many times work was ready to go on.
    pub hops: u64,
    /// How many times somebody else was asked over the bus.
    pub trips: u64,
    /// What each trip took longer than usual.
    pub trip_excess: Duration,
}

/// What was done, and where the requests are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observed {
    pub work: WorkDone,
    /// Requests in flight that are at work, or wait for a thread.
    pub inside: usize,
    /// Requests in flight that wait for somebody else.
    pub outside: usize,
    /// Somebody found all places taken.
    pub bound: bool,
}

/// Open up to the ceiling until work is late, then held to what the threads do in time.
#[derive(Debug)]
pub struct AdaptiveLimit {
    ceiling: usize,
    /// Requests that may be at work; `None`: as many as come.
    held: Option<f64>,
    /// Requests outside, smoothed.
    outside: f64,
    /// The first of the looks in a row that found work late.
    late_since: Option<Instant>,
    last_look: Option<Instant>,
    last_bound: Option<Instant>,
}

/// A hop that waits longer than this on average is late. A thread does a hop of ordinary size in 10
/// to 50 µs, so this is a queue of dozens of them.
const TARGET: Duration = Duration::from_millis(1);
/// Late for so long is more than a burst that is soon worked off, or a processor that somebody else
/// had for a moment. CoDel's interval.
const LATE_FOR: Duration = Duration::from_millis(100);
/// So many may be at work whatever is measured: where a step takes 20 µs they take milliseconds,
/// and on a machine that is slow or busy a few dozen clients are served late rather than refused.
const LEAST: f64 = 64.0;
/// The same for a process that is short of memory or threads.
const LEAST_IN_NEED: f64 = 8.0;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Fewer hops than this are waited for longer, but not for ever.
const LEAST_HOPS: u64 = 50;
const LONGEST_LOOK: Duration = Duration::from_millis(100);
/// The most that one look takes away or adds.
const SHRINK: f64 = 0.7;
const GROW: f64 = 1.05;
/// Nobody has wanted for a place for so long: what was learnt of the load says nothing of the next
/// one.
const CALM: Duration = Duration::from_secs(1);

impl AdaptiveLimit {
    pub fn new(ceiling: usize) -> Self {
        Self {
            ceiling,
            held: None,
            outside: 0.0,
            late_since: None,
            last_look: None,
            last_bound: None,
        }
    }

    pub fn limit(&self) -> usize {
        let Some(inside) = self.held else {
            return self.ceiling;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and saturates"
        )]
        let limit = (self.outside + inside).round() as usize;
        limit.min(self.ceiling)
    }

    /// Whether a look would say something.
    pub fn is_due(&self, hops: u64, now: Instant) -> bool {
        self.last_look.is_none_or(|last| {
            let since = now.saturating_duration_since(last);
            since >= LONGEST_LOOK || (since >= LOOK_EVERY && hops >= LEAST_HOPS)
        })
    }

    /// The process is short of something whatever is seen here: half of those at work may be.
    pub fn halve(&mut self, inside: usize, outside: usize, now: Instant) {
        let half = (count(inside) / 2.0).max(LEAST_IN_NEED);
        self.held = Some(self.held.map_or(half, |held| held.min(half)));
        self.outside = count(outside);
        self.last_bound = Some(now);
    }

    pub fn observe(&mut self, seen: &Observed, now: Instant) {
        let since = self
            .last_look
            .replace(now)
            .map_or(LOOK_EVERY, |last| now.saturating_duration_since(last));
        let on_bus = seen.on_bus(since);
        let inside = count(seen.inside) + on_bus;
        let outside = count(seen.outside) - on_bus;
        if seen.bound {
            self.last_bound = Some(now);
        }
        self.outside = if self.held.is_some() {
            (self.outside + outside) / 2.0
        } else {
            outside
        };
        let wait = seen.work.mean_wait();
        let room = TARGET.as_secs_f64() / wait.max(f64::MIN_POSITIVE);
        let late = room < 1.0 && inside > LEAST;
        self.late_since = late.then(|| self.late_since.unwrap_or(now));
        let stands = self
            .late_since
            .is_some_and(|since| now.saturating_duration_since(since) >= LATE_FOR);
        self.held = match self.held {
            // By Little's law, with so many at work the same throughput would be had in time.
            None if stands => Some((inside * room).max(LEAST)),
            None => None,
            Some(_)
                if self
                    .last_bound
                    .is_none_or(|last| now.saturating_duration_since(last) >= CALM) =>
            {
                None
            }
            Some(held) if late => Some((held * room.max(SHRINK)).max(LEAST.min(held))),
            Some(held) if seen.bound && room > 2.0 => Some((held * GROW).min(count(self.ceiling))),
            Some(held) => Some(held),
        };
    }
}

impl WorkDone {
    /// Of a hop, in seconds. A trip is one, too.
    fn mean_wait(&self) -> f64 {
        let on_bus = self.trip_excess.as_secs_f64() * self.trips as f64;
        (self.waited.as_secs_f64() + on_bus) / (self.hops + self.trips).max(1) as f64
    }
}

impl Observed {
    /// Of those outside, how many are only waiting to be sent or read, by Little's law.
    fn on_bus(&self, since: Duration) -> f64 {
        let per_second = self.work.trips as f64 / since.as_secs_f64().max(f64::MIN_POSITIVE);
        (per_second * self.work.trip_excess.as_secs_f64()).min(count(self.outside))
    }
}

fn count(requests: usize) -> f64 {
    requests as f64
}

#[cfg(test)]
mod tests;

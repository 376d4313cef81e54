//! How many calls of one extension may run at a time, learned from how they end: additive increase,
//! multiplicative decrease, as TCP does it.
//!
//! It starts at its ceiling, because nothing is known against that, and shrinks on evidence alone.
//! Evidence grows old: the longer nothing speaks of overload, the faster the limit comes back.

use std::time::{Duration, Instant};

mod served;

use served::Served;

/// What the end of a call says about the load that its extension bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// It answered, whatever it said.
    Carried,
    /// It said that it has too much to do, or that somebody has used up what it grants in a time.
    Refused,
    /// It did not answer at all.
    Overloaded,
    /// Nothing: the call was not made, or its end was nobody's but the router's, the bus's or the
    /// caller's.
    Unknown,
}

/// The limit of one extension.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    ceiling: u32,
    limit: u32,
    /// What the next window without a sign of overload adds.
    step: u32,
    shrunk_at: Option<Instant>,
    /// How the calls begun since then have ended; what is older counts less.
    tally: Tally,
    window: Window,
    served: Served,
}

/// How often the limit may grow.
const WINDOW: Duration = Duration::from_secs(1);
/// Where an answer comes back at once, the limit shrinks no more often than this.
const SHRINK_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// After so long without a sign of overload, a limit grows that nobody comes near to: what it was
/// based on is over.
const QUIET: Duration = Duration::from_secs(10);
/// One in so many calls is chance, as BBR has it for lost packets, and no overload. Without this, a
/// busy extension that loses one call a second would shrink every second.
const CHANCE: f64 = 50.0;
/// What a window leaves of the weight of those before: about ten count.
const FADING: f64 = 0.9;
/// Without anybody coming, so many windows bring every limit to its ceiling.
const LONGEST_PAUSE: u32 = 200;

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    most_in_use: u32,
    shrunk: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    ended: f64,
    overloaded: f64,
}

impl ConcurrencyLimit {
    /// At its ceiling, which is at least 1.
    pub fn new(ceiling: u32, now: Instant) -> Self {
        let ceiling = ceiling.max(1);
        let window = Window::new(now);
        let tally = Tally::default();
        Self {
            ceiling,
            limit: ceiling,
            step: 1,
            shrunk_at: None,
            tally,
            window,
            served: Served::new(now),
        }
    }

    /// Calls that may run now.
    pub fn get(&self) -> u32 {
        self.limit
    }

    pub fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// A limit that nothing has shrunk goes with its ceiling; one that was shrunk stays where it is
    /// as far as it may.
    pub fn set_ceiling(&mut self, ceiling: u32, now: Instant) {
        self.advance(now);
        let ceiling = ceiling.max(1);
        let unshrunk = self.limit == self.ceiling;
        self.limit = if unshrunk {
            ceiling
        } else {
            self.limit.min(ceiling)
        };
        self.ceiling = ceiling;
    }

    /// An operator knows better: back to its ceiling. What was called before says nothing any more.
    pub fn reset(&mut self, now: Instant) {
        *self = Self {
            shrunk_at: Some(now),
            ..Self::new(self.ceiling, now)
        };
    }

    /// Somebody wants to make a call while so many run.
    pub fn wanted(&mut self, in_use: u32, now: Instant) {
        self.advance(now);
        let with_it = in_use.saturating_add(1);
        self.window.most_in_use = self.window.most_in_use.max(with_it);
        self.served.in_flight(with_it, now);
    }

    /// A call that began then has ended.
    pub fn ended(&mut self, load: Load, began: Instant, now: Instant) {
        self.advance(now);
        if load == Load::Carried {
            self.served.add(began, now);
        }
        // Sent under a higher limit, it says nothing about this one: so a burst of timeouts is one
        // step.
        let counts = self.shrunk_at.is_none_or(|at| began >= at);
        if load == Load::Unknown || !counts {
            return;
        }
        self.tally.ended += 1.0;
        if matches!(load, Load::Overloaded | Load::Refused) {
            self.tally.overloaded += 1.0;
            self.overloaded(load, now);
        }
    }

    fn overloaded(&mut self, load: Load, now: Instant) {
        let too_soon = self
            .shrunk_at
            .is_some_and(|at| now.saturating_duration_since(at) < SHRINK_AT_MOST_EVERY);
        if too_soon || self.tally.is_chance() {
            return;
        }
        // A quota for a minute is not about how many run at a time: what was served at the same
        // time lately still goes. Silence is no quota.
        let carried = if load == Load::Refused {
            self.served.most(now)
        } else {
            0
        };
        if carried >= self.limit {
            return;
        }
        // In this order: 10000 times nine fits. At 1 a probe stays possible.
        self.limit = (self.limit.saturating_mul(9) / 10).max(carried).max(1);
        self.shrunk_at = Some(now);
        (self.step, self.tally, self.window.shrunk) = (1, Tally::default(), true);
    }

    /// Judges the windows that are over.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.window.began).as_secs() / WINDOW.as_secs();
        let Ok(passed) = u32::try_from(passed.min(LONGEST_PAUSE.into())) else {
            return;
        };
        for _ in 0..passed {
            let Window {
                began,
                most_in_use,
                shrunk,
            } = self.window;
            let end = began + WINDOW;
            let tested = most_in_use.saturating_mul(2) >= self.limit;
            let quiet = self
                .shrunk_at
                .is_none_or(|at| end.saturating_duration_since(at) >= QUIET);
            if !shrunk && (tested || quiet) {
                self.grow();
            }
            self.tally.fade();
            self.window = Window::new(end);
        }
        if passed == LONGEST_PAUSE {
            self.window = Window::new(now);
        }
    }

    /// By one more each time: from one to 300 takes 25 windows and not 300.
    fn grow(&mut self) {
        self.limit = self.limit.saturating_add(self.step).min(self.ceiling);
        self.step = self.step.saturating_add(1);
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            most_in_use: 0,
            shrunk: false,
        }
    }
}

impl Tally {
    fn is_chance(self) -> bool {
        self.overloaded * CHANCE < self.ended
    }

    fn fade(&mut self) {
        self.ended *= FADING;
        self.overloaded *= FADING;
    }
}

#[cfg(test)]
mod tests;

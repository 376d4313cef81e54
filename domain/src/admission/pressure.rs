//! What is refused when the process runs out of memory, or its threads are late: the levels, and
//! when one is left again.

use std::time::{Duration, Instant};

use super::Priority;

/// How short the process is of memory or time. Each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    #[default]
    None,
    /// Batch work is refused.
    High,
    /// Limit and queue are halved.
    Severe,
    /// Everything is refused that comes through the door.
    Critical,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Memory in use, of what there is; `None` where nobody says.
    pub memory: Option<f64>,
    /// How late a timer of the runtime is.
    pub lag: Duration,
}

/// Turns readings into a level.
#[derive(Debug, Default)]
pub struct PressureGauge {
    of_memory: Pressure,
    late: Lateness,
}

/// Whether the threads have been late for a while. They are when no stretch of a second passed
/// without a late timer, and no more after one that did.
#[derive(Debug, Default)]
struct Lateness {
    /// The first late timer of those that followed one another.
    since: Option<Instant>,
    last: Option<Instant>,
    stands: bool,
}

/// Envoy's thresholds of its overload manager.
const LEVELS: [(Pressure, f64); 3] = [
    (Pressure::Critical, 0.95),
    (Pressure::Severe, 0.92),
    (Pressure::High, 0.85),
];
/// So many places are never taken away: the last few hardly cost anything, and somebody must be
/// served.
const LEAST: usize = 8;
/// A level is left so far below where it was entered, so that it does not flap.
const MARGIN: f64 = 0.03;
/// A timer later than this says that the threads are blocked or starved.
pub(super) const LATE: Duration = Duration::from_millis(50);
const FOR: Duration = Duration::from_secs(1);
/// Late timers that follow one another within this belong together: blocked threads come free for
/// moments.
const GAP: Duration = Duration::from_millis(250);

impl Pressure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::High => "high",
            Self::Severe => "severe",
            Self::Critical => "critical",
        }
    }

    /// Whether such a request is refused whatever else is in use.
    pub(super) fn sheds(self, priority: Priority) -> bool {
        match self {
            Self::None => false,
            Self::High | Self::Severe => priority == Priority::Batch,
            Self::Critical => true,
        }
    }

    /// What remains of a limit.
    pub(super) fn limit(self, limit: usize) -> usize {
        if self >= Self::Severe {
            limit.div_ceil(2).max(LEAST.min(limit))
        } else {
            limit
        }
    }
}

impl PressureGauge {
    pub fn observe(&mut self, reading: Reading, now: Instant) -> Pressure {
        let used = reading.memory.unwrap_or_default();
        let of_memory = LEVELS.iter().find(|(level, entered)| {
            let threshold = if *level <= self.of_memory {
                entered - MARGIN
            } else {
                *entered
            };
            used >= threshold
        });
        self.of_memory = of_memory.map_or(Pressure::None, |(level, _)| *level);
        let of_lag = if self.late.observe(reading.lag, now) {
            Pressure::Severe
        } else {
            Pressure::None
        };
        self.of_memory.max(of_lag)
    }

    /// The threads were late a moment ago: what took long since may have been there in time.
    pub fn was_late(&self, now: Instant) -> bool {
        self.late
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < FOR)
    }
}

impl Lateness {
    fn observe(&mut self, lag: Duration, now: Instant) -> bool {
        let ago = |at: Instant| now.saturating_duration_since(at);
        if lag > LATE {
            if self.last.is_none_or(|last| ago(last) > GAP) {
                self.since = Some(now);
            }
            self.last = Some(now);
            self.stands |= self.since.is_some_and(|since| ago(since) >= FOR);
        } else if self.last.is_none_or(|last| ago(last) >= FOR) {
            self.stands = false;
        }
        self.stands
    }
}

#[cfg(test)]
mod tests;

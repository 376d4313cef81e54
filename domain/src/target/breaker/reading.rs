//! What a breaker shows: its state, why it opened last, and several of them as one.

use std::fmt;
use std::time::{Duration, Instant};

use beamline_contract::failure::FailureKind;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    /// Refuses every call until then.
    Open {
        until: Instant,
    },
    /// Probes may go, or are on their way.
    HalfOpen,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Open is worse than half open; of two that are open, the one that stays so for longer.
    fn badness(self) -> (u8, Option<Instant>) {
        match self {
            Self::Closed => (0, None),
            Self::HalfOpen => (1, None),
            Self::Open { until } => (2, Some(until)),
        }
    }

    /// Of two, the one through which a call gets sooner.
    fn better(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open { until: one }, Self::Open { until: other }) => Self::Open {
                until: one.min(other),
            },
            (Self::Closed, _) | (_, Self::Closed) => Self::Closed,
            (Self::HalfOpen, _) | (_, Self::HalfOpen) => Self::HalfOpen,
        }
    }
}

/// When a breaker opened, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub at: Instant,
    pub reason: OpenReason,
    /// What the failure was about that opened it.
    pub class: Option<FailureKind>,
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum OpenReason {
    #[serde(rename = "consecutive_failures")]
    FailuresInARow {
        failures: u32,
    },
    FailureRate {
        percent: u32,
        calls: u32,
    },
    #[serde(rename = "slow_call_rate")]
    SlowCalls {
        percent: u32,
        calls: u32,
    },
    AskedToWait {
        wait: Duration,
    },
    ProbeFailed {
        asked: Duration,
    },
    NoVerdict,
}

impl OpenReason {
    /// Whether the extension itself said for how long.
    pub fn asked_to_wait(self) -> bool {
        matches!(self, Self::AskedToWait { .. })
            || matches!(self, Self::ProbeFailed { asked } if !asked.is_zero())
    }

    /// The word for it in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailuresInARow { .. } => "consecutive_failures",
            Self::FailureRate { .. } => "failure_rate",
            Self::SlowCalls { .. } => "slow_call_rate",
            Self::AskedToWait { .. } => "asked_to_wait",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::NoVerdict => "no_verdict",
        }
    }
}

impl fmt::Display for OpenReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailuresInARow { failures: 1 } => write!(out, "one failure"),
            Self::FailuresInARow { failures } => write!(out, "{failures} failures in a row"),
            Self::FailureRate { percent, calls } => {
                write!(out, "{percent} % of {calls} calls failed")
            }
            Self::SlowCalls { percent, calls } => {
                write!(out, "{percent} % of {calls} calls were slow")
            }
            Self::AskedToWait { wait } => {
                write!(
                    out,
                    "the extension asked twice to wait, the last time {} s",
                    wait.as_secs_f64()
                )
            }
            Self::ProbeFailed { .. } => write!(out, "a probe failed"),
            Self::NoVerdict => write!(out, "too few probes were answered in time"),
        }
    }
}

/// A breaker at one moment, or several of them as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerReading {
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
    /// When it opened first, while it has not closed again.
    pub opened_at: Option<Instant>,
    /// The last time that it opened, also when it has closed since.
    pub last: Option<Opening>,
    /// Another replica's is open until then: fewer failures are enough.
    pub suspect_until: Option<Instant>,
}

impl BreakerReading {
    /// The breakers of several versions as one: what a call meets that has no luck.
    pub fn worst(readings: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<Self> = readings.into_iter().collect();
        let worst = all.iter().copied().max_by_key(|one| one.state.badness());
        let last = |one: &Self| one.last;
        let newest = all.iter().filter_map(last).max_by_key(|last| last.at);
        worst.map_or_else(
            || Self::over([]),
            |worst| Self {
                last: worst.last.or(newest),
                ..worst
            },
        )
    }

    /// The breakers of a version's targets as one: closed while any of them lets calls through,
    /// open only when all are.
    pub fn over(readings: impl IntoIterator<Item = Self>) -> Self {
        let closed = Self {
            state: State::Closed,
            failures: 0,
            opened_at: None,
            last: None,
            suspect_until: None,
        };
        let better = |one: Self, other: Self| Self {
            state: one.state.better(other.state),
            failures: one.failures.max(other.failures),
            opened_at: one.opened_at.into_iter().chain(other.opened_at).min(),
            last: one
                .last
                .into_iter()
                .chain(other.last)
                .max_by_key(|opening| opening.at),
            suspect_until: one.suspect_until.max(other.suspect_until),
        };
        let all = readings.into_iter().reduce(better).unwrap_or(closed);
        Self {
            opened_at: all.opened_at.filter(|_| all.state != State::Closed),
            ..all
        }
    }
}

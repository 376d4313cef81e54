//! How calls end, as far as a breaker cares.

use std::time::Duration;

use beamline_contract::failure::FailureKind;

/// Longer waits are not obeyed, whatever its own open times are.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How a call ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The extension did its work, whatever it said.
    Success,
    Failure,
    /// Nobody listens: a failure that everybody would meet.
    NoResponders,
    /// No answer in time: a failure, and slow.
    Timeout,
    /// A failure of an extension that says itself when to come back.
    AskedToWait(Duration),
    /// Says nothing about the extension: the router refused, the bus was away, the caller had no
    /// time.
    Ignored,
}

impl Outcome {
    pub fn is_failure(self) -> bool {
        match self {
            Self::Failure | Self::NoResponders | Self::Timeout | Self::AskedToWait(_) => true,
            Self::Success | Self::Ignored => false,
        }
    }
}

/// The end of a call, as its breaker hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallEnd {
    pub outcome: Outcome,
    /// What a failure was about.
    pub class: Option<FailureKind>,
    pub took: Duration,
}

impl CallEnd {
    /// One that says no more of its class than the outcome does.
    pub fn new(outcome: Outcome, took: Duration) -> Self {
        let class = match outcome {
            Outcome::Timeout => Some(FailureKind::Timeout),
            Outcome::NoResponders => Some(FailureKind::NoResponders),
            Outcome::Failure | Outcome::AskedToWait(_) => Some(FailureKind::ServerError),
            Outcome::Success | Outcome::Ignored => None,
        };
        Self {
            outcome,
            class,
            took,
        }
    }
}

//! What an operator has decided about the breakers of an extension, until when, and why.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::reading::State;
use beamline_contract::time::{read_time, write_time};

/// What holds instead of what the breaker measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorState {
    /// Every call goes; its outcome is counted, and opens nothing.
    Disabled,
    /// No call goes.
    ForcedOpen,
    /// Every call goes, and the breaker shows what it would have done: for trying out settings.
    MetricsOnly,
}

impl OperatorState {
    pub const WORDS: [(&'static str, Self); 3] = [
        ("disabled", Self::Disabled),
        ("forced_open", Self::ForcedOpen),
        ("metrics_only", Self::MetricsOnly),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

/// An operator's decision. It ends by the wall clock, because that is what all replicas and their restarts share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    pub state: OperatorState,
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub until: SystemTime,
    pub reason: String,
}

/// How often operators have closed the breakers of an extension. It only rises while the extension is registered, so that a
/// replica that was away for some of the times still knows that there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    pub count: u64,
    /// Why they were closed the last time.
    #[serde(default)]
    pub reason: String,
}

/// How a breaker is asked at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Normal,
    Disabled,
    /// And callers may come back after this time.
    ForcedOpen(Duration),
    MetricsOnly,
}

impl Mode {
    /// The state that the next call meets, of a breaker that measures `measured`.
    pub fn effective(self, measured: State) -> &'static str {
        match self {
            Self::Normal => measured.as_str(),
            Self::ForcedOpen(_) => "open",
            Self::Disabled | Self::MetricsOnly => "closed",
        }
    }
}

/// Whoever is refused asks again at the latest after this, because the operator may think better of it.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Operator {
    /// How long a decision holds when nobody says, and at most.
    pub const DEFAULT_TIME: Duration = Duration::from_secs(3_600);
    pub const MAX_TIME: Duration = Duration::from_secs(86_400);

    /// The time that it holds still; `None` when it is over.
    pub fn left(&self, wall: SystemTime) -> Option<Duration> {
        self.until
            .duration_since(wall)
            .ok()
            .filter(|left| !left.is_zero())
    }

    pub fn mode(&self, wall: SystemTime) -> Mode {
        match (self.left(wall), self.state) {
            (None, _) => Mode::Normal,
            (Some(_), OperatorState::Disabled) => Mode::Disabled,
            (Some(left), OperatorState::ForcedOpen) => Mode::ForcedOpen(left.min(ASK_AGAIN)),
            (Some(_), OperatorState::MetricsOnly) => Mode::MetricsOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_ends_by_itself() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let left = Duration::from_secs(60);
        for (word, state) in OperatorState::WORDS {
            assert_eq!(state.as_str(), word);
            let operator = Operator {
                state,
                until: start + left,
                reason: "a trial".into(),
            };
            let json = serde_json::to_string(&operator).unwrap();
            assert_eq!(
                json,
                format!(
                    r#"{{"state":"{word}","until":"1970-01-12T13:47:40.000Z","reason":"a trial"}}"#
                )
            );
            assert_eq!(serde_json::from_str::<Operator>(&json).unwrap(), operator);
            assert_eq!(operator.mode(start + left), Mode::Normal);
            assert_ne!(operator.mode(start), Mode::Normal);
        }
    }
}

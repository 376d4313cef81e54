//! How an operator's decision bears on a breaker.

use std::time::{Duration, SystemTime};

use super::reading::State;
use beamline_contract::record::{OperatorDecision, OperatorState};

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
    /// What a decision says now, if there is one and it is not over.
    pub fn of(decision: Option<&OperatorDecision>, wall: SystemTime) -> Self {
        let Some(decision) = decision else {
            return Self::Normal;
        };
        let Some(left) = decision.left(wall) else {
            return Self::Normal;
        };
        match decision.state {
            OperatorState::Disabled => Self::Disabled,
            OperatorState::ForcedOpen => Self::ForcedOpen(left.min(ASK_AGAIN)),
            OperatorState::MetricsOnly => Self::MetricsOnly,
        }
    }

    /// The state that the next call meets, of a breaker that measures `measured`.
    pub fn effective(self, measured: State) -> &'static str {
        match self {
            Self::Normal => measured.as_str(),
            Self::ForcedOpen(_) => "open",
            Self::Disabled | Self::MetricsOnly => "closed",
        }
    }
}

/// Whoever is refused asks again at the latest after this, because the operator may think better of
/// it.
const ASK_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_ends_by_itself() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let left = Duration::from_secs(60);
        for (word, state) in OperatorState::WORDS {
            assert_eq!(state.as_str(), word);
            let decision = OperatorDecision {
                state,
                until: start + left,
                reason: "a trial".into(),
            };
            let json = serde_json::to_string(&decision).unwrap();
            assert_eq!(
                json,
                format!(
                    r#"{{"state":"{word}","until":"1970-01-12T13:47:40.000Z","reason":"a trial"}}"#
                )
            );
            assert_eq!(
                serde_json::from_str::<OperatorDecision>(&json).unwrap(),
                decision
            );
            assert_eq!(Mode::of(Some(&decision), start + left), Mode::Normal);
            assert_ne!(Mode::of(Some(&decision), start), Mode::Normal);
        }
    }
}

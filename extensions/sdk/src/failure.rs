//! Why a call failed, in the contract's error form. Only the code is meant for programs; the
//! message is for people.

use std::borrow::Cow;
use std::time::Duration;

use beamline_contract::call::{AnsweredError, CallAnswer};
use beamline_contract::error::ErrorCode;
use beamline_contract::failure::FailureKind;
use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::answer_part::part;

/// An error answer: `{"error": {"code", "message", "retryable", "retry_after_ms"?}}`.
///
/// The message reaches the router, its logs and perhaps the caller: never put the payload's text
/// into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub retry_after_ms: Option<u64>,
    /// What kind of failure it is, where the code does not say it.
    pub class: Option<FailureKind>,
    pub(crate) unanswered: bool,
}

impl Failure {
    /// A failure that a repeat of the call would not cure.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            class: None,
            unanswered: false,
        }
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest.as_str(), message)
    }

    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new("invalid_config", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal.as_str(), message)
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self {
            retryable: true,
            ..self
        }
    }

    /// Says when the same call may succeed.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self {
            retryable: true,
            retry_after_ms: Some(millis),
            ..self
        }
    }

    /// Says what kind of failure it is. Codes of the contract's table say it themselves.
    #[must_use]
    pub fn of_class(self, class: FailureKind) -> Self {
        Self {
            class: Some(class),
            ..self
        }
    }

    /// For fault injection: the call gets no answer at all, as from a process that hangs.
    pub fn no_answer() -> Self {
        Self {
            unanswered: true,
            ..Self::new("no_answer", "the handler chose not to answer")
        }
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(
            ErrorCode::Overloaded.as_str(),
            "all places for calls are taken",
        )
        .retryable()
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(
            ErrorCode::ShuttingDown.as_str(),
            "the extension stopped before the call was done",
        )
        .retryable()
    }

    pub(crate) fn deadline_exceeded() -> Self {
        Self::new(
            ErrorCode::DeadlineExceeded.as_str(),
            "the call's time ran out in the handler",
        )
    }

    pub(crate) fn to_payload(&self) -> Bytes {
        self.write()
            .map_or_else(|_| Bytes::from_static(LAST_RESORT.as_bytes()), Bytes::from)
    }

    fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&CallAnswer {
            error: Some(part(self)?),
            ..CallAnswer::default()
        })
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = AnsweredError {
            code: Cow::Borrowed(&self.code),
            message: Cow::Borrowed(&self.message),
            class: self.class.map(|class| class.as_str().into()),
            retryable: Some(self.retryable),
            retry_after_ms: self.retry_after_ms,
        };
        error.serialize(serializer)
    }
}

const LAST_RESORT: &str = concat!(
    r#"{"error":{"code":"internal","message":"the error could not be written","#,
    r#""retryable":false}}"#
);

/// What a JSON error says, without the value that caused it: that value may be the text of a
/// message.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if text.starts_with("invalid ") => {
            format!("wrong type or value, expected {expected}")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_contracts() {
        let plain = Failure::new("boom", "it broke").to_payload();
        assert_eq!(
            plain,
            r#"{"error":{"code":"boom","message":"it broke","retryable":false}}"#
        );
        let later = Failure::new("busy", "later")
            .retry_after(Duration::from_millis(250))
            .to_payload();
        assert_eq!(
            later,
            r#"{"error":{"code":"busy","message":"later","retryable":true,"retry_after_ms":250}}"#
        );
        let long = Failure::new("E7", "too long").of_class(FailureKind::ContextLength);
        assert_eq!(
            long.to_payload(),
            r#"{"error":{"code":"E7","message":"too long","class":"context_length","retryable":false}}"#
        );
    }

    #[test]
    fn descriptions_never_echo_values() {
        #[derive(Debug, serde::Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only its type matters here")]
            count: bool,
        }
        for json in [
            r#"{"count": "jane, expected@example.com"}"#,
            r#"{"count": 4111111111111111}"#,
        ] {
            let text = describe(&serde_json::from_str::<Wanted>(json).unwrap_err());
            assert!(!text.contains("jane") && !text.contains("4111"), "{text}");
            assert!(text.contains("expected a boolean"), "{text}");
        }
        assert!(
            describe(&serde_json::from_str::<Wanted>("{}").unwrap_err())
                .contains("missing field `count`")
        );
    }
}

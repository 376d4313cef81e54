//! Errors that an extension answered: what follows from what they mean.

use std::time::Duration;

use beamline_contract::failure::FailureKind;

use super::class::FailureClass;
use super::codes::{Meaning, meaning};
use crate::target::breaker::Outcome;

/// The code of an extension that stops because the time that it was given is over.
const OUT_OF_TIME: &str = "deadline_exceeded";

/// An error that an extension answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredFailure {
    /// As it is written: a word, or the number that HTTP has for it.
    pub code: String,
    pub message: String,
    pub meaning: Meaning,
    /// Whether another attempt may help, where it says so.
    pub retryable: Option<bool>,
    /// The wait that it asks for.
    pub retry_after: Option<Duration>,
}

impl AnsweredFailure {
    /// One that says no more than its code.
    pub fn of_code(code: &str) -> Self {
        let numbers: Vec<u64> = code.parse().into_iter().collect();
        Self {
            code: code.to_owned(),
            message: String::new(),
            meaning: meaning(&[code], &numbers, ""),
            retryable: None,
            retry_after: None,
        }
    }

    pub fn kind(&self) -> FailureKind {
        self.meaning.kind
    }

    pub fn class(&self) -> FailureClass {
        FailureClass {
            code: self.meaning.number,
            overloaded: self.meaning.overloaded,
            ..FailureClass::of(self.kind())
        }
    }

    /// What the breaker makes of it: only what the extension itself did wrong counts.
    pub fn breaker_outcome(&self) -> Outcome {
        match self.kind() {
            FailureKind::Empty => Outcome::Success,
            FailureKind::RateLimited
            | FailureKind::ClientError
            | FailureKind::ContextLength
            | FailureKind::ContentFilter => Outcome::Ignored,
            FailureKind::ServerError if self.meaning.overloaded => Outcome::Ignored,
            FailureKind::ServerError => match (self.meaning.number, self.retry_after) {
                (Some(503 | 529), Some(wait)) if !wait.is_zero() => Outcome::AskedToWait(wait),
                _ => Outcome::Failure,
            },
            FailureKind::Timeout
            | FailureKind::NoResponders
            | FailureKind::Quota
            | FailureKind::Auth
            | FailureKind::Cut => Outcome::Failure,
        }
    }

    /// Whether another attempt may help: as it says, else when it is overloaded and says until
    /// when.
    pub fn may_be_repeated(&self) -> bool {
        self.retryable.unwrap_or(self.backoff().is_some())
    }

    /// Whether no rule may repeat it.
    pub fn must_not_be_repeated(&self) -> bool {
        self.retryable == Some(false)
    }

    /// How long it wants to be left alone by everybody: it has too much to do, which is no failure.
    pub fn backoff(&self) -> Option<Duration> {
        self.retry_after.filter(|_| self.is_overload())
    }

    /// Whether it says that it has too much to do.
    pub fn is_overload(&self) -> bool {
        self.is_rate_limit() || self.meaning.overloaded
    }

    /// Whether somebody sent more than it grants: some of them, or the one who sent this.
    pub fn is_rate_limit(&self) -> bool {
        self.kind() == FailureKind::RateLimited
    }

    /// Whether what it was asked for is not there: a model, a deployment, an address.
    pub fn is_missing(&self) -> bool {
        self.kind() == FailureKind::ClientError && self.meaning.number == Some(404)
    }

    /// Whether the extension did its work, and the request is what it complains of.
    pub fn is_about_the_request(&self) -> bool {
        matches!(
            self.kind(),
            FailureKind::ClientError | FailureKind::ContextLength | FailureKind::ContentFilter
        )
    }

    /// Whether it says that the time it was given is over.
    pub fn is_out_of_time(&self) -> bool {
        self.code == OUT_OF_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code, seconds to wait; outcome, number, overload, rate limit, whether it may be repeated.
    type Case = (&'static str, u64, Outcome, Option<u16>, bool, bool, bool);

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_code_has_its_meaning() {
        let asked = Outcome::AskedToWait(SECOND);
        let cases: &[Case] = &[
            ("429", 0, Outcome::Ignored, Some(429), true, true, false),
            ("429", 1, Outcome::Ignored, Some(429), true, true, true),
            (
                "rate_limited",
                1,
                Outcome::Ignored,
                Some(429),
                true,
                true,
                true,
            ),
            (
                "overloaded",
                1,
                Outcome::Ignored,
                Some(503),
                true,
                false,
                true,
            ),
            ("503", 0, Outcome::Failure, Some(503), false, false, false),
            ("503", 1, asked, Some(503), false, false, false),
            ("529", 1, asked, Some(529), false, false, false),
            ("overloaded_error", 1, asked, Some(529), false, false, false),
            ("unavailable", 1, asked, Some(503), false, false, false),
            (
                "invalid_request",
                0,
                Outcome::Ignored,
                Some(400),
                false,
                false,
                false,
            ),
            (
                "invalid_config",
                0,
                Outcome::Ignored,
                Some(400),
                false,
                false,
                false,
            ),
            ("404", 0, Outcome::Ignored, Some(404), false, false, false),
            (
                "context_length",
                0,
                Outcome::Ignored,
                Some(400),
                false,
                false,
                false,
            ),
            (
                "content_filter",
                0,
                Outcome::Ignored,
                Some(400),
                false,
                false,
                false,
            ),
            ("401", 0, Outcome::Failure, Some(401), false, false, false),
            (
                "insufficient_quota",
                1,
                Outcome::Failure,
                Some(429),
                false,
                false,
                false,
            ),
            ("408", 0, Outcome::Failure, Some(408), false, false, false),
            ("timeout", 0, Outcome::Failure, None, false, false, false),
            (
                "deadline_exceeded",
                0,
                Outcome::Failure,
                None,
                false,
                false,
                false,
            ),
            ("cut", 0, Outcome::Failure, None, false, false, false),
            ("empty", 0, Outcome::Success, None, false, false, false),
            (
                "E_ANYTHING",
                0,
                Outcome::Failure,
                Some(500),
                false,
                false,
                false,
            ),
        ];
        for (code, wait, outcome, number, overload, rate_limit, repeat) in cases {
            let failure = AnsweredFailure {
                retry_after: (*wait > 0).then(|| Duration::from_secs(*wait)),
                ..AnsweredFailure::of_code(code)
            };
            assert_eq!(failure.breaker_outcome(), *outcome, "{code}");
            assert_eq!(failure.class().code, *number, "{code}");
            assert_eq!(failure.is_overload(), *overload, "{code}");
            assert_eq!(failure.is_rate_limit(), *rate_limit, "{code}");
            assert_eq!(failure.may_be_repeated(), *repeat, "{code}");
        }
    }

    #[test]
    fn what_it_says_of_another_attempt_goes_before_what_its_code_means() {
        for (retryable, code) in [(true, "500"), (false, "429")] {
            let failure = AnsweredFailure {
                retryable: Some(retryable),
                retry_after: Some(SECOND),
                ..AnsweredFailure::of_code(code)
            };
            assert_eq!(failure.may_be_repeated(), retryable, "{code}");
            assert_eq!(failure.must_not_be_repeated(), !retryable, "{code}");
        }
    }
}

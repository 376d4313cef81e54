//! Errors that an extension answered: what its code says.

use std::time::Duration;

use super::class::FailureClass;
use crate::target::breaker::Outcome;

/// An error that an extension answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredFailure {
    /// A word, or the number that HTTP has for it.
    pub code: String,
    pub message: String,
    /// Whether another attempt may help, where it says so.
    pub retryable: Option<bool>,
    /// The wait that it asks for.
    pub retry_after: Option<Duration>,
}

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Its time was over.
    OutOfTime,
    /// Somebody sent more than it grants.
    RateLimited,
    /// It has too much to do.
    Overloaded,
    /// What was sent is wrong; the extension did its work.
    CallersFault,
    /// It failed.
    Failed,
}

/// The words that have a meaning, each with its number where it has one.
const WORDS: [(&str, Meaning, Option<u16>); 7] = [
    ("timeout", Meaning::Failed, None),
    ("deadline_exceeded", Meaning::OutOfTime, None),
    ("rate_limited", Meaning::RateLimited, Some(429)),
    ("overloaded", Meaning::Overloaded, Some(503)),
    ("unavailable", Meaning::Failed, Some(503)),
    ("invalid_request", Meaning::CallersFault, Some(400)),
    ("invalid_config", Meaning::CallersFault, Some(400)),
];
/// The number of what has none of its own.
const UNNUMBERED: u16 = 500;

impl AnsweredFailure {
    pub fn class(&self) -> FailureClass {
        match self.word() {
            Some((_, None)) => FailureClass::timeout(),
            Some((_, Some(code))) => FailureClass::numbered(code),
            None => FailureClass::numbered(self.number().unwrap_or(UNNUMBERED)),
        }
    }

    /// What the breaker makes of it: only what the extension itself did wrong counts.
    pub fn breaker_outcome(&self) -> Outcome {
        match self.meaning() {
            Meaning::RateLimited | Meaning::Overloaded => Outcome::Ignored,
            Meaning::CallersFault => Outcome::Success,
            Meaning::OutOfTime | Meaning::Failed => match (self.number(), self.retry_after) {
                (Some(503 | 529), Some(wait)) if !wait.is_zero() => Outcome::AskedToWait(wait),
                _ => Outcome::Failure,
            },
        }
    }

    /// Whether another attempt may help: as it says, else when it is overloaded and says until
    /// when.
    pub fn may_be_repeated(&self) -> bool {
        self.retryable.unwrap_or(self.backoff().is_some())
    }

    /// How long it wants to be left alone by everybody: it has too much to do, which is no failure.
    pub fn backoff(&self) -> Option<Duration> {
        self.retry_after.filter(|_| self.is_overload())
    }

    /// Whether it says that it has too much to do.
    pub fn is_overload(&self) -> bool {
        matches!(self.meaning(), Meaning::RateLimited | Meaning::Overloaded)
    }

    /// Whether somebody sent more than it grants: some of them, or the one who sent this.
    pub fn is_rate_limit(&self) -> bool {
        self.meaning() == Meaning::RateLimited
    }

    /// Whether it says that the time it was given is over.
    pub fn is_out_of_time(&self) -> bool {
        self.meaning() == Meaning::OutOfTime
    }

    fn meaning(&self) -> Meaning {
        if let Some((meaning, _)) = self.word() {
            return meaning;
        }
        match self.number() {
            Some(429) => Meaning::RateLimited,
            Some(408) => Meaning::Failed,
            Some(400..=499) => Meaning::CallersFault,
            _ => Meaning::Failed,
        }
    }

    fn word(&self) -> Option<(Meaning, Option<u16>)> {
        let known = WORDS.iter().find(|(word, ..)| *word == self.code);
        known.map(|(_, meaning, number)| (*meaning, *number))
    }

    /// A code of three digits, as HTTP has them.
    fn number(&self) -> Option<u16> {
        let number = self.code.parse().ok()?;
        (100..=999).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code and seconds to wait; outcome, number, overload, rate limit, whether it may be repeated.
    type Case = (&'static str, u64, Outcome, Option<u16>, bool, bool, bool);

    #[test]
    fn each_code_has_its_meaning() {
        let second = Duration::from_secs(1);
        let cases: [Case; 15] = [
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
            (
                "503",
                1,
                Outcome::AskedToWait(second),
                Some(503),
                false,
                false,
                false,
            ),
            (
                "529",
                1,
                Outcome::AskedToWait(second),
                Some(529),
                false,
                false,
                false,
            ),
            (
                "unavailable",
                1,
                Outcome::Failure,
                Some(503),
                false,
                false,
                false,
            ),
            (
                "invalid_request",
                0,
                Outcome::Success,
                Some(400),
                false,
                false,
                false,
            ),
            (
                "invalid_config",
                0,
                Outcome::Success,
                Some(400),
                false,
                false,
                false,
            ),
            ("404", 0, Outcome::Success, Some(404), false, false, false),
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
                code: code.to_owned(),
                message: String::new(),
                retryable: None,
                retry_after: (wait > 0).then(|| Duration::from_secs(wait)),
            };
            assert_eq!(failure.breaker_outcome(), outcome, "{code}");
            assert_eq!(failure.class().code, number, "{code}");
            assert_eq!(failure.class().timeout, number.is_none(), "{code}");
            assert_eq!(failure.is_overload(), overload, "{code}");
            assert_eq!(failure.is_rate_limit(), rate_limit, "{code}");
            assert_eq!(failure.may_be_repeated(), repeat, "{code}");
        }
    }

    #[test]
    fn what_it_says_of_another_attempt_goes_before_what_its_code_means() {
        for (retryable, code) in [(true, "500"), (false, "429")] {
            let failure = AnsweredFailure {
                code: code.to_owned(),
                message: String::new(),
                retryable: Some(retryable),
                retry_after: Some(Duration::from_secs(1)),
            };
            assert_eq!(failure.may_be_repeated(), retryable, "{code}");
        }
    }
}

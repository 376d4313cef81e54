//! The words for failures in `when.status`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A class of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Timeout,
    /// `5xx`
    ServerError,
    /// `4xx`
    ClientError,
    /// `429` and `rate_limited`
    RateLimited,
    /// Any other code from 100 to 999.
    Code(u16),
    /// Every failure there is.
    Error,
    NoResponders,
    CircuitBreakerOpen,
    /// None of the policy's `providers` is left to try.
    AllProvidersFailed,
}

impl Status {
    pub const WORDS: [(&'static str, Self); 9] = [
        ("timeout", Self::Timeout),
        ("5xx", Self::ServerError),
        ("4xx", Self::ClientError),
        ("429", Self::RateLimited),
        ("rate_limited", Self::RateLimited),
        ("error", Self::Error),
        ("no_responders", Self::NoResponders),
        ("circuit_breaker_open", Self::CircuitBreakerOpen),
        ("all_providers_failed", Self::AllProvidersFailed),
    ];

    /// `None` when the word is none of the contract's.
    pub fn parse(word: &str) -> Option<Self> {
        let known = Self::WORDS.into_iter().find(|(name, _)| *name == word);
        known.map(|(_, status)| status).or_else(|| Self::code(word))
    }

    fn code(word: &str) -> Option<Self> {
        if word.len() != 3 || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let code = word.parse().ok()?;
        (100..=999).contains(&code).then_some(Self::Code(code))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Code(code) = self {
            return write!(out, "{code:03}");
        }
        let known = Self::WORDS.into_iter().find(|(_, status)| status == self);
        out.write_str(known.map_or("", |(word, _)| word))
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_those_of_the_contract() {
        for (word, status) in Status::WORDS {
            assert_eq!(Status::parse(word), Some(status), "{word}");
        }
        assert_eq!(Status::parse("503"), Some(Status::Code(503)));
        for word in ["099", "1000", "5x", "50", "5033", "+50", "Timeout", ""] {
            assert_eq!(Status::parse(word), None, "{word}");
        }
    }
}

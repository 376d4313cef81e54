//! The words for failures in `when.status`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::failure::FailureKind;

/// What a rule's `when.status` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Kind(FailureKind),
    /// Any other code from 100 to 999.
    Code(u16),
    /// Every failure there is but a refusal of the content.
    Error,
    CircuitBreakerOpen,
    /// As many calls run as may, or the extension says so itself.
    Overloaded,
    /// Of older documents: nobody was reached.
    ConnectionError,
    /// Of older documents: nobody was reached, or a breaker is open.
    ProviderUnavailable,
    /// None of the policy's `providers` is left to try.
    AllProvidersFailed,
}

impl Status {
    /// The first word of each is the one that is written.
    pub const WORDS: [(&'static str, Self); 19] = [
        ("timeout", Self::Kind(FailureKind::Timeout)),
        ("5xx", Self::Kind(FailureKind::ServerError)),
        ("4xx", Self::Kind(FailureKind::ClientError)),
        ("429", Self::Kind(FailureKind::RateLimited)),
        ("rate_limited", Self::Kind(FailureKind::RateLimited)),
        ("error", Self::Error),
        ("no_responders", Self::Kind(FailureKind::NoResponders)),
        ("circuit_breaker_open", Self::CircuitBreakerOpen),
        ("all_providers_failed", Self::AllProvidersFailed),
        ("overloaded", Self::Overloaded),
        ("quota", Self::Kind(FailureKind::Quota)),
        ("auth", Self::Kind(FailureKind::Auth)),
        ("context_length", Self::Kind(FailureKind::ContextLength)),
        ("content_filter", Self::Kind(FailureKind::ContentFilter)),
        ("cut", Self::Kind(FailureKind::Cut)),
        ("empty", Self::Kind(FailureKind::Empty)),
        ("unhealthy", Self::CircuitBreakerOpen),
        ("connection_error", Self::ConnectionError),
        ("provider_unavailable", Self::ProviderUnavailable),
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

//! Fields of a policy that have one of a few words.

use serde::Serialize;

/// Whether a request may go on without this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Required,
    Optional,
}

impl Mode {
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("optional", Self::Optional)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

/// What a rejection, or no answer at all, means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    Block,
    Warn,
    Ignore,
}

impl OnFail {
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("block", Self::Block),
        ("warn", Self::Warn),
        ("ignore", Self::Ignore),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Warn => "warn",
            Self::Ignore => "ignore",
        }
    }
}

/// How one of the providers is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By chance, in proportion to the weights.
    Weighted,
    /// The first one that can be called; when it fails, the next one takes over.
    Priority,
}

impl Order {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Priority => "priority",
        }
    }
}

/// How the waits between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    Exponential,
    Linear,
    Fixed,
}

impl Strategy {
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("exponential", Self::Exponential),
        ("linear", Self::Linear),
        ("fixed", Self::Fixed),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Linear => "linear",
            Self::Fixed => "fixed",
        }
    }
}

//! Fields of a policy that have one of a few words.

use serde::Serialize;

/// Whether a request may go on without this processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The request fails with it.
    Required,
    /// The request goes on without it, and lists it under `degraded`.
    #[default]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// The request ends with `validator_blocked`.
    #[default]
    Block,
    /// The request goes on, and says so under `degraded`.
    Warn,
    /// The request goes on, and only `extensions` says so.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Each wait is twice the one before it.
    #[default]
    Exponential,
    /// Each wait is longer by the first.
    Linear,
    /// All waits are the first.
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

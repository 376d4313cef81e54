//! The answer to an operation that was refused.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusalAnswer {
    /// False.
    #[cfg_attr(feature = "schema", schemars(extend("const" = false)))]
    pub ok: bool,
    pub error: RefusalBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusalBody {
    /// A [`RefusalCode`], or one that a newer router knows.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// `error.code` of a refusal. Callers branch on it, so a code is never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    InvalidRequest,
    Unauthorized,
    NotFound,
    Conflict,
    /// The store is away; `details.outcome` is `unknown` when a change may have been made.
    StoreUnavailable,
    Overloaded,
    ShuttingDown,
    AnswerTooLarge,
    Internal,
}

impl RefusalCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::StoreUnavailable => "store_unavailable",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Internal => "internal",
        }
    }
}

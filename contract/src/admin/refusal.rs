//! The answer to an operation that was refused.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::word::words;

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
    #[cfg_attr(feature = "schema", schemars(with = "RefusalCode"))]
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    #[serde(default)]
    pub details: Map<String, Value>,
}

words! {
    /// `error.code` of a refusal. Callers branch on it, so a code is never renamed.
    pub enum RefusalCode {
        InvalidRequest = "invalid_request",
        Unauthorized = "unauthorized",
        /// The key is right, and its role is not enough.
        Forbidden = "forbidden",
        NotFound = "not_found",
        Conflict = "conflict",
        /// The store is away; `details.outcome` is `unknown` when a change may have been made.
        StoreUnavailable = "store_unavailable",
        Overloaded = "overloaded",
        ShuttingDown = "shutting_down",
        AnswerTooLarge = "answer_too_large",
        Internal = "internal",
    }
}

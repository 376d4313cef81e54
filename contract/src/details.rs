//! Keys and words of `error.details` that the router writes and somebody else reads again.

/// Of a document: each a [`Mistake`](crate::mistake::Mistake).
pub const MISTAKES: &str = "mistakes";
/// Where the mistake is, as a JSON pointer.
pub const POINTER: &str = "pointer";
/// The extension that ended the request.
pub const EXTENSION_ID: &str = "extension_id";
/// Why its call brought no usable answer, in a word.
pub const ERROR_TYPE: &str = "error_type";
/// The class of an extension's failure, a [`FailureKind`](crate::failure::FailureKind).
pub const CLASS: &str = "class";
/// The code that the extension gave.
pub const UPSTREAM_CODE: &str = "upstream_code";
/// Milliseconds after which a new try makes sense.
pub const RETRY_AFTER_MS: &str = "retry_after_ms";
/// The quota that is used up, by its key in the section `quotas` of the configuration.
pub const QUOTA: &str = "quota";
/// Of a change.
pub const OUTCOME: &str = "outcome";

/// How many requests a replica remembers at most, of one that none remembers.
pub const REMEMBERED: &str = "remembered";

/// `error_type` of a call that a breaker kept back.
pub const CIRCUIT_OPEN: &str = "circuit_open";
/// `outcome` of a change that may have been made.
pub const UNKNOWN: &str = "unknown";

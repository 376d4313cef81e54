//! The policy of a tenant as a document (contract section 4): what somebody writes, and what it is
//! called there. What it comes to, the router's rules say.

mod breaker;
mod document;
mod form;
mod older;
#[cfg(feature = "schema")]
mod schema;
mod status;
mod words;

pub use breaker::{CircuitBreaker, OLDER_BREAKER_KEYS};
pub use document::{
    BackoffEntry, FallbackEntry, PolicyDocument, ProcessorEntry, ProviderEntry, Providers,
    StickyEntry, ValidatorEntry,
};
pub use form::Form;
pub use older::{OlderCondition, OlderFallback, OlderFallbacks, Step};
pub use status::Status;
pub use words::{Mode, OnFail, Order, Strategy};

/// The JSON Schema of all forms, for editors.
pub const SCHEMA: &str = include_str!("../../docs/schemas/policy.json");

/// The version of a policy that gives none.
pub const DEFAULT_VERSION: &str = "1.0";

/// The context key whose value names a session, where the policy names none.
pub const DEFAULT_SESSION_KEY: &str = "session_id";

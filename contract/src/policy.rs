//! The policy of a tenant as a document (contract section 4).

/// The context key whose value names a session, where the policy names none.
pub const DEFAULT_SESSION_KEY: &str = "session_id";

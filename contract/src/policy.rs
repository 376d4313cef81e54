//! The policy of a tenant as a document (contract section 4): what somebody writes, and what it is
//! called there. What it comes to, the router's rules say.

mod form;
mod status;
mod words;

pub use form::Form;
pub use status::Status;
pub use words::{Mode, OnFail, Order, Strategy};

/// The context key whose value names a session, where the policy names none.
pub const DEFAULT_SESSION_KEY: &str = "session_id";

//! Why something did not start.

/// A sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UpError(pub(super) String);

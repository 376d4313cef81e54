//! Why a router may not start.

/// Why a router did not start, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// NATS or the database did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    pub fn unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

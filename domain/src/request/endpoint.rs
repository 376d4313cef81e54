//! What comes back from the endpoint of an extension, before anybody has read it.

use std::time::Duration;

use bytes::Bytes;

/// What came back, before anybody has read it.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub body: Bytes,
    /// `Nats-Service-Error-Code` and `Nats-Service-Error`, when the answer carries them.
    pub service_error: Option<(Option<u16>, String)>,
    /// `retry_after_ms` or `Retry-After`: what an error answer may ask for by header.
    pub retry_after: Option<Duration>,
    /// `retryable`: whether an error answer says by header that another attempt may help.
    pub retryable: Option<bool>,
}

/// Why no answer came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error("no answer in time")]
    Timeout,
    /// So late that nobody can tell whose fault the missing answer is.
    #[error("no answer in time, and the bus is late")]
    BusLate,
    #[error("nobody listens on the subject")]
    NoResponders,
    #[error("the bus is not connected")]
    NotConnected,
    #[error("the message has {size} bytes, the bus carries {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("{0}")]
    Refused(String),
    /// What came back cannot be an extension's answer.
    #[error("{0}")]
    Malformed(String),
}

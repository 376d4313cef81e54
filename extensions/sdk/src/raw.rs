//! Requests and answers as they are on the wire, for handlers that take no part in the contract:
//! faults and protocol tests.

use async_nats::HeaderMap;
use bytes::Bytes;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct RawRequest {
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

/// An answer as it goes out.
#[derive(Clone, Debug, Default)]
pub struct RawAnswer {
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl<P: Into<Bytes>> From<P> for RawAnswer {
    fn from(payload: P) -> Self {
        Self {
            headers: HeaderMap::new(),
            payload: payload.into(),
        }
    }
}

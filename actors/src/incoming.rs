//! A request as it came in, before anybody has read it.

use beamline_domain::request::{RequestHeaders, RequestKind};
use bytes::Bytes;
use tokio::time::Instant;

use crate::responder::Responder;

#[derive(Debug)]
pub struct Incoming {
    /// Where it came in, as metrics call it.
    pub edge: &'static str,
    pub kind: RequestKind,
    pub headers: RequestHeaders,
    pub body: Bytes,
    pub received: Instant,
    pub responder: Responder,
}

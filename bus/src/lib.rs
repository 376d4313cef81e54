//! What the router and its extensions both need of NATS, so that it stands once.
//!
//! `Intake` takes requests and stops without losing one; `headers` reads and builds headers from text that came from
//! outside without a panic.

pub mod headers;
mod intake;

pub use intake::Intake;

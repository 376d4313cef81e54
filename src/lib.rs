//! Beamline Router as a library: everything that touches the world, so that a test can start a whole router.
//!
//! What the router decides is in the crate `beamline-actors`; this package connects it to NATS, SQL and HTTP.

pub mod cli;
pub mod config;
pub mod http;
pub mod nats;
pub mod store;
pub mod telemetry;
pub mod up;

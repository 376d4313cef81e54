//! Beamline Router as a library: everything that touches the world, so that a test can start a
//! whole router.
//!
//! What the router decides is in the crate `beamline-actors`; this package connects it to NATS, SQL
//! and HTTP.

pub mod cli;
pub mod router;
pub mod up;

pub mod admin;
pub mod edge;
mod monitor;
pub mod store;

#[cfg(feature = "count-allocations")]
mod allocations;
pub mod config;
pub mod keys;
pub mod observe;
mod own_files;

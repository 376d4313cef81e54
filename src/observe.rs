//! What the router lets people see of itself.

pub mod logs;
pub(crate) mod metrics;
pub(crate) mod requests;

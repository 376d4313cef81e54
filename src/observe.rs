//! What the router lets people see of itself.

pub(crate) mod exposition;
pub mod logs;

//! What the router lets people see of itself.

pub mod logs;

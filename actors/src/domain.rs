//! Pure rules: no clock, no runtime, no I/O. Time and randomness are arguments.

pub mod breaker;
pub mod document;
pub mod extension;
pub mod fields;
pub mod health;
pub mod plan;
pub mod policy;
pub mod snapshot;

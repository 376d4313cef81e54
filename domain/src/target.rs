//! A target of calls: whether it may be called now, how it has done lately, and which one is taken.

pub mod breaker;
pub mod concurrency;
pub mod health;
pub mod places;
pub mod retry_budget;
pub mod selection;
mod tenant;
pub mod waits;

pub use tenant::Tenant;
pub(crate) use tenant::{LATELY, Seen};

//! A request on its way: read, planned, carried out step by step, answered.

pub mod error;
mod incoming;

pub mod plan;

pub mod call_body;
pub mod endpoint;
pub mod notes;
pub mod reply;

pub mod failure;
pub mod fallback;
pub mod retry;
pub mod verdict;

pub mod run;

pub mod answer;
pub mod dry_run;
pub mod explanation;

pub use incoming::{
    Correlation, Message, Refusal, Request, RequestHeaders, RequestKind, RequestLimits,
};

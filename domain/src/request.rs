//! A request on its way: read, planned, carried out step by step, answered.

pub mod error;
mod incoming;
pub mod trace;

pub mod call;
pub mod endpoint;

pub mod fallback;
pub mod plan;
pub mod run;

pub mod answer;
pub mod dry_run;
pub mod explanation;

pub use incoming::{
    Correlation, Message, Refusal, Request, RequestHeaders, RequestKind, RequestLimits,
};

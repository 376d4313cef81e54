//! Pure rules: no clock, no runtime, no I/O. Time and randomness are arguments.

pub mod request;

pub mod admission;

pub mod fallback;
pub mod plan;
pub mod run;
pub mod selection;
pub mod session;

pub mod answer;
pub mod call;
pub mod endpoint;
pub mod complexity;
pub mod dry_run;
pub mod error;
pub mod explanation;
pub mod trace;

pub mod breaker;
pub mod concurrency;
pub mod health;
pub mod retry_budget;

pub mod conditions;
pub mod document;
pub mod extension;
pub mod fields;
pub mod policy;
pub mod routing;
pub mod snapshot;

//! What the router does, with no SQL, NATS or HTTP in its dependency list.
//!
//! Read in this order: `domain` decides, `ports` names the three things that touch the world, the
//! actors carry a request from its admission to its one answer, and `tree` supervises them all.

pub mod ports;

pub mod tree;

pub mod registry;

pub mod sessions;

pub mod targets;

pub mod call_limits;
pub mod invoker;
pub mod invokers;
pub mod retry_budgets;
pub mod watch;

pub mod call;

pub mod dry_run;
mod entrance;
mod in_flight;
pub mod incoming;
mod pipeline;
pub mod services;
pub mod story;

pub mod door;
pub mod pipelines;
pub mod responder;

pub mod children;

pub mod disk;
pub mod metrics;

pub mod fail_points;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

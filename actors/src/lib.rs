//! What the router does, with no SQL, NATS or HTTP in its dependency list.
//!
//! Read in this order: `domain` decides, `ports` names the two things that touch the world, the actors carry a
//! request from its admission to its one answer, and `root` supervises them all.

pub mod domain;
pub mod ports;

pub mod supervision;

pub mod registry;

pub mod invoker;
pub mod invokers;

pub mod metrics;

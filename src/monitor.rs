//! Watches how late the runtime is, how much memory is in use and how long the bus takes, and tells
//! the door.
//!
//! Each part takes back what it has told when it ends: nobody is refused for what nobody measures
//! any more.

use std::sync::Arc;

use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::tree::{Child, Node, NodeKind};
use parking_lot::Mutex;

use crate::edge::nats::NatsTransport;

mod memory;
mod pressure;
mod round_trips;
#[cfg(test)]
mod tests;

use pressure::PressureWatch;
use round_trips::RoundTrips;

/// What is watched, and who is told of it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) door: Door,
    pub(crate) invokers: Invokers,
    pub(crate) metrics: Metrics,
    pub(crate) transport: NatsTransport,
    /// In bytes; without one, memory is not watched.
    pub(crate) memory_limit: Option<usize>,
}

/// The supervisor of all that watches.
pub(crate) fn supervisor(watched: Watched) -> Child {
    let metrics = watched.metrics.clone();
    let round_trips = Arc::new(RoundTrips {
        transport: watched.transport,
        door: watched.door.clone(),
        metrics: watched.metrics.clone(),
        times: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
    });
    let pressure = Arc::new(PressureWatch::new(
        watched.door,
        watched.invokers,
        watched.metrics,
        watched.memory_limit,
    ));
    let children = vec![
        Child::task(&Node::new("pressure", NodeKind::Worker), move || {
            Arc::clone(&pressure).watch()
        }),
        Child::task(&Node::new("round_trips", NodeKind::Worker), move || {
            Arc::clone(&round_trips).watch()
        }),
    ];
    Child::supervisor("monitor", children, &metrics)
}

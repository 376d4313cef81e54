//! The children of the root that every router has, in the order in which they start.

use crate::door::Door;
use crate::invokers::{Invokers, InvokersActor};
use crate::metrics::Metrics;
use crate::pipelines::PipelinesActor;
use crate::registry::{Registry, RegistryActor};
use crate::tree::Child;
use crate::watch::{self, WatchSettings};

/// What every router has; what stands at its edge comes after them.
pub fn core(
    registry: &Registry,
    invokers: &Invokers,
    door: &Door,
    watch: WatchSettings,
    metrics: &Metrics,
) -> Vec<Child> {
    let for_registry = registry.clone();
    let for_invokers = invokers.clone();
    let for_door = door.clone();
    vec![
        Child::essential(registry.node(), move || {
            (RegistryActor, for_registry.clone())
        }),
        Child::essential(invokers.node(), move || {
            (InvokersActor, for_invokers.clone())
        }),
        Child::essential(door.node(), move || (PipelinesActor, for_door.clone())),
        door.services().sessions.child(),
        watch::supervisor(invokers, watch, metrics),
    ]
}

//! What is done beside the calls, as long as the router lives: pings, health rows, the file of open
//! breakers, forgetting.

use std::path::PathBuf;

use crate::invokers::Invokers;
use crate::metrics::Metrics;
use crate::tree::{Child, Node, NodeKind};

mod health_rows;
mod idle;
mod open_breakers;
mod pings;
mod registry_changes;
#[cfg(test)]
mod tests;

pub use health_rows::HealthLog;

/// What is kept of what is watched.
#[derive(Debug, Clone, Default)]
pub struct WatchSettings {
    /// Where rows of health are written.
    pub health: Option<HealthLog>,
    /// The file of the breakers that are open.
    pub open_breakers: Option<PathBuf>,
}

/// Opens at once the breakers that the file says are still open, and answers the supervisor of all
/// that goes on from the start of the tree.
pub fn supervisor(invokers: &Invokers, settings: WatchSettings, metrics: &Metrics) -> Child {
    let mut children = vec![
        task("registry_changes", invokers, registry_changes::follow),
        task("pings", invokers, pings::ask_those_without_traffic),
        task("idle_targets", invokers, idle::forget),
    ];
    if let Some(path) = settings.open_breakers {
        open_breakers::reopen(invokers, &path);
        children.push(task("open_breakers", invokers, move |invokers| {
            open_breakers::keep(invokers, path.clone())
        }));
    }
    if let Some(log) = settings.health {
        children.push(task("health_rows", invokers, move |invokers| {
            health_rows::write_changes(invokers, log.clone())
        }));
    }
    Child::supervisor("watch", children, metrics)
}

fn task<T: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    invokers: &Invokers,
    work: impl Fn(Invokers) -> T + Send + Sync + 'static,
) -> Child {
    let invokers = invokers.clone();
    Child::task(&Node::new(name, NodeKind::Worker), move || {
        work(invokers.clone())
    })
}

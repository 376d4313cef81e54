//! HTTP on one address and two runtimes. Probes and metrics have a thread of their own, so that
//! they are answered also when something holds up all others; everything else is served by the
//! runtime of the router.
//!
//! The thread accepts, looks at the first request of a connection, and hands over what is no probe.
//! At an address of their own (`http.probes`) there is nothing else. Trouble with HTTP never stops
//! traffic, which runs over NATS.

mod connections;
mod crowd;
mod first_line;
mod format;
mod front;
mod listeners;
mod probes;
mod problem;
mod server;
mod starting;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use beamline_actors::tree::{Child, Node, NodeKind};
use tokio::runtime::Handle;

use front::Front;
use problem::Problem;
use server::Server;

pub use listeners::Listeners;
pub use probes::{Probes, Readiness};
pub use starting::Starting;

/// What listens; all clones share it.
#[derive(Debug, Clone)]
pub struct Http {
    front: Arc<Front>,
    /// At the address of probes.
    apart: Option<Arc<Front>>,
    server: Arc<Server>,
}

impl Http {
    /// Everything but probes is served by the runtime in which this is called.
    pub fn new(listeners: Listeners, probes: Probes) -> Self {
        let Listeners {
            everything,
            probes: apart,
        } = listeners;
        let (server, hand_over) = Server::new(probes.clone());
        let apart = apart
            .map(|listener| Arc::new(Front::of_probes(listener, probes.clone(), nothing_else())));
        let front = Front::new(everything, probes, hand_over, Handle::current());
        Self {
            front: Arc::new(front),
            apart,
            server: Arc::new(server),
        }
    }

    /// Their places in the tree.
    pub fn children(&self) -> Vec<Child> {
        let server = Arc::clone(&self.server);
        let mut children = vec![
            Child::task_until_done(&Node::new("http", NodeKind::Worker), move || {
                server::serve(Arc::clone(&server))
            }),
            serving("probes", &self.front),
        ];
        children.extend(
            self.apart
                .as_ref()
                .map(|apart| serving("probes_apart", apart)),
        );
        children
    }

    /// Finishes the requests in hand and takes no more, except probes; false when that took longer
    /// than `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.server.drain(limit).await
    }
}

fn serving(name: &'static str, front: &Arc<Front>) -> Child {
    let front = Arc::clone(front);
    Child::task(&Node::new(name, NodeKind::Worker), move || {
        front::serve_apart(Arc::clone(&front))
    })
}

fn nothing_else() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There are /healthz, /readyz and /metrics here; everything else is at http.listen.",
    )
}

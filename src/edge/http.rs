//! HTTP on one address and two runtimes. Probes and metrics have a thread of their own, so that
//! they are answered also when something holds up all others; everything else is served by the
//! runtime of the router.
//!
//! The thread accepts, looks at the first line of a connection, and hands over what does not begin
//! with a probe. Trouble with HTTP never stops traffic, which runs over NATS.

mod connections;
mod first_line;
mod front;
mod probes;
mod problem;
mod server;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::tree::{Child, Node, NodeKind};
use tokio::runtime::Handle;

use front::Front;
use server::Server;

pub use probes::{Probes, Readiness};

/// What listens at `http.listen`; all clones share it.
#[derive(Debug, Clone)]
pub struct Http {
    front: Arc<Front>,
    server: Arc<Server>,
}

impl Http {
    /// `listener` does not block. Everything but probes is served by the runtime in which this is
    /// called.
    pub fn new(listener: TcpListener, probes: Probes) -> Self {
        let (server, hand_over) = Server::new(probes.clone());
        let front = Front::new(listener, probes, hand_over, Handle::current());
        Self {
            front: Arc::new(front),
            server: Arc::new(server),
        }
    }

    /// Their places in the tree.
    pub fn children(&self) -> [Child; 2] {
        let server = Arc::clone(&self.server);
        let front = Arc::clone(&self.front);
        [
            Child::task_until_done(&Node::new("http", NodeKind::Worker), move || {
                server::serve(Arc::clone(&server))
            }),
            Child::task(&Node::new("probes", NodeKind::Worker), move || {
                front::serve_apart(Arc::clone(&front))
            }),
        ]
    }

    /// Finishes the requests in hand and takes no more, except probes; false when that took longer
    /// than `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.server.drain(limit).await
    }
}

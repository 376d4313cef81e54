//! The HTTP side of the router: probes for the platform and metrics for the monitoring. Its trouble never stops traffic,
//! which runs over NATS.

mod connections;
mod probes;
mod problem;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use beamline_actors::tree::{Child, Node, NodeKind};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use probes::{Probes, Readiness};

/// The server of `http.listen`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Kept here so that a restart does not lose the port.
    listener: Arc<TcpListener>,
    probes: Probes,
}

impl Http {
    /// `listener` does not block.
    pub fn new(listener: TcpListener, probes: Probes) -> Self {
        Self {
            listener: Arc::new(listener),
            probes,
        }
    }

    /// Its place in the tree.
    pub fn child(self) -> Child {
        let node = Node::new("http", NodeKind::Worker);
        Child::task(&node, move || serve_apart(self.clone()))
    }
}

/// Serves on a thread of its own, so that probes are answered also when something holds up all others. Returns when that
/// thread ends; ends it when it is dropped.
async fn serve_apart(http: Http) {
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    let (ending, ended) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("http".into()).spawn(move || {
        let _ending = ending;
        if let Err(error) = run(&http, &stop) {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    match thread {
        // Nothing is ever sent.
        Ok(_) => drop(ended.await),
        Err(error) => tracing::error!(%error, "the HTTP server has no thread"),
    }
}

fn run(http: &Http, stop: &CancellationToken) -> io::Result<()> {
    let listener = http.listener.try_clone()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(listener, http.probes.clone(), stop.cancelled()))
}

/// Serves until `stop`, then finishes the requests in hand; idle connections are closed within two seconds.
async fn serve(
    listener: TcpListener,
    probes: Probes,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving HTTP");
    connections::serve(listener, probes::routes(probes), stop).await;
    Ok(())
}

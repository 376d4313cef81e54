//! The HTTP side of the router: probes for the platform and metrics for the monitoring. Its trouble never stops traffic,
//! which runs over NATS.

mod connections;
mod probes;
mod problem;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

pub use probes::{Probes, Readiness};

/// Takes the address, so that a port in use is found before anything else starts.
pub async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

/// Serves until `stop`, then finishes the requests in hand; idle connections are closed within two seconds.
pub async fn serve(
    listener: TcpListener,
    probes: Probes,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving HTTP");
    connections::serve(listener, probes::routes(probes), stop).await;
    Ok(())
}

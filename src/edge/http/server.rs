//! The server of everything that is no probe, on the runtime of the router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, END_LIMIT, serve_requests};
use super::probes::{self, Probes};
use super::problem::Problem;

/// Bytes of a request's body.
const LARGEST_BODY: usize = 1024 * 1024;
/// Connections that wait to be taken over. There are more only while the runtime is stuck.
const HANDED_OVER: usize = 64;

#[derive(Debug)]
pub(super) struct Server {
    routes: Router,
    handed: Mutex<mpsc::Receiver<std::net::TcpStream>>,
    stop: CancellationToken,
    serving: TaskTracker,
}

/// The way of a connection from the thread that accepted it.
#[derive(Debug)]
pub(super) struct HandOver(mpsc::Sender<std::net::TcpStream>);

impl HandOver {
    /// Closes it when too many wait, or when the server takes no more.
    pub(super) fn give(&self, stream: TcpStream) {
        let given = stream
            .into_std()
            .is_ok_and(|stream| self.0.try_send(stream).is_ok());
        if !given {
            tracing::debug!("an HTTP connection was closed: nobody takes it over");
        }
    }
}

impl Server {
    pub(super) fn new(probes: Probes) -> (Self, HandOver) {
        let (sender, receiver) = mpsc::channel(HANDED_OVER);
        let server = Self {
            routes: routes(probes),
            handed: Mutex::new(receiver),
            stop: CancellationToken::new(),
            serving: TaskTracker::new(),
        };
        (server, HandOver(sender))
    }

    pub(super) async fn drain(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.serving.close();
        timeout(limit, self.serving.wait()).await.is_ok()
    }
}

/// Probes are among them: a connection may ask for one after something else.
pub(super) fn routes(probes: Probes) -> Router {
    probes::routes(probes)
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "There are /healthz, /readyz and /metrics.",
            )
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// Serves until it is drained.
pub(super) async fn serve(server: Arc<Server>) {
    let _serving = server.serving.token();
    let mut connections = Connections::new();
    // Only one serves at a time.
    let mut handed = server.handed.lock().await;
    loop {
        let stream = tokio::select! {
            stream = handed.recv() => stream,
            () = server.stop.cancelled() => None,
        };
        let Some(stream) = stream else { break };
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let routes = server.routes.clone();
                let carry = |stream, ending| serve_requests(stream, routes, ending, END_LIMIT);
                connections.add(stream, carry).await;
            }
            Err(error) => tracing::debug!(%error, "an HTTP connection was lost"),
        }
    }
    // Whoever waits still finds its connection closed.
    handed.close();
    connections.end().await;
}

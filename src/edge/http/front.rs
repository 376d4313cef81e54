//! The thread that accepts connections, and serves those that begin with a probe.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use beamline_actors::tree::on_own_thread;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, HEADER_LIMIT, serve_requests};
use super::first_line::asks_for_probe;
use super::probes::{self, Probes};
use super::problem::Problem;
use super::server::{self, HandOver};

const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Front {
    /// Kept here so that a restart does not lose the port.
    listener: TcpListener,
    routes: Router,
    hand_over: HandOver,
}

impl Front {
    /// `runtime` serves what is no probe.
    pub(super) fn new(
        listener: TcpListener,
        probes: Probes,
        hand_over: HandOver,
        runtime: Handle,
    ) -> Self {
        let elsewhere = Elsewhere {
            runtime,
            routes: server::routes(probes.clone()),
        };
        let routes = probes::routes(probes)
            .fallback(serve_elsewhere)
            .with_state(elsewhere);
        Self {
            listener,
            routes,
            hand_over,
        }
    }
}

/// Returns when the thread ends; ends it when it is dropped.
pub(super) async fn serve_apart(front: Arc<Front>) -> io::Result<()> {
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    on_own_thread("probes", move || run(front, &stop)).await?
}

fn run(front: Arc<Front>, stop: &CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(front, stop))
}

/// Serves until `stop`, then finishes the requests in hand; idle connections are closed within two
/// seconds.
pub(super) async fn serve(front: Arc<Front>, stop: &CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(front.listener.try_clone()?)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving HTTP");
    let mut connections = Connections::new();
    let accepting = async {
        loop {
            if let Some(stream) = accept(&listener, &mut connections).await {
                let carry = |stream, ending| carry(Arc::clone(&front), stream, ending);
                connections.add(stream, carry).await;
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    drop(listener);
    connections.end().await;
    Ok(())
}

async fn accept(
    listener: &tokio::net::TcpListener,
    connections: &mut Connections,
) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        // The one that came has gone again.
        Err(error) if error.kind() == ErrorKind::ConnectionAborted => None,
        Err(error) => {
            // Out of file descriptors, for instance: connections that do nothing hold some. Going
            // on at once would only burn a core.
            tracing::warn!(%error, "cannot accept an HTTP connection");
            connections.end_a_quarter();
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Serves a connection that begins with a probe, and hands over any other.
async fn carry(front: Arc<Front>, stream: TcpStream, ending: CancellationToken) {
    let looking = timeout(HEADER_LIMIT, asks_for_probe(&stream));
    let seen = tokio::select! {
        seen = looking => seen,
        () = ending.cancelled() => return,
    };
    match seen {
        Ok(Ok(true)) => serve_requests(stream, front.routes.clone(), ending).await,
        Ok(Ok(false)) => front.hand_over.give(stream),
        // Nothing came in time, or the client is gone.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Where requests are served that are no probes.
#[derive(Clone)]
struct Elsewhere {
    runtime: Handle,
    routes: Router,
}

/// A request that is no probe, on a connection that began with one. The connection ends with it, so
/// that the client's next one goes where it belongs.
async fn serve_elsewhere(State(elsewhere): State<Elsewhere>, request: Request) -> Response {
    let serving = TowerToHyperService::new(elsewhere.routes).call(request);
    let mut response = match elsewhere.runtime.spawn(serving).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request failed in this router; its log says why.",
        )
        .into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

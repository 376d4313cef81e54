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
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{HEADER_LIMIT, serve_requests};
use super::crowd::{Crowd, Place};
use super::first_line::{self, First};
use super::probes::{self, Probes};
use super::problem::Problem;
use super::server::{self, HandOver};

const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Connections that have not said yet what they want.
pub(super) const MOST_LOOKED_AT: usize = 512;
/// Connections that have asked for a probe: those are kept for it, whoever else comes.
pub(super) const MOST_PROBES: usize = 64;
/// For the answer in hand of a connection that shall end: a probe's is there at once.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Front {
    /// Kept here so that a restart does not lose the port.
    listener: TcpListener,
    routes: Router,
    /// Without it, everything is answered here.
    hand_over: Option<HandOver>,
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
            hand_over: Some(hand_over),
        }
    }

    /// One that has nothing but probes; who wants more gets `otherwise`.
    pub(super) fn of_probes(listener: TcpListener, probes: Probes, otherwise: Problem) -> Self {
        Self {
            listener,
            routes: probes::routes(probes).fallback(async move || otherwise),
            hand_over: None,
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

/// Serves until `stop`, then finishes the requests in hand.
pub(super) async fn serve(front: Arc<Front>, stop: &CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(front.listener.try_clone()?)?;
    let address = listener.local_addr()?;
    if front.hand_over.is_some() {
        tracing::info!(%address, "serving HTTP");
    } else {
        tracing::info!(%address, "serving probes");
    }
    let ending = CancellationToken::new();
    let _end_on_drop = ending.clone().drop_guard();
    let mut looked_at = Crowd::new(MOST_LOOKED_AT, &ending);
    let probes = Arc::new(Mutex::new(Crowd::new(MOST_PROBES, &ending)));
    let open = TaskTracker::new();
    // Nothing in this loop waits for a connection: a probe may be next.
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let place = looked_at.enter();
                    let carried = carry(Arc::clone(&front), stream, place, Arc::clone(&probes));
                    open.spawn(carried);
                }
                // The one that came has gone again.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of file descriptors, for instance: connections that do nothing hold
                    // some. Going on at once would only burn a core.
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    looked_at.end_a_quarter();
                    probes.lock().end_a_quarter();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    drop(listener);
    open.close();
    // Whoever has come already is answered; who listens next at this socket has the others.
    let _ = timeout(GRACE, open.wait()).await;
    ending.cancel();
    open.wait().await;
    Ok(())
}

/// Serves a connection that begins with a probe, and hands over any other.
async fn carry(front: Arc<Front>, stream: TcpStream, place: Place, probes: Arc<Mutex<Crowd>>) {
    let looking = timeout(HEADER_LIMIT, first_line::of(&stream));
    let seen = tokio::select! {
        seen = looking => seen,
        () = place.ending.cancelled() => return,
    };
    // Otherwise nothing came in time, or the client is gone.
    let Ok(Ok(first)) = seen else { return };
    match (first, &front.hand_over) {
        (First::Probe, _) => {
            let kept = probes.lock().enter();
            drop(place);
            let ending = kept.ending.clone();
            serve_requests(stream, front.routes.clone(), ending, GRACE).await;
        }
        (First::Other, Some(hand_over)) => hand_over.give(stream),
        (First::Other, None) => {
            let ending = place.ending.clone();
            serve_requests(stream, front.routes.clone(), ending, GRACE).await;
        }
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

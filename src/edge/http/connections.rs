//! Accepting connections, with a limit on everything that a client could drag out.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Who comes besides takes the place of the oldest.
pub(super) const MOST_CONNECTIONS: usize = 256;
/// From the start of a connection, or the end of the last request, to the end of the next request's headers.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Then a connection gets the chance to end between two requests. Bounds a client that does not read its answer.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// For the request in hand when a connection shall end.
const END_LIMIT: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Returns when `stop` has come and the last connection is closed.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: impl Future<Output = ()>) {
    let ending = CancellationToken::new();
    // Also when this future is dropped.
    let _end_on_drop = ending.clone().drop_guard();
    let open = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let accepting = async {
        let mut oldest = Oldest::default();
        loop {
            let Some((stream, place)) = accept(&listener, &places, &mut oldest).await else {
                continue;
            };
            let (routes, ending) = (routes.clone(), ending.child_token());
            oldest.add(ending.clone());
            open.spawn(async move {
                let _ended = ending.clone().drop_guard();
                serve_connection(stream, routes, ending).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    ending.cancel();
    open.close();
    open.wait().await;
}

/// Somebody who comes when all places are taken has to wait for one, and sees to it that there soon is one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    oldest: &mut Oldest,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    match listener.accept().await {
        Ok((stream, _)) => {
            if places.available_permits() == 0 {
                oldest.end_a_quarter();
            }
            Some((stream, Arc::clone(places).acquire_owned().await.ok()?))
        }
        // The one that came has gone again.
        Err(error) if error.kind() == ErrorKind::ConnectionAborted => None,
        Err(error) => {
            // Out of file descriptors, for instance: connections that do nothing hold some. Going on at once would only
            // burn a core.
            warn!(%error, "cannot accept an HTTP connection");
            oldest.end_a_quarter();
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// How to end connections, in the order of their age: probes come on new ones. Cancelled when they have ended.
#[derive(Default)]
struct Oldest(VecDeque<CancellationToken>);

impl Oldest {
    fn add(&mut self, end: CancellationToken) {
        if self.0.len() >= MOST_CONNECTIONS {
            self.0.retain(|connection| !connection.is_cancelled());
        }
        self.0.push_back(end);
    }

    fn end_a_quarter(&mut self) {
        self.0.retain(|connection| !connection.is_cancelled());
        let count = self.0.len().div_ceil(4);
        self.0
            .drain(..count)
            .for_each(|connection| connection.cancel());
    }
}

async fn serve_connection(stream: TcpStream, routes: Router, ending: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = ending.cancelled() => None,
        () = sleep(LONGEST_CONNECTION) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(END_LIMIT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended early");
    }
}

//! Open connections, with a limit on everything that a client could drag out.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Who comes besides takes the place of the oldest.
const MOST_CONNECTIONS: usize = 256;
/// From the start of a connection, or the end of the last request, to the end of the next request's
/// headers.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Then a connection gets the chance to end between two requests. Bounds a client that does not
/// read its answer.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// For the request in hand when a connection shall end.
pub(super) const END_LIMIT: Duration = Duration::from_secs(2);

/// The connections of one server. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Connections {
    open: TaskTracker,
    places: Arc<Semaphore>,
    oldest: Oldest,
    ending: CancellationToken,
    _end_on_drop: DropGuard,
}

impl Connections {
    pub(super) fn new() -> Self {
        let ending = CancellationToken::new();
        Self {
            open: TaskTracker::new(),
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            oldest: Oldest::default(),
            _end_on_drop: ending.clone().drop_guard(),
            ending,
        }
    }

    /// Has `carry` serve a connection, until the token that it gets says that it shall end. Who
    /// comes when all places are taken has to wait for one, and sees to it that there soon is one.
    pub(super) async fn add<C>(
        &mut self,
        stream: TcpStream,
        carry: impl FnOnce(TcpStream, CancellationToken) -> C,
    ) where
        C: Future<Output = ()> + Send + 'static,
    {
        if self.places.available_permits() == 0 {
            self.oldest.end_a_quarter();
        }
        // Nobody closes the semaphore.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let ending = self.ending.child_token();
        self.oldest.add(ending.clone());
        let carried = carry(stream, ending.clone());
        self.open.spawn(async move {
            let _ended = ending.drop_guard();
            carried.await;
            drop(place);
        });
    }

    /// Ends all, and returns when the last is closed.
    pub(super) async fn end(self) {
        self.ending.cancel();
        self.open.close();
        self.open.wait().await;
    }
}

/// How to end connections, in the order of their age: probes come on new ones. Cancelled when they
/// have ended.
#[derive(Debug, Default)]
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

/// Serves requests until the client goes, or `ending` comes and the request in hand is answered
/// within `grace`.
pub(super) async fn serve_requests(
    stream: TcpStream,
    routes: Router,
    ending: CancellationToken,
    grace: Duration,
) {
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
            timeout(grace, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended early");
    }
}

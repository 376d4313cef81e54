//! Starting an extension inside a process, and the handle that stops it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use beamline_bus::Intake;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::connection::connect;
use crate::discovery::{self, Service};
use crate::extension::Extension;
use crate::server::Server;
use crate::settings::Settings;
use crate::start_error::StartError;
use crate::stats::{Counts, Stats};
use crate::subscription;
use crate::summary::Summary;

const READY_POLL: Duration = Duration::from_millis(20);
const PROBE_LIMIT: Duration = Duration::from_secs(1);

impl Extension {
    /// Serves inside this process on a connection of its own, and returns when the extension
    /// answers requests. While the server cannot be reached it keeps trying; dropping the future
    /// gives up.
    ///
    /// # Errors
    /// When names are invalid, the URL or the credentials are unusable, or the server refuses the
    /// connection for good.
    pub async fn serve(self, settings: &Settings) -> Result<Running, StartError> {
        let running = self.launch(settings).await?;
        running.ready().await;
        Ok(running)
    }

    /// As [`Extension::serve`], on a connection that the caller keeps.
    ///
    /// # Errors
    /// As [`Extension::serve`].
    pub async fn serve_on(
        self,
        client: &Client,
        settings: &Settings,
    ) -> Result<Running, StartError> {
        let running = start(self, client.clone(), settings, Connection::Shared).await?;
        running.ready().await;
        Ok(running)
    }

    /// Starts without waiting for the server. From here on calls may come in, so it must be
    /// stopped and not just dropped.
    pub(crate) async fn launch(self, settings: &Settings) -> Result<Running, StartError> {
        // Before the connection, so that a typo is reported even while the server is away.
        settings.subject_for(self.kind, &self.id)?;
        settings.queue_group_for(&self.id)?;
        let client = connect(&self.id, settings).await?;
        start(self, client, settings, Connection::Own).await
    }
}

/// An extension that answers requests. Dropping it stops it too, without waiting for the drain.
#[derive(Debug)]
pub struct Running {
    subject: String,
    queue_group: String,
    ping_subject: String,
    server: Arc<Server>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    task: JoinHandle<Summary>,
}

impl Running {
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Calls being served at this moment.
    pub fn in_flight(&self) -> usize {
        self.server.tasks.len()
    }

    pub fn counts(&self) -> Counts {
        self.server.stats.counts()
    }

    /// Takes no more work, finishes the work in hand (at most 10 s), flushes, and closes its own
    /// connection.
    pub async fn stop(mut self) -> Summary {
        self.begin_stop();
        self.ended().await
    }

    /// Waits for the end, which comes by [`Running::stop`] or when the connection is closed for
    /// good.
    pub async fn ended(&mut self) -> Summary {
        (&mut self.task).await.unwrap_or_default()
    }

    /// Waits until the server passes requests on to this extension.
    ///
    /// A flush only reaches the socket. An answer to our own ping proves that the server has
    /// processed the subscriptions, because it handles one connection's commands in order.
    pub(crate) async fn ready(&self) {
        let mut waiting_logged = false;
        while !self.answers_ping().await {
            let connected = self.server.client.connection_state() == State::Connected;
            if !connected && !waiting_logged {
                waiting_logged = true;
                info!("waiting for the NATS server");
            }
            sleep(READY_POLL).await;
        }
        info!(
            subject = self.subject,
            queue_group = self.queue_group,
            "serving"
        );
    }

    async fn answers_ping(&self) -> bool {
        let client = &self.server.client;
        if client.connection_state() != State::Connected {
            return false;
        }
        let ping = client.request(self.ping_subject.clone(), "".into());
        matches!(timeout(PROBE_LIMIT, ping).await, Ok(Ok(_)))
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }
}

/// Whose connection an extension serves on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// It ends with the extension.
    Own,
    /// The caller keeps it.
    Shared,
}

async fn start(
    extension: Extension,
    client: Client,
    settings: &Settings,
    connection: Connection,
) -> Result<Running, StartError> {
    let subject = settings.subject_for(extension.kind, &extension.id)?;
    let queue_group = settings.queue_group_for(&extension.id)?;
    let intake = Intake::subscribe(&client, &subject, &queue_group).await?;
    let service = Service::new(&extension, settings, &subject, &queue_group, &client)?;
    let ping_subject = service.own_ping_subject();
    let server = Arc::new(Server {
        id: extension.id,
        client: client.clone(),
        handler: extension.handler,
        stats: Stats::default(),
        abort: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let discovery = discovery::run(service.subscribe().await?, Arc::clone(&server));
    let discovery = tokio::spawn(discovery);
    let stop = CancellationToken::new();
    let max_in_flight = settings.max_in_flight.get();
    let serving = subscription::run(Arc::clone(&server), intake, max_in_flight, stop.clone());
    let task = tokio::spawn(async move {
        let summary = serving.await;
        discovery.abort();
        if connection == Connection::Own {
            let _ = client.drain().await;
        }
        summary
    });
    Ok(Running {
        subject,
        queue_group,
        ping_subject,
        server,
        _stop_on_drop: stop.clone().drop_guard(),
        stop,
        task,
    })
}

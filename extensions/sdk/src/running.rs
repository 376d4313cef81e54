//! Starting extensions inside a process, and the handle that stops them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use beamline_bus::Intake;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::connection::connect;
use crate::discovery::{self, Endpoint, Service};
use crate::extension::Extension;
use crate::program::Program;
use crate::server::Server;
use crate::settings::Settings;
use crate::start_error::StartError;
use crate::stats::{Counts, Stats};
use crate::subscription;
use crate::summary::Summary;

const READY_POLL: Duration = Duration::from_millis(20);
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// So many pings in a row are not lost by chance.
const MANY_PINGS: u32 = 5;

impl Extension {
    /// Serves inside this process on a connection of its own, and returns when the extension
    /// answers requests. While the server cannot be reached it keeps trying; dropping the future
    /// gives up.
    ///
    /// # Errors
    /// When names are invalid, the URL or the credentials are unusable, or the server refuses the
    /// connection for good.
    pub async fn serve(self, settings: &Settings) -> Result<Running, StartError> {
        Program::of(self).serve(settings).await
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
        let running = start(
            Program::of(self),
            client.clone(),
            settings,
            Connection::Shared,
        )
        .await?;
        running.ready().await;
        Ok(running)
    }
}

impl Program {
    /// As [`Extension::serve`], for all its extensions on one connection.
    ///
    /// # Errors
    /// As [`Extension::serve`], and when settings of one extension are given to several.
    pub async fn serve(self, settings: &Settings) -> Result<Running, StartError> {
        let running = self.launch(settings).await?;
        running.ready().await;
        Ok(running)
    }

    /// Starts without waiting for the server. From here on calls may come in, so it must be
    /// stopped and not just dropped.
    pub(crate) async fn launch(self, settings: &Settings) -> Result<Running, StartError> {
        // Before the connection, so that a typo is reported even while the server is away.
        self.endpoints(settings)?;
        let (losses, lost) = watch::channel(());
        let client = connect(&self.name, settings, losses).await?;
        start(self, client, settings, Connection::Own { lost }).await
    }
}

/// Extensions that answer requests. Dropping it stops them too, without waiting for the drain.
#[derive(Debug)]
pub struct Running {
    endpoints: Vec<Endpoint>,
    ping_subject: String,
    client: Client,
    /// In the order of the endpoints.
    servers: Vec<Arc<Server>>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    task: JoinHandle<Summary>,
}

impl Running {
    /// Of the first extension.
    pub fn subject(&self) -> &str {
        self.endpoints.first().map_or("", |first| &first.subject)
    }

    /// Calls being served at this moment.
    pub fn in_flight(&self) -> usize {
        self.servers.iter().map(|server| server.tasks.len()).sum()
    }

    /// Of all its extensions together.
    pub fn counts(&self) -> Counts {
        let each = self.servers.iter().map(|server| server.stats.counts());
        each.fold(Counts::default(), Counts::and)
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

    /// Waits until the server passes requests on to these extensions.
    ///
    /// A flush only reaches the socket. An answer to our own ping proves that the server has
    /// processed the subscriptions, because it handles one connection's commands in order.
    pub(crate) async fn ready(&self) {
        let mut waiting_logged = false;
        let mut in_vain = 0;
        while !self.answers_ping().await {
            let connected = self.client.connection_state() == State::Connected;
            if !connected && !waiting_logged {
                waiting_logged = true;
                info!("waiting for the NATS server");
            }
            in_vain += u32::from(connected);
            if in_vain == MANY_PINGS {
                warn!(
                    subject = self.ping_subject,
                    "no answer to its own ping, though NATS is connected: let this user publish there, answer what it is asked \
                     (allow_responses), and subscribe to its inboxes (--inbox-prefix); calls are served all the same"
                );
            }
            sleep(READY_POLL).await;
        }
        for endpoint in &self.endpoints {
            info!(
                subject = endpoint.subject,
                queue_group = endpoint.queue_group,
                "serving"
            );
        }
    }

    async fn answers_ping(&self) -> bool {
        let client = &self.client;
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

/// Whose connection extensions serve on.
enum Connection {
    /// It ends with them, and says when it is lost.
    Own { lost: watch::Receiver<()> },
    /// The caller keeps it.
    Shared,
}

async fn start(
    program: Program,
    client: Client,
    settings: &Settings,
    connection: Connection,
) -> Result<Running, StartError> {
    let endpoints = program.endpoints(settings)?;
    let lost = match connection {
        Connection::Own { lost } => Some(lost),
        Connection::Shared => None,
    };
    let service = Service::new(&program.name, &endpoints, settings, &client);
    let ping_subject = service.own_ping_subject();
    let stop = CancellationToken::new();
    let mut servers = Vec::with_capacity(endpoints.len());
    let mut serving = Vec::with_capacity(endpoints.len());
    for (extension, endpoint) in program.extensions.into_iter().zip(&endpoints) {
        let intake = Intake::subscribe(&client, &endpoint.subject, &endpoint.queue_group).await?;
        let server = Arc::new(Server {
            id: extension.id,
            client: client.clone(),
            handler: extension.handler,
            stats: Stats::default(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        servers.push(Arc::clone(&server));
        let max_in_flight = settings.max_in_flight.get();
        serving.push(subscription::run(
            server,
            intake,
            max_in_flight,
            lost.clone(),
            stop.clone(),
        ));
    }
    let discovery = discovery::run(service.subscribe().await?, servers.clone());
    let discovery = tokio::spawn(discovery);
    let own = lost.is_some().then(|| client.clone());
    let task = tokio::spawn(async move {
        let summaries = join_all(serving).await;
        discovery.abort();
        if let Some(client) = own {
            let _ = client.drain().await;
        }
        summaries
            .into_iter()
            .reduce(Summary::and)
            .unwrap_or_default()
    });
    Ok(Running {
        endpoints,
        ping_subject,
        client,
        servers,
        _stop_on_drop: stop.clone().drop_guard(),
        stop,
        task,
    })
}

//! The router's one connection to NATS: how it starts, what is known about it, and how it ends.
//!
//! The client reconnects by itself and without end. What it does not do is say no: everything that is handed to it while
//! the server is away waits, and is sent long after its caller has gone. So whoever sends asks `is_connected` first.
//!
//! A client can end for good, because it panics on some headers. Then the connection makes another one; subscriptions
//! are made anew by those who read them (docs/decisions/0005-a-dead-nats-client-is-replaced.md). The same way leads away
//! from a server that announces its end: the next client is there before the one before it is given up
//! (docs/decisions/0016-a-lame-duck-is-left-early.md).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ToServerAddrs};
use beamline_domain::backoff::{Exponential, equal_jitter};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use super::events::{Events, Report};
use super::options::{UnreadableFile, addresses, cause_of, options, place};
use crate::config::NatsConfig;

/// After the server came back, extensions have this long to come back as well.
const SETTLE: Duration = Duration::from_secs(5);
/// One attempt: name lookup, connection and handshake with one server.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
const RECONNECT: Exponential =
    Exponential::doubling(Duration::from_millis(50), Duration::from_secs(1));
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// Routers that hear together that their server is about to end do not all come to the next one together.
const MOVE_JITTER: Duration = Duration::from_secs(2);
/// The event of a connection that stands already.
const EVENT_LIMIT: Duration = Duration::from_secs(1);

/// Why there is no connection. Its text is for people and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    File(#[from] UnreadableFile),
    #[error(
        "the NATS server at {server} refuses these credentials. Set nats.creds_file, nats.token, or nats.user and \
         nats.password."
    )]
    Credentials { server: String },
    #[error("'{server}' is not a NATS address: {cause}. Write it as nats://host:port.")]
    Address { server: String, cause: String },
    #[error(
        "no secure connection to the NATS server at {server}: {cause}. Check the nats.tls settings."
    )]
    Tls { server: String, cause: String },
    #[error(
        "no NATS server answered at {server} within {}: {cause}. Start one, correct nats.url, or wait longer with \
         nats.startup_timeout.", humantime::format_duration(*.waited)
    )]
    Unreachable {
        server: String,
        waited: Duration,
        cause: String,
    },
}

/// The connection, shared by everything that speaks NATS.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    /// The client of the moment.
    client: watch::Sender<Arc<Client>>,
    /// Whether its events count.
    known: Mutex<watch::Sender<bool>>,
    events: Arc<Events>,
    /// Connections that earlier clients made.
    earlier_connects: AtomicU64,
    replacements: AtomicU64,
    late_answers: Arc<AtomicU64>,
    /// After this no client is replaced.
    closing: CancellationToken,
}

/// What the connection is at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    pub connected: bool,
    /// How often it was lost. Between two equal numbers it was never away.
    pub losses: u64,
    /// When it came back last.
    pub(super) back_since: Option<Instant>,
    /// When it was lost, while it is away.
    pub(super) away_since: Option<Instant>,
}

/// Connects within `nats.startup_timeout`, trying again while the server is away.
pub async fn connect(config: &NatsConfig, name: &str) -> Result<Connection, ConnectError> {
    let server = place(&config.url);
    let events = Arc::new(Events::default());
    let deadline = Instant::now() + config.startup_timeout;
    let mut report = Report::default();
    let mut last: Option<async_nats::ConnectError> = None;
    for attempt in 1.. {
        match timeout_at(deadline, NewClient::connect(config, name, &events)).await {
            Ok(Ok(Ok(new))) => {
                return Ok(Connection::new(new, events, config.clone(), name.to_owned()).await);
            }
            Ok(Ok(Err(error))) if is_final(&error) => {
                return Err(explain(server, &error, config.startup_timeout));
            }
            Ok(Ok(Err(error))) => {
                if report.is_due() {
                    warn!(server, error = %cause_of(&error), "no connection to NATS yet, trying again");
                }
                last = Some(error);
            }
            Ok(Err(unreadable)) => return Err(unreadable.into()),
            Err(_elapsed) => break,
        }
        if timeout_at(deadline, sleep(backoff(attempt))).await.is_err() {
            break;
        }
    }
    Err(match last {
        Some(error) => explain(server, &error, config.startup_timeout),
        None => {
            let cause = "it accepts no connection".to_owned();
            ConnectError::Unreachable {
                server,
                waited: config.startup_timeout,
                cause,
            }
        }
    })
}

/// True for what waiting does not cure.
fn is_final(error: &async_nats::ConnectError) -> bool {
    match error.kind() {
        ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::ServerParse
        | ConnectErrorKind::MaxReconnects => true,
        // A server that starts, or a certificate that is being replaced, may do better in a moment.
        ConnectErrorKind::Tls
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io => false,
    }
}

fn explain(server: String, error: &async_nats::ConnectError, waited: Duration) -> ConnectError {
    let cause = cause_of(error).to_string();
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Credentials { server }
        }
        ConnectErrorKind::ServerParse => ConnectError::Address { server, cause },
        ConnectErrorKind::Tls => ConnectError::Tls { server, cause },
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectError::Unreachable {
            server,
            waited,
            cause,
        },
    }
}

/// A client that nobody knows yet. Its events wait until it is the connection's, or they would be taken for those of the
/// client before it.
struct NewClient {
    client: Client,
    /// Cancelled when the client has ended, whatever the reason.
    ended: CancellationToken,
    known: watch::Sender<bool>,
}

impl NewClient {
    async fn connect(
        config: &NatsConfig,
        name: &str,
        events: &Arc<Events>,
    ) -> Result<Result<Self, async_nats::ConnectError>, UnreadableFile> {
        Self::connect_to(addresses(&config.url), config, name, events).await
    }

    async fn connect_to(
        servers: impl ToServerAddrs,
        config: &NatsConfig,
        name: &str,
        events: &Arc<Events>,
    ) -> Result<Result<Self, async_nats::ConnectError>, UnreadableFile> {
        let (known, is_known) = watch::channel(false);
        let ended = CancellationToken::new();
        let options = options(config, name).await?;
        let options = with_events(
            options,
            Arc::clone(events),
            is_known,
            ended.clone().drop_guard(),
        );
        let connected = options.connect(servers).await;
        Ok(connected.map(|client| Self {
            client,
            ended,
            known,
        }))
    }
}

/// The client drops its callback when no event can come any more, and `until_ended` with it. Nothing else tells of a
/// panic in its task: its state stays "connected".
fn with_events(
    options: ConnectOptions,
    events: Arc<Events>,
    is_known: watch::Receiver<bool>,
    until_ended: DropGuard,
) -> ConnectOptions {
    options
        .connection_timeout(ATTEMPT_LIMIT)
        .reconnect_delay_callback(|attempt| backoff(u32::try_from(attempt).unwrap_or(u32::MAX)))
        .event_callback(move |event| {
            let _kept = &until_ended;
            let (events, mut is_known) = (Arc::clone(&events), is_known.clone());
            async move {
                let known = is_known.wait_for(|known| *known).await.is_ok();
                if known {
                    events.take(&event);
                }
            }
        })
}

/// Routers that lost the same server do not come back in step.
fn backoff(attempt: u32) -> Duration {
    equal_jitter(RECONNECT.wait(attempt), fastrand::f64())
}

impl Connection {
    async fn new(new: NewClient, events: Arc<Events>, config: NatsConfig, name: String) -> Self {
        let client = Arc::new(new.client);
        *events.client.lock() = Arc::downgrade(&client);
        let shared = Arc::new(Shared {
            client: watch::Sender::new(client),
            known: Mutex::new(new.known),
            events,
            earlier_connects: AtomicU64::new(0),
            replacements: AtomicU64::new(0),
            late_answers: Arc::default(),
            closing: CancellationToken::new(),
        });
        shared.known.lock().send_replace(true);
        tokio::spawn(replace(Arc::downgrade(&shared), config, name, new.ended));
        let _ = timeout(
            EVENT_LIMIT,
            shared
                .events
                .link
                .subscribe()
                .wait_for(|link| link.connected),
        )
        .await;
        Self { shared }
    }

    /// The client of the moment: to be asked for again, not to be kept. What it is given while the connection is away, it
    /// sends later; after its own end it refuses everything.
    pub fn client(&self) -> Arc<Client> {
        Arc::clone(&self.shared.client.borrow())
    }

    /// The client that comes after one that has ended, or whose server is about to. Waits for the server as long as it is away, like a client that
    /// lives, and so for ever when the connection is closed.
    pub async fn client_after(&self, ended: &Arc<Client>) -> Arc<Client> {
        let mut clients = self.shared.client.subscribe();
        match clients.wait_for(|client| !Arc::ptr_eq(client, ended)).await {
            Ok(client) => Arc::clone(&client),
            // The sender lives as long as this connection.
            Err(_) => self.client(),
        }
    }

    /// False while extensions that lost the same server may still be on their way back: clients wait up to 4 s between two
    /// attempts.
    pub fn is_settled(&self) -> bool {
        self.shared
            .events
            .link
            .borrow()
            .back_since
            .is_none_or(|since| since.elapsed() > SETTLE)
    }

    /// False from the moment in which a loss was noticed until the connection stands again.
    pub fn is_connected(&self) -> bool {
        // The client's own state is ahead of its events, but it stays "connected" after the end.
        self.shared.client.borrow().connection_state() == State::Connected
            && self.shared.events.link.borrow().connected
    }

    /// How long it has been away; `None` while it stands.
    pub fn away_for(&self) -> Option<Duration> {
        let away_since = self.shared.events.link.borrow().away_since;
        // A loss that was not told yet is a new one.
        (!self.is_connected()).then(|| away_since.map(|since| since.elapsed()).unwrap_or_default())
    }

    /// Resolves when it stands.
    pub async fn back(&self) {
        let mut link = self.link();
        loop {
            // Seen before the question, so that a change after it is not missed.
            link.mark_unchanged();
            if self.is_connected() || link.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells of every loss and return.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.events.link.subscribe()
    }

    /// Answers to calls that nobody waited for any more.
    pub fn late_answers(&self) -> u64 {
        self.shared.late_answers.load(Ordering::Relaxed)
    }

    /// Where those are counted. Not the connection itself: who reads from it must not keep it.
    pub(super) fn late_answer_count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.late_answers)
    }

    /// Subjects that calls are denied by the server, from now on.
    pub(super) fn denied_subjects(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.events.denials.publishing()
    }

    /// Whether the server has denied a subscription that `matters`.
    pub fn subscription_denied(&self, matters: impl Fn(&str) -> bool) -> bool {
        self.shared.events.denials.subscription_denied(matters)
    }

    /// How often the connection came back, with the same client or another.
    pub fn reconnects(&self) -> u64 {
        let connects = connects(&self.shared.client.borrow());
        (self.shared.earlier_connects.load(Ordering::Relaxed) + connects).saturating_sub(1)
    }

    /// How often another client took the place of one that had ended, or whose server was about to.
    pub fn replacements(&self) -> u64 {
        self.shared.replacements.load(Ordering::Relaxed)
    }

    /// How often a message was dropped because its subscription was full; each may be a request that nobody answers.
    pub fn slow_consumer_events(&self) -> u64 {
        self.shared.events.slow_consumers.load(Ordering::Relaxed)
    }

    /// Somebody has called [`Self::close`]: what ends now, ends as it should.
    pub(super) fn is_closing(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// Writes what is queued, then ends the connection. To be called after the last answer: subscriptions end here, and
    /// what is answered later reaches nobody. False when something that was queued may not have been written.
    pub async fn close(&self) -> bool {
        self.shared.closing.cancel();
        if !self.is_connected() {
            return false;
        }
        let client = self.client();
        let flushed = matches!(timeout(FLUSH_LIMIT, client.flush()).await, Ok(Ok(())));
        let mut link = self.link();
        let ending = async {
            if client.drain().await.is_ok() {
                let _ = link.wait_for(|link| !link.connected).await;
            }
        };
        flushed && timeout(DRAIN_LIMIT, ending).await.is_ok()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("link", &*self.shared.events.link.borrow())
            .finish_non_exhaustive()
    }
}

fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

/// Waits for the end of each client, or of its server, and puts another in its place, for as long as somebody has the
/// connection.
async fn replace(
    connection: Weak<Shared>,
    config: NatsConfig,
    name: String,
    mut ended: CancellationToken,
) {
    let Some(events) = connection
        .upgrade()
        .map(|shared| Arc::clone(&shared.events))
    else {
        return;
    };
    loop {
        tokio::select! {
            () = ended.cancelled() => {}
            () = events.lame_duck.notified() => {
                if let Some(next) = ended.run_until_cancelled(move_over(&connection, &config, &name)).await.flatten() {
                    ended = next;
                }
                continue;
            }
        }
        let Some(shared) = connection.upgrade() else {
            return;
        };
        let closing = shared.closing.clone();
        let client = Arc::clone(&shared.client.borrow());
        drop(shared);
        // Fails when its queue is gone too: what is sent after the loss is told is refused, and not swallowed.
        let _ = timeout(FLUSH_LIMIT, client.flush()).await;
        drop(client);
        events.lost();
        if closing.is_cancelled() {
            return;
        }
        warn!(
            "the NATS client has ended, as it does on a header that it cannot read: connecting another"
        );
        let new = tokio::select! {
            new = next(&connection, &config, &name, &events) => new,
            () = closing.cancelled() => return,
        };
        let (Some(new), Some(shared)) = (new, connection.upgrade()) else {
            return;
        };
        ended = new.ended.clone();
        shared.put(new);
    }
}

/// Connects to another server while the one that is about to end still serves, and answers when the new client ends.
/// Without another one the client stays: it looks for one by itself when it is turned out.
async fn move_over(
    connection: &Weak<Shared>,
    config: &NatsConfig,
    name: &str,
) -> Option<CancellationToken> {
    sleep(MOVE_JITTER.mul_f64(fastrand::f64())).await;
    for attempt in 1.. {
        let shared = connection.upgrade()?;
        let client = Arc::clone(&shared.client.borrow());
        if shared.closing.is_cancelled() || client.connection_state() != State::Connected {
            return None;
        }
        // Also servers that only the cluster has told of. The lame duck itself takes no new connections.
        let pool = timeout(ATTEMPT_LIMIT, client.server_pool())
            .await
            .ok()?
            .ok()?;
        let servers: Vec<_> = pool.into_iter().map(|server| server.addr).collect();
        match timeout(
            ATTEMPT_LIMIT,
            NewClient::connect_to(servers, config, name, &shared.events),
        )
        .await
        {
            Ok(Ok(Ok(new))) => {
                let ended = new.ended.clone();
                shared.events.moves.store(true, Ordering::Relaxed);
                shared.put(new);
                info!("moved to another NATS server before the last one ends");
                return Some(ended);
            }
            Ok(Ok(Err(error))) => debug!(error = %cause_of(&error), "no other NATS server yet"),
            Ok(Err(error)) => debug!(%error, "no other NATS server yet"),
            Err(_elapsed) => debug!("no other NATS server answers yet"),
        }
        drop((client, shared));
        sleep(backoff(attempt)).await;
    }
    None
}

/// Connects a client, however long the server is away. Nothing when the connection is gone.
async fn next(
    connection: &Weak<Shared>,
    config: &NatsConfig,
    name: &str,
    events: &Arc<Events>,
) -> Option<NewClient> {
    let servers = addresses(&config.url).len();
    let limit = ATTEMPT_LIMIT.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX));
    let mut report = Report::default();
    for attempt in 1.. {
        // Before the first attempt too: who sends such headers in a row does not get a connection for each.
        sleep(backoff(attempt)).await;
        if connection.strong_count() == 0 {
            return None;
        }
        let failure = match timeout(limit, NewClient::connect(config, name, events)).await {
            Ok(Ok(Ok(new))) => return Some(new),
            Ok(Ok(Err(error))) => cause_of(&error).to_string(),
            Ok(Err(unreadable)) => unreadable.to_string(),
            Err(_elapsed) => "it accepts no connection".to_owned(),
        };
        if report.is_due() {
            warn!(
                server = place(&config.url),
                error = failure,
                "no connection to NATS yet, trying again"
            );
        }
    }
    None
}

impl Shared {
    fn put(&self, new: NewClient) {
        let client = Arc::new(new.client);
        // From here on the end of the client before is no loss.
        std::mem::replace(&mut *self.known.lock(), new.known).send_replace(false);
        *self.events.client.lock() = Arc::downgrade(&client);
        let before = self.client.send_replace(client);
        self.earlier_connects
            .fetch_add(connects(&before), Ordering::Relaxed);
        let replacements = self.replacements.fetch_add(1, Ordering::Relaxed) + 1;
        info!(
            replacements,
            "another NATS client took the place of the one before"
        );
        self.known.lock().send_replace(true);
    }
}

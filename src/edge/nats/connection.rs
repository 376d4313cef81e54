//! One connection of the router to NATS: how it starts, what is known about it, and how it ends.
//!
//! The client reconnects by itself and without end. What it does not do is say no: everything that
//! is handed to it while the server is away waits, and is sent long after its caller has gone. So
//! whoever sends asks `is_connected` first.
//!
//! A client can end for good, because it panics on some headers. Then the connection makes another
//! one; subscriptions are made anew by those who read them
//! (docs/decisions/0005-a-dead-nats-client-is-replaced.md). The same way leads away from a server
//! that announces its end: the next client is there before the one before it is given up
//! (docs/decisions/0016-a-lame-duck-is-left-early.md).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use beamline_actors::tree::{Child, Node};
use beamline_bus::Secret;
use beamline_contract::subject;
use beamline_domain::backoff::{Exponential, equal_jitter};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::events::{AwayReports, Events};
use super::forgeries::Forgeries;
use crate::config::NatsConfig;

mod client;
mod replacement;
mod start;

use client::{Hold, NewClient};

pub use start::ConnectError;
pub(super) use start::connect;

/// After the server came back, extensions have this long to come back as well.
const SETTLE: Duration = Duration::from_secs(5);
const RECONNECT: Exponential =
    Exponential::doubling(Duration::from_millis(50), Duration::from_secs(1));
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// A message to ourselves that has not come back by then is lost.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
const CONFIRM_PAUSE: Duration = Duration::from_millis(20);
/// The event of a connection that stands already.
const EVENT_LIMIT: Duration = Duration::from_secs(1);

/// The connection, shared by everything that speaks NATS.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    config: NatsConfig,
    /// As the server shows it.
    name: String,
    /// The client of the moment.
    client: watch::Sender<Arc<Client>>,
    hold: Mutex<Hold>,
    events: Arc<Events>,
    /// Connections that earlier clients made.
    earlier_connects: AtomicU64,
    replacements: AtomicU64,
    /// Messages that nobody can read, each of which ended it or another of its door.
    unreadable: Arc<AtomicU64>,
    forgeries: Arc<Forgeries>,
    /// After this no client is replaced.
    closing: CancellationToken,
    node: Arc<Node>,
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

/// What a connection is for, and what it shares with the others of its router.
#[derive(Debug, Clone)]
pub(super) struct Purpose {
    /// As the server shows it.
    pub(super) name: String,
    /// In the tree.
    pub(super) node: Arc<Node>,
    pub(super) forgeries: Arc<Forgeries>,
    pub(super) away_reports: Arc<AwayReports>,
    /// Messages that nobody can read, of all connections of its door.
    pub(super) unreadable: Arc<AtomicU64>,
}

/// Routers that lost the same server do not come back in step.
fn backoff(attempt: u32) -> Duration {
    equal_jitter(RECONNECT.wait(attempt), fastrand::f64())
}

impl Connection {
    async fn new(
        new: NewClient,
        events: Arc<Events>,
        config: NatsConfig,
        purpose: Purpose,
    ) -> Self {
        let client = Arc::new(new.client);
        *events.client.lock() = Arc::downgrade(&client);
        let shared = Arc::new(Shared {
            config,
            name: purpose.name,
            client: watch::Sender::new(client),
            hold: Mutex::new(new.hold),
            events,
            earlier_connects: AtomicU64::new(0),
            replacements: AtomicU64::new(0),
            unreadable: purpose.unreadable,
            forgeries: purpose.forgeries,
            closing: CancellationToken::new(),
            node: purpose.node,
        });
        shared.hold.lock().known.send_replace(true);
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

    /// The task that puts another client in the place of one that has ended. Until it runs, nobody
    /// does.
    pub fn child(&self) -> Child {
        let shared = Arc::clone(&self.shared);
        Child::task_until_done(&self.shared.node, move || {
            replacement::keep(Arc::clone(&shared))
        })
    }

    /// Does what its [`Self::child`] does, for a connection that has none.
    pub(super) fn keep(&self) -> impl Future<Output = ()> + Send + use<> {
        replacement::keep(Arc::clone(&self.shared))
    }

    /// The client of the moment: to be asked for again, not to be kept. What it is given while the
    /// connection is away, it sends later; after its own end it refuses everything.
    pub fn client(&self) -> Arc<Client> {
        Arc::clone(&self.shared.client.borrow())
    }

    /// The client that comes after one that has ended, or whose server is about to. Waits for the
    /// server as long as it is away, like a client that lives, and so for ever when the connection
    /// is closed.
    pub async fn client_after(&self, ended: &Arc<Client>) -> Arc<Client> {
        let mut clients = self.shared.client.subscribe();
        match clients.wait_for(|client| !Arc::ptr_eq(client, ended)).await {
            Ok(client) => Arc::clone(&client),
            // The sender lives as long as this connection.
            Err(_) => self.client(),
        }
    }

    /// False while extensions that lost the same server may still be on their way back: clients
    /// wait up to 4 s between two attempts.
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

    /// Whether it is the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What it is for, as its node is named.
    pub(super) fn purpose(&self) -> &str {
        self.shared.node.name()
    }

    /// The server that it stands on, or stood on last.
    pub(super) fn server(&self) -> String {
        self.client().server_info().server_id
    }

    /// A place for answers that nobody can guess.
    pub(super) fn new_inbox(&self) -> String {
        let config = &self.shared.config;
        let start = subject::router_inboxes(&config.inbox_prefix, &config.subject_prefix);
        format!("{start}.{}", Secret::random().token())
    }

    /// Where answers are counted that nobody asked for. Not the connection itself: who reads from
    /// it must not keep it.
    pub(super) fn forgeries(&self) -> Arc<Forgeries> {
        Arc::clone(&self.shared.forgeries)
    }

    /// Messages that ended connections of its door because nobody can read them.
    pub fn unreadable(&self) -> u64 {
        self.shared.unreadable.load(Ordering::Relaxed)
    }

    pub(super) fn count_unreadable(&self, messages: u64) {
        self.shared
            .unreadable
            .fetch_add(messages, Ordering::Relaxed);
    }

    /// Subjects that calls are denied by the server, from now on.
    pub(super) fn denied_subjects(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.events.denials.publishing()
    }

    /// Whether the server has denied a subscription.
    pub fn subscription_denied(&self) -> bool {
        self.shared.events.denials.subscription_denied()
    }

    /// What the server has denied, as the end of "does not let this router ..".
    pub(super) fn denied(&self) -> Vec<String> {
        self.shared.events.denials.all()
    }

    /// Resolves when a message to ourselves has come back: the server has all that was sent before
    /// it. Tries again for as long as none does.
    pub(super) async fn confirm(&self) {
        while timeout(CONFIRM_AGAIN, self.own_message()).await != Ok(true) {
            sleep(CONFIRM_PAUSE).await;
        }
    }

    async fn own_message(&self) -> bool {
        let client = self.client();
        let inbox = self.new_inbox();
        let Ok(mut own) = client.subscribe(inbox.clone()).await else {
            return false;
        };
        client.publish(inbox, "ready".into()).await.is_ok() && own.next().await.is_some()
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

    /// How often a message was dropped because its subscription was full; each may be a request
    /// that nobody answers.
    pub fn slow_consumer_events(&self) -> u64 {
        self.shared.events.slow_consumers.load(Ordering::Relaxed)
    }

    /// Somebody has called [`Self::close`]: what ends now, ends as it should.
    pub(super) fn is_closing(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// Writes what is queued, then ends the connection. To be called after the last answer:
    /// subscriptions end here, and what is answered later reaches nobody. False when something that
    /// was queued may not have been written.
    pub async fn close(&self) -> bool {
        self.shared.closing.cancel();
        if !self.is_connected() {
            return false;
        }
        let client = self.client();
        let flushed = matches!(timeout(FLUSH_LIMIT, client.flush()).await, Ok(Ok(())));
        let ended = self.shared.hold.lock().ended.clone();
        let ending = async {
            if client.drain().await.is_ok() {
                ended.cancelled().await;
            }
        };
        let has_ended = timeout(DRAIN_LIMIT, ending).await.is_ok();
        self.shared.events.lost();
        flushed && has_ended
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

impl Shared {
    fn put(&self, new: NewClient) {
        let client = Arc::new(new.client);
        // From here on the end of the client before is no loss.
        let before = std::mem::replace(&mut *self.hold.lock(), new.hold);
        before.known.send_replace(false);
        *self.events.client.lock() = Arc::downgrade(&client);
        let before = self.client.send_replace(client);
        self.earlier_connects
            .fetch_add(connects(&before), Ordering::Relaxed);
        let replacements = self.replacements.fetch_add(1, Ordering::Relaxed) + 1;
        info!(
            replacements,
            "another NATS client took the place of the one before"
        );
        self.hold.lock().known.send_replace(true);
    }
}

//! One client of the NATS library, before it is that of a connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, ToServerAddrs};
use beamline_contract::subject;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::backoff;
use crate::config::NatsConfig;
use crate::edge::nats::events::Events;
use crate::edge::nats::options::{UnreadableFile, addresses, options};

/// One attempt: name lookup, connection and handshake with one server.
pub(super) const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);

/// A client that nobody knows yet. Its events wait until it is the connection's, or they would be
/// taken for those of the client before it.
pub(super) struct NewClient {
    pub(super) client: Client,
    pub(super) hold: Hold,
}

/// What a connection keeps of its client besides.
pub(super) struct Hold {
    /// Cancelled when the client has ended, whatever the reason.
    pub(super) ended: CancellationToken,
    /// Whether its events count.
    pub(super) known: watch::Sender<bool>,
}

impl NewClient {
    pub(super) async fn connect(
        config: &NatsConfig,
        name: &str,
        events: &Arc<Events>,
    ) -> Result<Result<Self, async_nats::ConnectError>, UnreadableFile> {
        Self::connect_to(addresses(&config.url), config, name, events).await
    }

    pub(super) async fn connect_to(
        servers: impl ToServerAddrs,
        config: &NatsConfig,
        name: &str,
        events: &Arc<Events>,
    ) -> Result<Result<Self, async_nats::ConnectError>, UnreadableFile> {
        let (known, is_known) = watch::channel(false);
        let ended = CancellationToken::new();
        let options = options(config, name).await?;
        let inboxes = subject::router_inboxes(&config.inbox_prefix, &config.subject_prefix);
        let options = with_events(
            options.custom_inbox_prefix(inboxes),
            Arc::clone(events),
            is_known,
            ended.clone().drop_guard(),
        );
        let connected = options.connect(servers).await;
        Ok(connected.map(|client| Self {
            client,
            hold: Hold { ended, known },
        }))
    }
}

/// The client drops its callback when no event can come any more, and `until_ended` with it.
/// Nothing else tells of a panic in its task: its state stays "connected".
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
            let events = Arc::clone(&events);
            let mut is_known = is_known.clone();
            async move {
                let known = is_known.wait_for(|known| *known).await.is_ok();
                if known {
                    events.take(&event);
                }
            }
        })
}

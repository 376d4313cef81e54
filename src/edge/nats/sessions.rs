//! Sticky sessions in a JetStream key-value bucket, so that every replica knows them and a restart
//! forgets none.
//!
//! A value holds its own expiry, because servers before 2.11 have none per key and the TTL is a
//! policy's; the bucket's `max_age` only clears away what nobody has used for longer than any
//! policy allows.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::push::{Config as FollowConfig, Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::context::{
    ContextBuilder, GetStreamError, GetStreamErrorKind, KeyValueError,
};
use async_nats::jetstream::stream::{self, DiscardPolicy, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{ErrorCode, kv};
use beamline_actors::ports::{SessionChange, SessionStore, SessionStoreError};
use beamline_domain::session::{Pin, SessionKey, Stored};
use futures_util::future::{BoxFuture, pending};
use futures_util::stream::{BoxStream, unfold};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::connection::{Connection, Link};
use super::options::cause_of;
use crate::config::NatsConfig;

/// A policy's TTL is a week at most.
const MAX_AGE: Duration = Duration::from_secs(8 * 86_400);
/// Callers wait less; this ends what the client still does for a caller that has gone.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Two of these without a sign of life mean that changes may be missed.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The bucket of sticky sessions.
#[derive(Debug)]
pub struct NatsSessions {
    connection: Connection,
    bucket: String,
    replicas: usize,
    opened: Mutex<Option<Opened>>,
}

/// The bucket as one client sees it.
#[derive(Debug, Clone)]
struct Opened {
    client: Arc<Client>,
    bucket: kv::Store,
}

impl NatsSessions {
    /// Asks nothing of the server yet.
    pub fn new(connection: Connection, config: &NatsConfig) -> Arc<Self> {
        let bucket = config.sessions_bucket.clone();
        let replicas = config.sessions_replicas;
        Arc::new(Self {
            connection,
            bucket,
            replicas,
            opened: Mutex::default(),
        })
    }

    async fn open(&self) -> Result<BoxStream<'static, SessionChange>, SessionStoreError> {
        let mut link = self.connection.link();
        let losses = link.borrow_and_update().losses;
        let client = self.client()?;
        let bucket = self.bucket(&client).await?;
        let follow = FollowConfig {
            deliver_subject: self.connection.new_inbox(),
            description: Some("keeps a replica's memory of sticky sessions in step".to_owned()),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            filter_subject: format!("{}>", bucket.prefix),
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            ..FollowConfig::default()
        };
        let consumer = bucket
            .stream
            .create_consumer(follow)
            .await
            .map_err(|error| self.refused(&error))?;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| self.refused(&error))?;
        let prefix = bucket.prefix.clone();
        let connection = self.connection.clone();
        *self.opened.lock() = Some(Opened {
            client: Arc::clone(&client),
            bucket,
        });
        let follower = Follower {
            messages,
            prefix,
            delivered: 0,
            client,
            connection,
            link,
            losses,
        };
        Ok(unfold(follower, Follower::next).boxed())
    }

    /// Made unless it is there. One that is there keeps its settings: they are its owner's.
    async fn bucket(&self, client: &Arc<Client>) -> Result<kv::Store, SessionStoreError> {
        let context = ContextBuilder::new()
            .timeout(REQUEST_LIMIT)
            .ack_timeout(REQUEST_LIMIT)
            .build(Client::clone(client));
        match context.get_key_value(&self.bucket).await {
            Err(error) if is_missing(&error) => {}
            found => return found.map_err(|error| self.refused(&error)),
        }
        context
            .create_stream(self.stream())
            .await
            .map_err(|error| self.refused(&error))?;
        context
            .get_key_value(&self.bucket)
            .await
            .map_err(|error| self.refused(&error))
    }

    /// The stream of a key-value bucket. The client's own function for it asks for the account
    /// first, and does not understand what servers before 2.10 answer.
    fn stream(&self) -> stream::Config {
        stream::Config {
            name: format!("KV_{}", self.bucket),
            description: Some(
                "Beamline Router: which provider has which sticky session".to_owned(),
            ),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            max_messages_per_subject: 1,
            max_age: MAX_AGE,
            storage: StorageType::File,
            num_replicas: self.replicas,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..stream::Config::default()
        }
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Stored>, SessionStoreError> {
        let bucket = self.opened()?.bucket;
        let subject = format!("{}{}", bucket.prefix, key.as_str());
        // From the leader: the bucket's own read may come from a server that has not heard of the
        // last write.
        match bucket
            .stream
            .get_last_raw_message_by_subject(&subject)
            .await
        {
            Ok(message) => Ok(Some(Stored {
                pin: read(&message.payload),
                revision: message.sequence,
            })),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::InvalidSubject
                | LastRawMessageErrorKind::JetStream(_)
                | LastRawMessageErrorKind::Other => Err(self.refused(&error)),
            },
        }
    }

    async fn put(
        &self,
        key: &SessionKey,
        pin: &Pin,
        over: Option<u64>,
    ) -> Result<u64, SessionStoreError> {
        let bucket = self.opened()?.bucket;
        let value = serde_json::to_vec(pin).map_err(|error| self.refused(&error))?;
        bucket
            .update(key.as_str(), value.into(), over.unwrap_or_default())
            .await
            .map_err(|error| match error.kind() {
                kv::UpdateErrorKind::WrongLastRevision => SessionStoreError::Conflict,
                kv::UpdateErrorKind::InvalidKey
                | kv::UpdateErrorKind::TimedOut
                | kv::UpdateErrorKind::Other => self.refused(&error),
            })
    }

    /// What was opened over another client is of no use: that client is dead.
    fn opened(&self) -> Result<Opened, SessionStoreError> {
        let client = self.client()?;
        let opened = self
            .opened
            .lock()
            .clone()
            .filter(|opened| Arc::ptr_eq(&opened.client, &client));
        opened.ok_or_else(|| {
            SessionStoreError::Away(
                "the NATS client was replaced; its bucket is not open yet".into(),
            )
        })
    }

    /// What a client is given during an outage, it would send after its end.
    fn client(&self) -> Result<Arc<Client>, SessionStoreError> {
        let connected = self
            .connection
            .is_connected()
            .then(|| self.connection.client());
        connected.ok_or_else(|| SessionStoreError::Away("NATS is not connected".into()))
    }

    fn refused(&self, error: &(impl Error + 'static)) -> SessionStoreError {
        SessionStoreError::Away(format!(
            "JetStream does not keep the bucket {bucket}: {}. Start nats-server with -js and -sd DIRECTORY, and let the \
             router's user publish to $JS.API.> and $KV.{bucket}.>",
            cause_of(error),
            bucket = self.bucket,
        ))
    }
}

impl SessionStore for NatsSessions {
    fn reachable(&self) -> BoxFuture<'_, ()> {
        let mut link = self.connection.link();
        async move { drop(link.wait_for(|link| link.connected).await) }.boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<BoxStream<'static, SessionChange>, SessionStoreError>> {
        self.open().boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a SessionKey,
    ) -> BoxFuture<'a, Result<Option<Stored>, SessionStoreError>> {
        self.get(key).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a SessionKey,
        pin: &'a Pin,
        over: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, SessionStoreError>> {
        self.put(key, pin, over).boxed()
    }
}

/// Reads what is written to the bucket. The bucket's own watch makes its consumer anew without a
/// word, for ever; here a gap, silence, another client or a lost connection ends it, so that nobody
/// answers from a memory that may be behind.
struct Follower {
    messages: Messages,
    prefix: String,
    delivered: u64,
    client: Arc<Client>,
    connection: Connection,
    link: watch::Receiver<Link>,
    losses: u64,
}

impl Follower {
    async fn next(mut self) -> Option<(SessionChange, Self)> {
        let change = self.change().await;
        if change.is_none() && self.connection.is_closing() {
            // A router that stops has lost nothing.
            pending::<()>().await;
        }
        Some((change?, self))
    }

    async fn change(&mut self) -> Option<SessionChange> {
        loop {
            let losses = self.losses;
            let message = tokio::select! {
                biased;
                _ = self.link.wait_for(|link| !link.connected || link.losses != losses) => return None,
                _ = self.connection.client_after(&self.client) => return None,
                message = self.messages.next() => message?.ok()?,
            };
            let info = message.info().ok()?;
            let revision = info.stream_sequence;
            let delivered = info.consumer_sequence;
            if delivered != self.delivered + 1 {
                return None;
            }
            self.delivered = delivered;
            // A key that no router wrote is nobody's session.
            let key = message
                .subject
                .strip_prefix(&self.prefix)
                .and_then(SessionKey::parse);
            if let Some(key) = key {
                return Some(SessionChange {
                    key,
                    stored: Stored {
                        pin: read(&message.payload),
                        revision,
                    },
                });
            }
        }
    }
}

fn is_missing(error: &KeyValueError) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<GetStreamError>());
    cause.is_some_and(|error| match error.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        GetStreamErrorKind::EmptyName
        | GetStreamErrorKind::Request
        | GetStreamErrorKind::InvalidStreamName => false,
    })
}

/// A deleted entry has no value.
fn read(value: &[u8]) -> Pin {
    serde_json::from_slice(value).unwrap_or_else(|_| Pin::dead())
}

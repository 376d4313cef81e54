//! The three interfaces to the world: the store of extensions and policies, the transport that
//! calls extensions, and the store of sticky sessions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beamline_contract::trace::Carried;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use beamline_contract::record::ExtensionRecord;
use beamline_domain::fleet::{FleetKey, FleetKeys};
use beamline_domain::keys::StoredKey;
use beamline_domain::record::SubjectListener;
pub use beamline_domain::request::endpoint::{Answer, TransportError};
use beamline_domain::session::{Pin, SessionKey, Stored};
use beamline_domain::snapshot::{Content, StoredPolicy};
use beamline_domain::target::health::Figures;

/// Where extensions and policies are kept. Every method has its own time limit and fails with
/// [`StoreError::Unavailable`] rather than wait longer.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The store's present revision; every write adds one. Cheap: this is what the poll asks for.
    fn revision(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Everything at one revision, read in one transaction; the keys of the replicas are not
    /// among it.
    fn load(&self) -> BoxFuture<'_, Result<Content, StoreError>>;

    /// Changes whenever the store says "look again". A hint only: it may be missed, and it may be
    /// wrong. It also changes when a lost connection was restored.
    fn hints(&self) -> watch::Receiver<u64>;

    /// Writes one change together with its audit row, in one transaction, and answers the new
    /// revision. After [`StoreError::Unknown`] only a look tells whether it was made; after any
    /// other error it was not.
    fn write(&self, change: Change, by: Author) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Marks a signed write as taken that changed nothing; [`StoreError::Replayed`] when it was
    /// marked before.
    fn spend<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes how extensions do, as `replica` sees it. Lines of extensions that are gone are left
    /// out, and what no replica wrote for a day is forgotten. No revision, no audit.
    fn write_health<'a>(
        &'a self,
        replica: &'a str,
        lines: &'a [HealthLine],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The keys by which replicas know each other. A store that has none yet, or does not show
    /// them, is no reason not to serve.
    fn fleet_keys(&self) -> BoxFuture<'_, Result<FleetKeys, StoreError>>;

    /// Adds the next one, and forgets those before the last. False when another replica was first.
    /// No revision, no audit.
    fn add_fleet_key<'a>(&'a self, key: &'a FleetKey) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Closes what is open.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// How one extension does, or one version or instance of it.
#[derive(Debug, Clone)]
pub struct HealthLine {
    pub extension_id: Arc<str>,
    /// Who took the calls, and on which subject; `None` of all of them together.
    pub target: Option<(Arc<str>, SubjectListener)>,
    pub figures: Figures,
}

/// One change of the registry. What it holds has been checked.
#[derive(Debug, Clone)]
pub enum Change {
    /// [`StoreError::Conflict`] when the id is taken.
    CreateExtension(ExtensionRecord),
    /// Replaces the record with its versions and instances; [`StoreError::NotFound`] when there is
    /// none.
    UpdateExtension(ExtensionRecord),
    /// Deletes the record with its versions and instances; its audit rows stay.
    DeleteExtension {
        id: String,
    },
    /// Creates or replaces.
    PutPolicy(StoredPolicy),
    DeletePolicy {
        tenant_id: String,
        policy_id: String,
    },
    /// [`StoreError::Conflict`] when the id is taken.
    CreateKey(StoredKey),
    /// Puts another key beside it, and lets it expire.
    RotateKey {
        id: String,
        /// Milliseconds since 1970.
        expires_at: u64,
        successor: StoredKey,
    },
    RevokeKey {
        id: String,
    },
}

impl Change {
    /// What is changed, for the audit log: the kind of the object and its id.
    pub fn object(&self) -> (&'static str, String) {
        match self {
            Self::CreateExtension(e) | Self::UpdateExtension(e) => ("extension", e.id.clone()),
            Self::DeleteExtension { id } => ("extension", id.clone()),
            Self::PutPolicy(p) => ("policy", format!("{}/{}", p.tenant_id, p.policy_id)),
            Self::DeletePolicy {
                tenant_id,
                policy_id,
            } => ("policy", format!("{tenant_id}/{policy_id}")),
            Self::CreateKey(key) => ("key", key.id.clone()),
            Self::RotateKey { id, .. } | Self::RevokeKey { id } => ("key", id.clone()),
        }
    }

    /// Whether it is no mistake that the object is not there yet.
    pub fn may_create(&self) -> bool {
        match self {
            Self::CreateExtension(_) | Self::PutPolicy(_) | Self::CreateKey(_) => true,
            Self::UpdateExtension(_)
            | Self::DeleteExtension { .. }
            | Self::DeletePolicy { .. }
            | Self::RotateKey { .. }
            | Self::RevokeKey { .. } => false,
        }
    }

    /// The word for it in the audit log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::CreateExtension(_) | Self::CreateKey(_) => "create",
            Self::RotateKey { .. } => "rotate",
            Self::RevokeKey { .. } => "revoke",
            Self::UpdateExtension(_) => "update",
            Self::PutPolicy(_) => "put",
            Self::DeleteExtension { .. } | Self::DeletePolicy { .. } => "delete",
        }
    }
}

/// Who changes something, for the audit log, and what they had seen.
#[derive(Debug, Clone, Default)]
pub struct Author {
    /// For example `nats-admin`.
    pub source: String,
    /// The id of a key.
    pub actor: Option<String>,
    pub role: Option<String>,
    /// The only one for which the key is.
    pub tenant_id: Option<String>,
    /// That somebody gave.
    pub reason: Option<String>,
    pub trace_id: Option<String>,
    /// The revision that the change was made from; with any other in the store it is a
    /// [`StoreError::Stale`], because somebody else's change would be undone.
    pub based_on: Option<u64>,
    /// The revision up to which whoever asks knows the object; after a later change of it, this one
    /// is [`StoreError::Changed`]. 0: the object must not be there, else [`StoreError::Conflict`].
    pub if_revision: Option<u64>,
    /// Of a signed write; with one that was spent before it is [`StoreError::Replayed`].
    pub nonce: Option<Arc<Nonce>>,
}

/// What makes a signed write another one than all others of its key.
#[derive(Debug)]
pub struct Nonce {
    pub key_id: String,
    pub value: String,
    /// Milliseconds since 1970, by the clock of the router.
    pub taken_at: u64,
    /// The store has it.
    is_spent: AtomicBool,
}

impl Nonce {
    pub fn new(key_id: &str, value: &str, taken_at: u64) -> Self {
        Self {
            key_id: key_id.to_owned(),
            value: value.to_owned(),
            taken_at,
            is_spent: AtomicBool::new(false),
        }
    }

    pub fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    pub(crate) fn spent(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0} exists already")]
    Conflict(String),
    #[error("somebody else has just changed the registry")]
    Stale,
    #[error("{0} was changed since")]
    Changed(String),
    /// A signed write that was taken already. Nothing was changed by this one.
    #[error("this request was carried out before")]
    Replayed,
    /// The database cannot hold the value; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// Nothing was changed.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// Nothing was changed. The database answers and will not do it, until somebody mends that
    /// there or in the configuration; the sentence says what.
    #[error("the database refuses: {0}")]
    Denied(String),
    /// The commit was begun, and nobody told how it ended: the change was made, or will be in a
    /// moment, or will never be.
    #[error("it is not known whether the change was made: {0}")]
    Unknown(String),
    /// The store answered something that this router cannot read; retrying does not help.
    #[error("the database holds what this router cannot read: {0}")]
    Corrupt(String),
}

/// Sends calls to extensions.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// One attempt, and everything that comes back for it. The caller puts its own limit around it
    /// as well.
    fn call(&self, call: Call) -> Answers;

    /// How long the bus has been away; `None` while it is there. Nothing is sent while it is away.
    fn away_for(&self) -> Option<Duration>;

    fn is_connected(&self) -> bool {
        self.away_for().is_none()
    }

    /// Resolves when the bus is there.
    fn back(&self) -> BoxFuture<'_, ()>;

    /// False shortly after the bus came back: extensions have to find their way back to it, too,
    /// and that nobody listens says nothing about them yet.
    fn is_settled(&self) -> bool;

    /// Asks the processes of an extension whether they live, and answers whether any did within the
    /// limit. An error says nothing about them.
    fn ping(
        &self,
        extension_id: &str,
        limit: Duration,
    ) -> BoxFuture<'static, Result<bool, TransportError>> {
        let _ = (extension_id, limit);
        Box::pin(std::future::ready(Err(TransportError::Refused(
            "this transport cannot ping".to_owned(),
        ))))
    }

    /// The largest body in bytes that the bus carries.
    fn max_body(&self) -> usize;
}

/// The messages that come back for one call, in their order; an error is the last of them. A call
/// that is answered at once brings one. Dropping it gives up waiting.
pub type Answers = BoxStream<'static, Result<Answer, TransportError>>;

/// One attempt to call an extension (contract section 2).
#[derive(Debug, Clone)]
pub struct Call {
    pub subject: Arc<str>,
    pub body: Bytes,
    pub traceparent: Arc<str>,
    /// `tracestate` and `baggage` of the request.
    pub carried: Carried,
    pub trace_id: Arc<str>,
    pub tenant_id: Arc<str>,
    /// Time that this attempt has.
    pub timeout: Duration,
    /// 1 for the first.
    pub attempt: u32,
}

/// Where all replicas keep which provider has which session. Nothing here needs to be waited for:
/// callers put their own limit around each call and go on without.
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Resolves when there is a connection over which [`Self::open`] may succeed.
    fn reachable(&self) -> BoxFuture<'_, ()>;

    /// Opens the store, making it when it is new, and answers every change from now on. The stream
    /// ends when changes may have been missed; the store is then to be opened again.
    fn open(&self) -> BoxFuture<'_, Result<BoxStream<'static, SessionChange>, SessionStoreError>>;

    /// What the store has. Expired pins too: whoever writes needs their revision.
    fn get<'a>(
        &'a self,
        key: &'a SessionKey,
    ) -> BoxFuture<'a, Result<Option<Stored>, SessionStoreError>>;

    /// Writes over this revision only (`None`: over nothing) and answers the new one;
    /// [`SessionStoreError::Conflict`] when the store has another.
    fn put<'a>(
        &'a self,
        key: &'a SessionKey,
        pin: &'a Pin,
        over: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, SessionStoreError>>;
}

/// Somebody has written a pin, perhaps this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionChange {
    pub key: SessionKey,
    pub stored: Stored,
}

/// Why the store of sessions did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionStoreError {
    #[error("somebody else was first")]
    Conflict,
    /// What is wrong and what to do, as a sentence without its full stop.
    #[error("{0}")]
    Away(String),
}

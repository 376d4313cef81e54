//! The registry actor: keeps the snapshot that everybody reads in step with the store.
//!
//! Readers load the shared snapshot and never wait for this actor. Hints, writes and a jittered
//! poll tell it to look; the revision in the store decides whether there is something new. With the
//! store away the last snapshot stays.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::metrics::Metrics;
use crate::ports::{Author, Change, Nonce, Store, StoreError};
use crate::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_domain::backoff::jitter;
use beamline_domain::fleet::FleetKeys;
use beamline_domain::record;
use beamline_domain::snapshot::{Content, Snapshot};

mod disk_copy;

use disk_copy::DiskCopy;

/// How the registry of a deployment works.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Time between two polls; each is moved by up to a fifth so that replicas do not ask together.
    pub poll_interval: Duration,
    /// Where the last good snapshot is kept; `None` keeps none.
    pub disk_copy: Option<PathBuf>,
}

/// The way to the registry; all clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    settings: RegistrySettings,
    metrics: Metrics,
    snapshot: ArcSwap<Snapshot>,
    sync: Mutex<Sync>,
    /// The revision that is served, for whoever waits for one.
    served: watch::Sender<u64>,
    address: Address<RegistryMsg>,
}

/// Where the snapshot came from and how old the knowledge is.
#[derive(Debug, Clone, Copy)]
struct Sync {
    from_store: bool,
    last_agreed: Option<Instant>,
}

/// Freshness of what is served.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    pub revision: u64,
    /// `store`, or `disk` while the store has not been reached since the start.
    pub source: &'static str,
    /// Seconds since the store last said that this is its present revision.
    pub stale_seconds: u64,
    pub loaded: bool,
}

/// A write has reached the snapshot of this replica within this time, or its answer does not wait
/// for it.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
/// Somebody who waits for a full reading waits no longer than this.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Extensions and policies that are no work worth a thread of its own.
const LARGE: usize = 500;
/// Nobody holds a snapshot for longer than a request takes.
const LONGEST_HELD: Duration = Duration::from_secs(120);
const LOOK_FOR_HOLDERS: Duration = Duration::from_millis(250);
/// Staleness below this is the time between two polls.
const POLLS_BEFORE_STALE: u32 = 2;
/// Replicas that started together do not poll together.
const POLL_JITTER: f64 = 0.2;

impl Registry {
    /// `start_with` is what is known before the actor runs, and whether the store said so just now.
    pub fn new(
        store: Arc<dyn Store>,
        settings: RegistrySettings,
        metrics: Metrics,
        start_with: Option<(Content, bool)>,
    ) -> Self {
        let from_store = start_with.as_ref().is_some_and(|(_, fresh)| *fresh);
        let last_agreed = if from_store {
            Some(Instant::now())
        } else {
            disk_copy::last_agreed(&settings)
        };
        // Here and not only with the first change: a registry that never changes must outlive a
        // restart too.
        if let (Some(path), Some((content, true))) = (&settings.disk_copy, &start_with) {
            disk_copy::keep(path, content);
        }
        let snapshot = start_with
            .map(|(content, _)| Snapshot::new(content))
            .unwrap_or_default();
        report_unreadable(&snapshot);
        metrics
            .registry_size
            .set(i64::try_from(snapshot.extension_count()).unwrap_or(i64::MAX));
        let shared = Shared {
            store,
            settings,
            metrics,
            served: watch::Sender::new(snapshot.revision()),
            snapshot: ArcSwap::from_pointee(snapshot),
            sync: Mutex::new(Sync {
                from_store,
                last_agreed,
            }),
            address: Address::new(Node::new("registry", NodeKind::Worker)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What is served now. A read of a pointer, never a message.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    pub fn freshness(&self) -> Freshness {
        let sync = *self.shared.sync.lock();
        let age = sync.last_agreed.map_or(Duration::ZERO, |at| at.elapsed());
        let stale =
            age > self.shared.settings.poll_interval * POLLS_BEFORE_STALE || !sync.from_store;
        let revision = self.snapshot().revision();
        Freshness {
            revision,
            source: if sync.from_store { "store" } else { "disk" },
            stale_seconds: if stale { age.as_secs() } else { 0 },
            loaded: revision > 0,
        }
    }

    /// Writes a change and waits until this replica serves it.
    pub async fn write(&self, change: Change, by: Author) -> Result<u64, StoreError> {
        let nonce = by.nonce.clone();
        let revision = self.shared.store.write(change, by).await?;
        if let Some(nonce) = nonce {
            nonce.spent();
        }
        self.reload();
        self.wait_for(revision).await;
        Ok(revision)
    }

    /// Sees to it that a signed write is taken once, also one that changed nothing.
    pub async fn spend(&self, nonce: &Nonce) -> Result<(), StoreError> {
        if nonce.is_spent() {
            return Ok(());
        }
        self.shared.store.spend(nonce).await?;
        nonce.spent();
        Ok(())
    }

    /// Looks at the store soon.
    pub fn reload(&self) {
        let _ = self.shared.address.send(RegistryMsg::Look(Look::default()));
    }

    /// Serves what the store holds now, in case another replica has just changed it.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if self.shared.store.revision().await? != self.snapshot().revision() {
            self.reload_fully().await?;
        }
        Ok(())
    }

    /// Reads everything anew, whatever the revision says, and waits for it. The actor reads, so
    /// that no older reading comes after a newer one.
    pub async fn reload_fully(&self) -> Result<u64, StoreError> {
        let (tell, told) = oneshot::channel();
        let look = Look {
            full: true,
            tell: Some(tell),
        };
        let away = |reason: &str| StoreError::Unavailable(reason.to_owned());
        self.shared
            .address
            .send(RegistryMsg::Look(look))
            .map_err(|vacant| away(&vacant.to_string()))?;
        match timeout(READ_WITHIN, told).await {
            Ok(Ok(Ok(revision))) => Ok(revision),
            Ok(Ok(Err(reason))) => Err(StoreError::Unavailable(reason)),
            Ok(Err(_)) => Err(away("the registry was restarted meanwhile")),
            Err(_) => Err(away("reading everything took too long")),
        }
    }

    /// The revision that is served, as it changes.
    pub fn served(&self) -> watch::Receiver<u64> {
        self.shared.served.subscribe()
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        let _ = self.shared.address.send(RegistryMsg::Crash);
    }

    async fn wait_for(&self, revision: u64) {
        let mut served = self.shared.served.subscribe();
        let _ = timeout(SERVED_WITHIN, served.wait_for(|now| *now >= revision)).await;
    }
}

#[derive(Debug)]
pub enum RegistryMsg {
    /// Somebody says that there may be something new.
    Look(Look),
    /// What a look brought; `None` when the revision is the known one.
    Loaded {
        result: Result<Option<Box<News>>, StoreError>,
        took: Duration,
    },
    /// A task that this actor lives by is gone.
    TaskLost,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

impl RegistryMsg {
    /// Whether a task of the actor sent it, and no address.
    fn is_own(&self) -> bool {
        matches!(self, Self::Loaded { .. } | Self::TaskLost)
    }
}

/// What the store holds now, ready to be served and to be kept on disk.
#[derive(Debug)]
pub struct News {
    snapshot: Snapshot,
    content: Content,
}

/// Who wants to hear the revision that a look led to, or why it led to none.
type Waiting = oneshot::Sender<Result<u64, String>>;

#[derive(Debug, Default)]
pub struct Look {
    /// Read everything even if the revision is the known one.
    full: bool,
    tell: Option<Waiting>,
}

/// The actor behind [`Registry`].
#[derive(Debug)]
pub struct RegistryActor;

#[derive(Debug)]
pub struct RegistryState {
    shared: Arc<Shared>,
    /// The look under way.
    looking: Option<OwnedTask>,
    waiting: Vec<Waiting>,
    /// Looks that were asked for meanwhile, as one.
    next: Option<(bool, Vec<Waiting>)>,
    /// The store was away: what it says next is read in full.
    was_away: bool,
    disk: DiskCopy,
    _timers: [OwnedTask; 2],
}

impl Actor for RegistryActor {
    type Msg = RegistryMsg;
    type State = RegistryState;
    type Arguments = Registry;

    async fn pre_start(
        &self,
        myself: ActorRef<RegistryMsg>,
        registry: Registry,
    ) -> Result<RegistryState, ActorProcessingErr> {
        let shared = registry.shared;
        shared.address.filled_by(&myself);
        let timers = [
            OwnedTask::spawn(poll(Arc::clone(&shared), when_lost(&myself))),
            OwnedTask::spawn(follow_hints(Arc::clone(&shared), when_lost(&myself))),
        ];
        let was_away = !shared.sync.lock().from_store;
        let _ = shared.address.send(RegistryMsg::Look(Look::default()));
        let disk = DiskCopy::new(shared.settings.disk_copy.clone());
        Ok(RegistryState {
            shared,
            looking: None,
            waiting: Vec::new(),
            next: None,
            was_away,
            disk,
            _timers: timers,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<RegistryMsg>,
        message: RegistryMsg,
        state: &mut RegistryState,
    ) -> Result<(), ActorProcessingErr> {
        if message.is_own() {
            state.shared.address.node().count_handled();
        } else {
            state.shared.address.node().handling();
        }
        match message {
            RegistryMsg::Look(Look { full, tell }) => {
                state.look(full, tell.into_iter().collect(), &myself);
            }
            RegistryMsg::Loaded { result, took } => state.loaded(result, took, &myself),
            RegistryMsg::TaskLost => return Err("a task of the registry was lost".into()),
            #[cfg(any(test, feature = "testing"))]
            RegistryMsg::Crash => return Err("crashed by a test".into()),
        }
        Ok(())
    }
}

impl RegistryState {
    fn look(&mut self, full: bool, mut tell: Vec<Waiting>, myself: &ActorRef<RegistryMsg>) {
        if self.looking.is_some() {
            let (next_full, next_tell) = self.next.get_or_insert_default();
            *next_full |= full;
            next_tell.append(&mut tell);
            return;
        }
        self.waiting = tell;
        let served = self.shared.snapshot.load();
        let known = Known {
            revision: (!full && !self.was_away).then(|| served.revision()),
            fleet_keys: served.fleet_keys().clone(),
        };
        let shared = Arc::clone(&self.shared);
        let lost = when_lost(myself);
        let myself = myself.clone();
        self.looking = Some(OwnedTask::spawn(async move {
            let begun = Instant::now();
            let result = look(shared.store.as_ref(), &known).await;
            lost.disarm();
            let _ = myself.send_message(RegistryMsg::Loaded {
                result,
                took: begun.elapsed(),
            });
        }));
    }

    fn loaded(
        &mut self,
        result: Result<Option<Box<News>>, StoreError>,
        took: Duration,
        myself: &ActorRef<RegistryMsg>,
    ) {
        self.looking = None;
        let told = match result {
            Ok(news) => {
                self.agreed(news, took);
                Ok(self.shared.snapshot.load().revision())
            }
            Err(error) => {
                self.shared.metrics.reload_errors.inc();
                if !std::mem::replace(&mut self.was_away, true) {
                    tracing::warn!(error = %error, "the registry cannot be read; serving the last snapshot");
                }
                Err(error.to_string())
            }
        };
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(told.clone());
        }
        if let Some((full, tell)) = self.next.take() {
            self.look(full, tell, myself);
        }
    }

    fn agreed(&mut self, news: Option<Box<News>>, took: Duration) {
        if std::mem::take(&mut self.was_away) {
            tracing::info!(recovered = true, "the registry's store answers");
        }
        *self.shared.sync.lock() = Sync {
            from_store: true,
            last_agreed: Some(Instant::now()),
        };
        match news {
            Some(news) => {
                self.shared
                    .metrics
                    .reload_duration
                    .observe(took.as_secs_f64());
                self.serve(*news);
            }
            None => self.disk.confirm(),
        }
    }

    fn serve(&mut self, News { snapshot, content }: News) {
        self.disk.keep(content);
        report_unreadable(&snapshot);
        let revision = snapshot.revision();
        let count = snapshot.extension_count();
        self.shared
            .metrics
            .registry_size
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        discard(self.shared.snapshot.swap(Arc::new(snapshot)));
        self.shared.served.send_replace(revision);
        tracing::info!(
            revision,
            extensions = count,
            "serving a new revision of the registry"
        );
    }
}

/// What is served when somebody looks.
#[derive(Debug)]
struct Known {
    /// Without one everything is new.
    revision: Option<u64>,
    fleet_keys: FleetKeys,
}

/// What is new in the store.
async fn look(store: &dyn Store, known: &Known) -> Result<Option<Box<News>>, StoreError> {
    let is_known = match known.revision {
        Some(revision) => store.revision().await? == revision,
        None => false,
    };
    // Who makes them says why they cannot be read. The registry is served without.
    let fleet_keys = store.fleet_keys().await;
    let fleet_keys = fleet_keys.unwrap_or_else(|_| known.fleet_keys.clone());
    if is_known && fleet_keys == known.fleet_keys {
        return Ok(None);
    }
    let content = Content {
        fleet_keys,
        ..store.load().await?
    };
    Ok(Some(Box::new(prepare(content).await)))
}

/// Makes the snapshot of a large registry on a thread of its own: requests need the others
/// meanwhile.
async fn prepare(content: Content) -> News {
    let large = content.extensions.len() + content.policies.len() > LARGE;
    let make = move || News {
        snapshot: Snapshot::new(content.clone()),
        content,
    };
    if !large {
        return make();
    }
    match spawn_blocking(make)
        .await
        .map_err(JoinError::try_into_panic)
    {
        Ok(news) => news,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The process ends.
        Err(Err(_)) => pending().await,
    }
}

/// The end of a large snapshot takes a while. It is not left to the last request that holds it.
fn discard(snapshot: Arc<Snapshot>) {
    if snapshot.extension_count() <= LARGE {
        return;
    }
    tokio::spawn(async move {
        let given_up = Instant::now() + LONGEST_HELD;
        while Arc::strong_count(&snapshot) > 1 && Instant::now() < given_up {
            sleep(LOOK_FOR_HOLDERS).await;
        }
        spawn_blocking(move || drop(snapshot));
    });
}

async fn poll<F: FnOnce()>(shared: Arc<Shared>, _lost: OnDrop<F>) {
    loop {
        let interval = shared.settings.poll_interval;
        tokio::time::sleep(jitter(interval, POLL_JITTER, fastrand::f64())).await;
        let _ = shared.address.send(RegistryMsg::Look(Look::default()));
    }
}

async fn follow_hints<F: FnOnce()>(shared: Arc<Shared>, _lost: OnDrop<F>) {
    let mut hints = shared.store.hints();
    while hints.changed().await.is_ok() {
        let _ = shared.address.send(RegistryMsg::Look(Look::default()));
    }
    // The store was closed: no more hints, and none are needed.
    pending().await
}

/// Tells the actor when a task that it lives by ends, by a panic for example. Its successor is not
/// told: a task may outlive its actor by a moment.
fn when_lost(myself: &ActorRef<RegistryMsg>) -> OnDrop<impl FnOnce() + use<>> {
    let myself = myself.clone();
    OnDrop::new(move || {
        let _ = myself.send_message(RegistryMsg::TaskLost);
    })
}

fn report_unreadable(snapshot: &Snapshot) {
    for (policy, reason) in snapshot.unreadable() {
        tracing::error!(
            policy,
            error = reason,
            "this policy cannot be read; requests for it are refused"
        );
    }
    for extension in snapshot.extensions() {
        for warning in record::stored_warnings(extension) {
            tracing::warn!(
                extension_id = extension.id,
                warning,
                "part of a rollout is cut off"
            );
        }
    }
}

#[cfg(test)]
mod tests;

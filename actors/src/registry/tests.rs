use beamline_domain::fleet::FleetKey;
use beamline_domain::record;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::ports::{HealthLine, Nonce};
use crate::testing::{MemoryStore, content};
use crate::tree::{Child, Node, Root};

/// A store that does something else before it says its revision.
struct Hooked<F> {
    store: Arc<MemoryStore>,
    before: F,
    /// Held by those who wait for the revision.
    asked: Arc<()>,
}

impl<F> fmt::Debug for Hooked<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hooked")
    }
}

impl<F: Fn() + Send + std::marker::Sync> Hooked<F> {
    fn new(store: &Arc<MemoryStore>, before: F) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            before,
            asked: Arc::default(),
        })
    }

    fn is_asked(&self) -> bool {
        Arc::strong_count(&self.asked) > 1
    }
}

impl<F: Fn() + Send + std::marker::Sync + 'static> Store for Hooked<F> {
    fn revision(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async {
            let _asking = Arc::clone(&self.asked);
            (self.before)();
            // Here it may be broken off.
            tokio::task::yield_now().await;
            self.store.revision().await
        }
        .boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<Content, StoreError>> {
        self.store.load()
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.store.hints()
    }

    fn write(&self, change: Change, by: Author) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.write(change, by)
    }

    fn spend<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.spend(nonce)
    }

    fn write_health<'a>(
        &'a self,
        replica: &'a str,
        lines: &'a [HealthLine],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.write_health(replica, lines)
    }

    fn fleet_keys(&self) -> BoxFuture<'_, Result<FleetKeys, StoreError>> {
        self.store.fleet_keys()
    }

    fn add_fleet_key<'a>(&'a self, key: &'a FleetKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.store.add_fleet_key(key)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.store.close()
    }
}

async fn start(store: Arc<dyn Store>) -> (Registry, Root) {
    let settings = RegistrySettings {
        poll_interval: Duration::from_secs(5),
        disk_copy: None,
    };
    let first = Some((content(&[], &[]), true));
    let registry = Registry::new(store, settings, Metrics::default(), first);
    let actor = registry.clone();
    let children = vec![Child::essential(registry.node(), move || {
        (RegistryActor, actor.clone())
    })];
    let root = Root::start(Node::root(), children, Metrics::default())
        .await
        .unwrap();
    (registry, root)
}

fn create(id: &str) -> Change {
    let json = format!(r#"{{"id": "{id}", "type": "pre"}}"#);
    Change::CreateExtension(record::parse(&json, "beamline").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_looking_does_not_end_the_looking() {
    let store = MemoryStore::new(content(&[], &[]));
    let panics = AtomicUsize::new(1);
    let panicking = Hooked::new(&store, move || {
        let left = panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left.is_err(), "planned panic");
    });
    let (registry, _root) = start(panicking).await;
    store.write_silently(create("later")).unwrap();
    let mut served = registry.served();
    timeout(
        Duration::from_secs(30),
        served.wait_for(|revision| *revision == 2),
    )
    .await
    .expect("served")
    .unwrap();
    assert_eq!(registry.node().view().restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn every_full_reading_brings_what_was_there_when_it_was_asked_for() {
    let store = MemoryStore::new(content(&[], &[]));
    let (registry, _root) = start(Arc::clone(&store) as Arc<dyn Store>).await;
    let many = (0..20).map(|number| {
        let registry = registry.clone();
        let store = Arc::clone(&store);
        async move {
            let revision = store.write_silently(create(&format!("e{number}"))).unwrap();
            let read = registry.reload_fully().await.unwrap();
            assert!(read >= revision, "{read} is older than {revision}");
            assert!(
                registry.snapshot().revision() >= revision,
                "the snapshot never goes back"
            );
        }
    });
    futures_util::future::join_all(many).await;
    assert_eq!(registry.snapshot().extension_count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_reading_of_a_store_that_is_away_fails_in_words() {
    let store = MemoryStore::new(content(&[], &[]));
    let (registry, _root) = start(Arc::clone(&store) as Arc<dyn Store>).await;
    store.set_away(true);
    let error = registry.reload_fully().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(reason) if reason.contains("away")),
        "{error}"
    );
}

#[tokio::test]
async fn a_large_registry_is_made_apart_and_served_in_order() {
    let store = MemoryStore::new(content(&[], &[]));
    let (registry, _root) = start(Arc::clone(&store) as Arc<dyn Store>).await;
    let held = registry.snapshot();
    for number in (0..LARGE + 10).rev() {
        store
            .write_silently(create(&format!("bulk_{number:04}")))
            .unwrap();
    }
    let revision = registry.reload_fully().await.unwrap();
    let snapshot = registry.snapshot();
    assert_eq!(
        (snapshot.revision(), snapshot.extension_count()),
        (revision, LARGE + 10)
    );
    assert!(
        snapshot
            .extensions()
            .is_sorted_by_key(|extension| &extension.id)
    );
    assert_eq!(
        held.extension_count(),
        0,
        "who holds an older one, keeps it"
    );
}

/// Retries until it holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let retrying = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), retrying)
        .await
        .expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_look_that_outlives_its_actor_does_not_fail_the_next_one() {
    let store = MemoryStore::new(content(&[], &[]));
    let (release, released) = mpsc::channel::<()>();
    let first = Mutex::new(Some(released));
    let blocking = Hooked::new(&store, move || {
        let released = first.lock().take();
        if let Some(released) = released {
            // Until then nobody can break it off.
            let _ = released.recv();
        }
    });
    let (registry, _root) = start(Arc::clone(&blocking) as Arc<dyn Store>).await;
    until("the first look is held up", || blocking.is_asked()).await;
    registry.node().kill();
    until("there is a successor", || {
        let view = registry.node().view();
        (view.restarts, &*view.status) == (1, "running")
    })
    .await;
    registry.reload_fully().await.unwrap();
    release.send(()).unwrap();
    until("the first look is broken off", || !blocking.is_asked()).await;
    registry.reload_fully().await.unwrap();
    let view = registry.node().view();
    assert_eq!((view.restarts, &*view.status), (1, "running"));
}

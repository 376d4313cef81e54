use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::*;
use crate::ports::{Answers, Author, Call, Change, HealthLine, Nonce, Store, StoreError};
use crate::ports::{Transport, TransportError};
use crate::registry::{Registry, RegistrySettings};
use crate::testing::{MemoryStore, MemoryTransport, content};
use crate::tree::{Node, Root};
use beamline_domain::fleet::{FleetKey, FleetKeys};
use beamline_domain::snapshot::Content;

/// A store and a transport whose first health rows and pings panic.
#[derive(Debug)]
struct Panicking {
    store: Arc<MemoryStore>,
    bus: Arc<MemoryTransport>,
    panics: AtomicUsize,
}

impl Panicking {
    fn new(panics: usize) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(content(&[], &[])),
            bus: MemoryTransport::new(),
            panics: AtomicUsize::new(panics),
        })
    }

    fn panic_sometimes(&self) {
        let left = self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left.is_err(), "planned panic");
    }
}

impl Store for Panicking {
    fn revision(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.revision()
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
        self.panic_sometimes();
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

impl Transport for Panicking {
    fn call(&self, call: Call) -> Answers {
        self.bus.call(call)
    }

    fn away_for(&self) -> Option<Duration> {
        None
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        self.bus.back()
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn ping(&self, id: &str, limit: Duration) -> BoxFuture<'static, Result<bool, TransportError>> {
        self.panic_sometimes();
        self.bus.ping(id, limit)
    }

    fn max_body(&self) -> usize {
        self.bus.max_body()
    }
}

async fn start(
    store: Arc<dyn Store>,
    bus: Arc<dyn Transport>,
    settings: WatchSettings,
) -> (Invokers, Root) {
    let first = Some((content(&[], &[]), true));
    let registry_settings = RegistrySettings {
        poll_interval: Duration::from_secs(5),
        disk_copy: None,
    };
    let metrics = Metrics::default();
    let registry = Registry::new(store, registry_settings, metrics.clone(), first);
    let invokers = Invokers::new(bus, registry, metrics.clone());
    let children = vec![supervisor(&invokers, settings, &metrics)];
    let root = Root::start(Node::root(), children, metrics).await.unwrap();
    (invokers, root)
}

async fn until_restarted(root: &Root, name: &str, times: u64) {
    let node = root.node().find(name).unwrap();
    let restarted = async {
        while (node.view().restarts, &*node.view().status) != (times, "running") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(600);
    timeout(limit, restarted).await.expect(name);
}

#[tokio::test(start_paused = true)]
async fn pings_that_panic_come_back_and_go_on() {
    let world = Panicking::new(2);
    let (invokers, root) =
        start(world.store.clone(), world.clone(), WatchSettings::default()).await;
    let invoker = invokers.insert("clean");
    world.bus.set_living("clean", true);
    until_restarted(&root, "pings", 2).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(invoker.alive(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn health_rows_that_panic_come_back_and_go_on() {
    let world = Panicking::new(2);
    let health = HealthLog {
        store: world.clone(),
        replica: "r1".into(),
        every: Duration::from_secs(5),
    };
    let settings = WatchSettings {
        health: Some(health),
        open_breakers: None,
    };
    let (invokers, root) = start(world.store.clone(), world.bus.clone(), settings).await;
    let invoker = invokers.insert("clean");
    invoker.record(true, Duration::from_millis(7));
    invoker.publish();
    until_restarted(&root, "health_rows", 2).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.store.health().len(), 1);
}

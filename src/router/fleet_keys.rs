//! Sees to it that replicas have a key to sign with: the first one that finds the newest a day old
//! makes the next. All replicas read it with the registry.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::{Store, StoreError};
use beamline_actors::registry::Registry;
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::time::since_1970;
use beamline_domain::backoff::jitter;
use tokio::time::sleep;

use crate::keys::{NoRandomness, fleet_key};

/// Between two looks at what the registry has; the store is asked only when a key is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Not all replicas try at once.
const JITTER: f64 = 0.5;

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Its place in the tree.
pub(super) fn child(registry: &Registry, store: &Arc<dyn Store>) -> Child {
    let registry = registry.clone();
    let store = Arc::clone(store);
    let node = Node::new("fleet_keys", NodeKind::Worker);
    Child::task(&node, move || keep(registry.clone(), Arc::clone(&store)))
}

async fn keep(registry: Registry, store: Arc<dyn Store>) {
    let mut served = registry.served();
    let mut is_said = false;
    loop {
        served.mark_unchanged();
        match renew(&registry, store.as_ref(), since_1970(SystemTime::now())).await {
            Ok(()) => is_said = false,
            // While the store is away, the registry says so.
            Err(error) if !is_said && store.revision().await.is_ok() => {
                is_said = true;
                say(&registry, &error);
            }
            Err(error) => {
                tracing::debug!(%error, "no key for the messages between replicas was made");
            }
        }
        tokio::select! {
            _ = served.changed() => {}
            () = sleep(jitter(LOOK_EVERY, JITTER, fastrand::f64())) => {}
        }
    }
}

/// Makes the next key when it is time for it and no other replica has made it.
async fn renew(registry: &Registry, store: &dyn Store, now: u64) -> Result<(), NotMade> {
    if registry.snapshot().fleet_keys().due(now).is_none() {
        return Ok(());
    }
    // What is served may be old.
    if let Some(number) = store.fleet_keys().await?.due(now) {
        let key = fleet_key(number, now)?;
        if store.add_fleet_key(&key).await? {
            tracing::info!(
                key = key.id,
                number,
                "made a key for the messages between replicas"
            );
        }
    }
    registry.reload();
    Ok(())
}

fn say(registry: &Registry, error: &NotMade) {
    let help = "run `beamline-router migrate`, and let the router's user of the database read and write the table fleet_keys";
    if registry.snapshot().fleet_keys().is_empty() {
        tracing::warn!(
            %error,
            "replicas cannot sign what they tell each other, so each finds out by itself which extensions fail; {help}"
        );
    } else {
        tracing::warn!(
            %error,
            "the key that signs messages between replicas is more than a day old and cannot be replaced; {help}"
        );
    }
}

#[cfg(test)]
mod tests {
    use beamline_actors::metrics::Metrics;
    use beamline_actors::registry::{RegistryActor, RegistrySettings};
    use beamline_actors::testing::{MemoryStore, content};
    use beamline_actors::tree::Root;
    use beamline_test_support::until;

    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;

    async fn served(store: &Arc<MemoryStore>) -> (Registry, Root) {
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let first = Some((content(&[], &[]), true));
        let store = Arc::clone(store) as Arc<dyn Store>;
        let registry = Registry::new(store, settings, Metrics::default(), first);
        let actor = registry.clone();
        let child = Child::essential(registry.node(), move || (RegistryActor, actor.clone()));
        let root = Root::start(Node::root(), vec![child], Metrics::default()).await;
        (registry, root.unwrap())
    }

    async fn until_served(registry: &Registry, number: u64) {
        until("the key is served", || {
            registry.snapshot().fleet_keys().newest() == Some(number)
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_replica_makes_a_key_and_the_others_read_it() {
        let store = MemoryStore::new(content(&[], &[]));
        let (one, _root) = served(&store).await;
        let (other, _other_root) = served(&store).await;
        let revision = one.snapshot().revision();
        renew(&one, store.as_ref(), 1_000).await.unwrap();
        // It has not read the first one yet, and makes none.
        renew(&other, store.as_ref(), 1_000).await.unwrap();
        until_served(&one, 1).await;
        until_served(&other, 1).await;
        renew(&one, store.as_ref(), 1_000 + DAY - 1).await.unwrap();
        assert_eq!(store.fleet_keys().await.unwrap().newest(), Some(1));
        renew(&other, store.as_ref(), 1_000 + DAY).await.unwrap();
        until_served(&one, 2).await;
        assert_eq!(one.snapshot().fleet_keys().iter().count(), 2);
        assert_eq!(one.snapshot().revision(), revision);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_gets_a_key_when_it_is_back() {
        let store = MemoryStore::new(content(&[], &[]));
        let (registry, _root) = served(&store).await;
        store.set_away(true);
        renew(&registry, store.as_ref(), 0).await.unwrap_err();
        store.set_away(false);
        renew(&registry, store.as_ref(), 0).await.unwrap();
        until_served(&registry, 1).await;
    }
}

//! Writes how extensions do, as this replica sees it, into the store: in batches beside all calls, and only what changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Shared, invokers_of};
use crate::domain::health::Figures;
use crate::ports::{HealthLine, Store, StoreError};

/// Where the figures go, and how often.
#[derive(Debug, Clone)]
pub struct HealthLog {
    pub store: Arc<dyn Store>,
    /// Name of this replica.
    pub replica: Arc<str>,
    pub every: Duration,
}

/// Replicas that started together shall not write together.
const JITTER: f64 = 0.1;
/// One transaction writes no more than this.
const BATCH: usize = 200;
/// The store has limits of its own; this is for one that keeps to none.
const BATCH_LIMIT: Duration = Duration::from_secs(15);
/// The store forgets what nobody wrote for a day, and an idle extension shall not be forgotten.
const REFRESH_AFTER: Duration = Duration::from_secs(3600);

/// What the store has, and since when.
type Written = HashMap<Arc<str>, (Figures, Instant)>;

/// Writes for as long as it is not dropped.
pub(super) async fn keep(shared: Arc<Shared>, log: HealthLog) {
    let mut written = Written::new();
    loop {
        sleep(log.every.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))).await;
        let lines = changed(&shared, &mut written);
        for batch in lines.chunks(BATCH) {
            if let Err(error) = write(&log, batch).await {
                // The next round tries again, with the figures of then.
                tracing::debug!(%error, "the health of extensions was not written");
                break;
            }
            let now = Instant::now();
            written.extend(batch.iter().map(|line| (Arc::clone(&line.extension_id), (line.figures, now))));
        }
    }
}

async fn write(log: &HealthLog, batch: &[HealthLine]) -> Result<(), StoreError> {
    let late = || Err(StoreError::Unavailable("the store keeps to no limit".into()));
    timeout(BATCH_LIMIT, log.store.write_health(&log.replica, batch)).await.unwrap_or_else(|_| late())
}

/// What the store does not have yet. Extensions that nobody has called have no figures.
fn changed(shared: &Shared, written: &mut Written) -> Vec<HealthLine> {
    let lines = invokers_of(shared).into_iter().map(|invoker| {
        let figures = *invoker.figures();
        HealthLine { extension_id: Arc::clone(&invoker.id), figures }
    });
    let lines: HashMap<_, _> =
        lines.filter(|line| line.figures.last.is_some()).map(|line| (Arc::clone(&line.extension_id), line)).collect();
    written.retain(|id, _| lines.contains_key(id));
    let is_written = |line: &HealthLine| {
        let known = written.get(&line.extension_id);
        known.is_some_and(|(figures, at)| *figures == line.figures && at.elapsed() < REFRESH_AFTER)
    };
    lines.into_values().filter(|line| !is_written(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoker::Invoker;
    use crate::invokers::Invokers;
    use crate::metrics::Metrics;
    use crate::registry::{Registry, RegistrySettings};
    use crate::supervision::OwnedTask;
    use crate::testing::{MemoryStore, MemoryTransport, content};

    const ROUND: Duration = Duration::from_secs(6);

    fn start(store: &Arc<MemoryStore>, extensions: usize) -> (Vec<Arc<Invoker>>, OwnedTask) {
        let settings = RegistrySettings { poll_interval: Duration::from_secs(5), disk_copy: None };
        let first = Some((content(&[], &[]), true));
        let registry = Registry::new(store.clone(), settings, Metrics::default(), first);
        let shared = Invokers::new(MemoryTransport::new(), registry, Metrics::default()).shared;
        let invokers: Vec<_> = (0..extensions).map(|n| Invoker::new(&format!("e{n}"))).collect();
        shared.table.write().extend(invokers.iter().map(|invoker| (invoker.id.to_string(), Arc::clone(invoker))));
        let log = HealthLog { store: store.clone(), replica: "r1".into(), every: Duration::from_secs(5) };
        (invokers, OwnedTask::spawn(keep(shared, log)))
    }

    fn record(invoker: &Invoker, success: bool) {
        invoker.record(success, Duration::from_millis(7));
        invoker.publish();
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_changed_is_written_and_what_nobody_called_is_not() {
        let store = MemoryStore::new(content(&[], &[]));
        let (invokers, _task) = start(&store, 3);
        record(&invokers[0], true);
        record(&invokers[1], false);
        sleep(ROUND).await;
        let mut ids: Vec<_> = store.health().iter().map(|(_, line)| line.extension_id.to_string()).collect();
        ids.sort();
        assert_eq!(ids, ["e0", "e1"]);
        sleep(ROUND * 4).await;
        assert_eq!(store.health().len(), 2, "nothing changed");
        record(&invokers[1], false);
        sleep(ROUND).await;
        let health = store.health();
        let (replica, line) = &health[2];
        assert_eq!((replica.as_str(), &*line.extension_id, line.figures.requests), ("r1", "e1", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_store_did_not_take_is_written_when_it_is_back() {
        let store = MemoryStore::new(content(&[], &[]));
        let (invokers, _task) = start(&store, BATCH + 1);
        invokers.iter().for_each(|invoker| record(invoker, true));
        store.set_away(true);
        sleep(ROUND * 3).await;
        assert_eq!(store.health().len(), 0);
        store.set_away(false);
        sleep(ROUND).await;
        assert_eq!(store.health().len(), BATCH + 1, "in two batches");
    }
}

//! Writes how extensions do, as this replica sees it, into the store: in batches beside all calls,
//! and only what changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::fail_points;
use crate::invoker::Invoker;
use crate::invokers::Invokers;
use crate::ports::{HealthLine, Store, StoreError};
use crate::targets::TargetState;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::backoff::jitter;
use beamline_domain::record;
use beamline_domain::target::health::Figures;

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

/// What the store has, and since when, by extension and subject; without a subject it is the
/// extension as a whole.
type Written = HashMap<Key, (Figures, Instant)>;
type Key = (Arc<str>, Option<Arc<str>>);

/// Writes for as long as it is not dropped.
pub(super) async fn write_changes(invokers: Invokers, log: HealthLog) {
    let mut written = Written::new();
    loop {
        sleep(jitter(log.every, JITTER, fastrand::f64())).await;
        fail_points::reached("health");
        let lines = changed(&invokers, &mut written);
        for batch in lines.chunks(BATCH) {
            if let Err(error) = write(&log, batch).await {
                // The next round tries again, with the figures of then.
                tracing::debug!(%error, "the health of extensions was not written");
                break;
            }
            let now = Instant::now();
            written.extend(batch.iter().map(|line| (key(line), (line.figures, now))));
        }
    }
}

async fn write(log: &HealthLog, batch: &[HealthLine]) -> Result<(), StoreError> {
    let late = || {
        Err(StoreError::Unavailable(
            "the store keeps to no limit".into(),
        ))
    };
    timeout(BATCH_LIMIT, log.store.write_health(&log.replica, batch))
        .await
        .unwrap_or_else(|_| late())
}

/// What the store does not have yet. What nobody has called has no figures.
fn changed(invokers: &Invokers, written: &mut Written) -> Vec<HealthLine> {
    let snapshot = invokers.registry().snapshot();
    let of_invoker = |invoker: Arc<Invoker>| {
        lines_of(&invoker, snapshot.extension(&invoker.id).map(Arc::as_ref))
    };
    let lines = invokers.all().into_iter().flat_map(of_invoker);
    let lines: HashMap<_, _> = lines
        .filter(|line| line.figures.last.is_some())
        .map(|line| (key(&line), line))
        .collect();
    written.retain(|key, _| lines.contains_key(key));
    let is_written = |line: &HealthLine| {
        let known = written.get(&key(line));
        known.is_some_and(|(figures, at)| *figures == line.figures && at.elapsed() < REFRESH_AFTER)
    };
    lines
        .into_values()
        .filter(|line| !is_written(line))
        .collect()
}

/// The extension as a whole, then each place that the registry has for it.
fn lines_of(invoker: &Invoker, extension: Option<&ExtensionRecord>) -> Vec<HealthLine> {
    let line = |target, figures| HealthLine {
        extension_id: Arc::clone(&invoker.id),
        target,
        figures,
    };
    let of_target = |target: Arc<TargetState>| {
        let listener = record::listener(extension?, &target.subject)?;
        Some(line(
            Some((Arc::clone(&target.subject), listener)),
            *target.figures(),
        ))
    };
    let targets = invoker.targets().into_iter().filter_map(of_target);
    std::iter::once(line(None, *invoker.figures()))
        .chain(targets)
        .collect()
}

fn key(line: &HealthLine) -> Key {
    (
        Arc::clone(&line.extension_id),
        line.target.as_ref().map(|(subject, _)| Arc::clone(subject)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invokers::Invokers;
    use crate::metrics::Metrics;
    use crate::registry::{Registry, RegistrySettings};
    use crate::testing::{MemoryStore, MemoryTransport, content};
    use crate::tree::OwnedTask;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::breaker::{Mode, Outcome, Settings};

    const ROUND: Duration = Duration::from_secs(6);

    fn start(
        store: &Arc<MemoryStore>,
        extensions: usize,
        records: &[&str],
    ) -> (Vec<Arc<Invoker>>, OwnedTask) {
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let first = Some((content(records, &[]), true));
        let registry = Registry::new(store.clone(), settings, Metrics::default(), first);
        let all = Invokers::new(MemoryTransport::new(), registry, Metrics::default());
        let invokers: Vec<_> = (0..extensions)
            .map(|n| all.insert(&format!("e{n}")))
            .collect();
        let log = HealthLog {
            store: store.clone(),
            replica: "r1".into(),
            every: Duration::from_secs(5),
        };
        (invokers, OwnedTask::spawn(write_changes(all, log)))
    }

    fn record(invoker: &Invoker, success: bool) {
        invoker.record(success, Duration::from_millis(7));
        invoker.publish();
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_changed_is_written_and_what_nobody_called_is_not() {
        let store = MemoryStore::new(content(&[], &[]));
        let (invokers, _task) = start(&store, 3, &[]);
        record(&invokers[0], true);
        record(&invokers[1], false);
        sleep(ROUND).await;
        let mut ids: Vec<_> = store
            .health()
            .iter()
            .map(|(_, line)| line.extension_id.to_string())
            .collect();
        ids.sort();
        assert_eq!(ids, ["e0", "e1"]);
        sleep(ROUND * 4).await;
        assert_eq!(store.health().len(), 2, "nothing changed");
        record(&invokers[1], false);
        sleep(ROUND).await;
        let health = store.health();
        let (replica, line) = &health[2];
        assert_eq!(
            (replica.as_str(), &*line.extension_id, line.figures.requests),
            ("r1", "e1", 2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_store_did_not_take_is_written_when_it_is_back() {
        let store = MemoryStore::new(content(&[], &[]));
        let (invokers, _task) = start(&store, BATCH + 1, &[]);
        invokers.iter().for_each(|invoker| record(invoker, true));
        store.set_away(true);
        sleep(ROUND * 3).await;
        assert_eq!(store.health().len(), 0);
        store.set_away(false);
        sleep(ROUND).await;
        assert_eq!(store.health().len(), BATCH + 1, "in two batches");
    }

    #[tokio::test(start_paused = true)]
    async fn each_version_and_instance_has_a_line_that_is_written_when_it_changes() {
        const RECORD: &str = r#"{"id": "e0", "type": "pre", "versions": [{"version": "v2"}],
            "instances": [{"instance_id": "eu", "subject": "beamline.ext.pre.e0.eu"}]}"#;
        let store = MemoryStore::new(content(&[], &[]));
        let (invokers, _task) = start(&store, 1, &[RECORD]);
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        let call = |subject: &str, took: u64| {
            let permit = invokers[0]
                .target(&subject.into())
                .permit(Mode::Normal, &settings)
                .unwrap();
            permit.finish(Outcome::Success, Duration::from_millis(took));
            record(&invokers[0], true);
        };
        call("beamline.ext.pre.e0.v2", 40);
        call("beamline.ext.pre.e0.eu", 5);
        call("beamline.ext.pre.e0.gone", 5);
        sleep(ROUND).await;
        let lines = |from: usize| {
            let name = |(_, line): &(String, HealthLine)| {
                let listener = line.target.as_ref().map(|(_, listener)| listener.clone());
                let name =
                    listener.map(|found| (found.version, found.instance.unwrap_or_default()));
                (name.unwrap_or_default(), line.figures.requests)
            };
            let mut lines: Vec<_> = store.health().iter().skip(from).map(name).collect();
            lines.sort();
            lines
        };
        let name = |version: &str, instance: &str| (version.to_owned(), instance.to_owned());
        assert_eq!(
            lines(0),
            [
                (name("", ""), 3),
                (name("v1", "eu"), 1),
                (name("v2", ""), 1)
            ]
        );
        call("beamline.ext.pre.e0.v2", 40);
        sleep(ROUND).await;
        assert_eq!(
            lines(3),
            [(name("", ""), 4), (name("v2", ""), 2)],
            "nothing new of the other"
        );
    }
}

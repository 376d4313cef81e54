//! Asks extensions without traffic whether they live, so that one that is back need not wait for
//! the end of an open time.
//!
//! Only an extension that was silent and answers again gets its next probe early. One that answered
//! all along while its calls failed has told nothing new: its open times go on growing. No answer
//! closes a breaker, and none opens one. One that used to answer and is silent fails for everybody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{sleep, timeout};

use crate::invoker::Invoker;
use crate::invokers::Invokers;
use beamline_domain::backoff::jitter;
use beamline_domain::target::breaker::State;

const ASK_EVERY: Duration = Duration::from_secs(2);
/// Replicas that started together shall not ask together.
const JITTER: f64 = 0.2;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Where there were calls later than this, their outcomes tell more than a ping.
const IDLE_AFTER: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 16;

/// Asks for as long as it is not dropped.
pub(super) async fn ask_those_without_traffic(invokers: Invokers) {
    loop {
        sleep(jitter(ASK_EVERY, JITTER, fastrand::f64())).await;
        // Silence on a bus that is away is not the extensions'.
        if invokers.transport().is_connected() {
            ask_all(&invokers).await;
        }
    }
}

async fn ask_all(invokers: &Invokers) {
    let (mut asked, others): (Vec<_>, Vec<_>) = invokers
        .all()
        .into_iter()
        .partition(|invoker| is_asked(invoker));
    others.iter().for_each(|invoker| invoker.set_alive(None));
    // Somebody may be waiting for these.
    asked.sort_by_cached_key(|invoker| !is_open(invoker));
    stream::iter(asked)
        .for_each_concurrent(AT_ONCE, |invoker| ask(invokers, invoker))
        .await;
}

async fn ask(invokers: &Invokers, invoker: Arc<Invoker>) {
    let asking = invokers.transport().ping(&invoker.id, ANSWER_WITHIN);
    match timeout(ANSWER_WITHIN * 2, asking).await {
        Ok(Ok(answered)) => {
            let is_back = answered && invoker.alive() == Some(false);
            invoker.set_alive(Some(answered));
            if is_back {
                tracing::info!(
                    extension_id = &*invoker.id,
                    recovered = true,
                    "the extension answers again"
                );
                invoker
                    .targets()
                    .iter()
                    .for_each(|target| target.is_alive());
            } else if !answered && invoker.answers_pings() {
                invoker
                    .targets()
                    .iter()
                    .for_each(|target| target.is_silent());
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(extension_id = &*invoker.id, %error, "nothing learned from a ping")
        }
        Err(_) => tracing::debug!(extension_id = &*invoker.id, "a ping was given up"),
    }
}

fn is_asked(invoker: &Invoker) -> bool {
    is_open(invoker)
        || invoker
            .targets()
            .iter()
            .all(|target| target.unused_for() >= IDLE_AFTER)
}

fn is_open(invoker: &Invoker) -> bool {
    invoker
        .targets()
        .iter()
        .any(|target| matches!(target.breaker().state, State::Open { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invokers::Invokers;
    use crate::metrics::Metrics;
    use crate::registry::{Registry, RegistrySettings};
    use crate::targets::TargetState;
    use crate::testing::{MemoryStore, MemoryTransport, content};
    use crate::tree::OwnedTask;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::breaker::{Mode, Outcome, Settings};

    /// Any round has come within this.
    const ROUND: Duration = Duration::from_millis(2_500);

    struct Bench {
        bus: Arc<MemoryTransport>,
        invoker: Arc<Invoker>,
        target: Arc<TargetState>,
        settings: Settings,
        _watch: OwnedTask,
    }

    impl Bench {
        fn start() -> Self {
            let bus = MemoryTransport::new();
            let store = MemoryStore::new(content(&[], &[]));
            let settings = RegistrySettings {
                poll_interval: Duration::from_secs(5),
                disk_copy: None,
            };
            let registry = Registry::new(
                store,
                settings,
                Metrics::default(),
                Some((content(&[], &[]), true)),
            );
            let invokers = Invokers::new(bus.clone(), registry, Metrics::default());
            let invoker = invokers.insert("clean");
            let target = invoker.target(&"p.ext.pre.clean.v1".into());
            let mut settings = Settings::new(
                Kind::Pre,
                Duration::from_secs(1),
                &BreakerOverrides::default(),
            );
            settings.open_base = Duration::from_secs(60);
            Self {
                bus,
                invoker,
                target,
                settings,
                _watch: OwnedTask::spawn(ask_those_without_traffic(invokers)),
            }
        }

        fn fail(&self) {
            while let Ok(permit) = self.target.permit(Mode::Normal, &self.settings) {
                permit.finish(Outcome::Failure, Duration::ZERO);
            }
        }

        fn state(&self) -> &'static str {
            self.target.breaker().state.as_str()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_silent_and_answers_gets_its_probe_early_and_no_more() {
        let bench = Bench::start();
        bench.fail();
        sleep(ROUND).await;
        assert_eq!(
            (bench.state(), bench.invoker.alive()),
            ("open", Some(false))
        );
        bench.bus.set_living("clean", true);
        sleep(ROUND).await;
        assert_eq!(
            (bench.state(), bench.invoker.alive()),
            ("half_open", Some(true)),
            "only traffic closes"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_all_along_waits_out_its_open_time() {
        let bench = Bench::start();
        bench.bus.set_living("clean", true);
        bench.fail();
        sleep(ROUND * 8).await;
        assert_eq!((bench.state(), bench.invoker.alive()), ("open", Some(true)));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_has_no_traffic_is_asked() {
        let bench = Bench::start();
        for _ in 0..10 {
            drop(bench.target.permit(Mode::Normal, &bench.settings));
            sleep(Duration::from_secs(2)).await;
        }
        assert_eq!((bench.bus.pings("clean"), bench.invoker.alive()), (0, None));
        sleep(IDLE_AFTER + ROUND).await;
        assert!(bench.bus.pings("clean") > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_of_a_bus_that_is_away_is_nobodys() {
        let bench = Bench::start();
        bench.bus.set_away(true);
        bench.fail();
        sleep(ROUND * 4).await;
        assert_eq!((bench.bus.pings("clean"), bench.invoker.alive()), (0, None));
    }
}

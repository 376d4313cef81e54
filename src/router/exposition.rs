//! What `GET /metrics` shows: the counters of the router, and what is read from its surroundings
//! when somebody asks.

use std::fmt;

use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::registry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry as Exposed;
use tokio::runtime::Handle;

use crate::edge::nats::Connections;
use crate::edge::nats::control::Fleet;
use crate::edge::nats::intake::Intake;
use crate::observe::logs;
use crate::observe::metrics::{BreakerStates, Process, gauge, register, table};

/// Whose figures are shown.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) metrics: Metrics,
    pub(crate) intake: Intake,
    pub(crate) fleet: Fleet,
    pub(crate) connections: Connections,
    pub(crate) registry: Registry,
    pub(crate) invokers: Invokers,
    /// Where requests are served.
    pub(crate) runtime: Handle,
}

/// What is shown, in the OpenMetrics format, read anew each time.
#[derive(Debug)]
pub(crate) struct Exposition(Exposed);

impl Exposition {
    pub(crate) fn of(sources: Sources) -> Self {
        let mut exposed = Exposed::default();
        register(&mut exposed, &sources.metrics);
        let intake = &sources.intake;
        table::REQUESTS_UNANSWERABLE.register(&mut exposed, intake.unanswerable());
        table::ANSWERS_UNSENT.register(&mut exposed, intake.unsent());
        table::REQUESTS_EXPIRED.register(&mut exposed, intake.expired());
        table::FLEET_REFUSED.register(&mut exposed, sources.fleet.refused());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        table::BUILD.register(&mut exposed, build);
        exposed.register_collector(Box::new(BreakerStates {
            registry: sources.registry.clone(),
            invokers: sources.invokers,
            metrics: sources.metrics,
        }));
        exposed.register_collector(Box::new(Process::started_now()));
        exposed.register_collector(Box::new(AtScrape {
            connections: sources.connections,
            registry: sources.registry,
            runtime: sources.runtime,
        }));
        #[cfg(feature = "count-allocations")]
        exposed.register_collector(Box::new(crate::allocations::Allocations));
        Self(exposed)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.0);
        text
    }
}

/// No label set: these have no exemplars.
type NoExemplar = Vec<(String, String)>;

/// Figures that others keep.
#[derive(Debug)]
struct AtScrape {
    connections: Connections,
    registry: Registry,
    runtime: Handle,
}

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let freshness = self.registry.freshness();
        let nats = &self.connections;
        let tasks = self.runtime.metrics().num_alive_tasks() as u64;
        for (described, value) in [
            (table::NATS_CONNECTED, u64::from(nats.serve())),
            (table::REGISTRY_REVISION, freshness.revision),
            (table::REGISTRY_STALE, freshness.stale_seconds),
            (table::TASKS, tasks),
        ] {
            described.encode(&mut encoder, gauge(value))?;
        }
        for (described, count) in [
            (table::NATS_RECONNECTS, nats.reconnects()),
            (table::NATS_REPLACEMENTS, nats.replacements()),
            (table::NATS_SLOW_CONSUMERS, nats.slow_consumer_events()),
            (table::LATE_ANSWERS, nats.late_answers()),
            (table::LOG_LINES_DROPPED, logs::dropped_lines()),
        ] {
            described.encode(&mut encoder, ConstCounter::new(count))?;
        }
        for (described, counts) in [
            (table::ANSWERS_FORGED, nats.forged_answers()),
            (table::NATS_UNREADABLE, nats.unreadable()),
        ] {
            let label = described.labels.first().copied().unwrap_or_default();
            let mut family = described.encoder(&mut encoder)?;
            for (value, count) in counts {
                family
                    .encode_family(&[(label, value)])?
                    .encode_counter::<NoExemplar, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}

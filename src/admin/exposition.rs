//! What `GET /metrics` shows: the counters of the router, and what is read from its surroundings when somebody asks.

use std::fmt;

use beamline_actors::registry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::runtime::Handle;

use super::{Shared, breakers};
use crate::edge::nats::Connection;
use crate::observe::logs;

pub(super) fn registry(shared: &Shared) -> prometheus_client::registry::Registry {
    let all = &shared.surroundings;
    let mut registry = prometheus_client::registry::Registry::default();
    all.metrics.register(&mut registry);
    let help = "Requests without a reply subject that can be used";
    registry.register(
        "router_requests_unanswerable",
        help,
        all.intake.unanswerable(),
    );
    let help = "Answers that found no connection to NATS before their deadline";
    registry.register("router_answers_unsent", help, all.intake.unsent());
    let help = "Requests that were read after their Router-Deadline, and not executed";
    registry.register("router_requests_expired", help, all.intake.expired());
    let (connection, of) = (all.connection.clone(), all.registry.clone());
    let breakers = breakers::Gauge {
        registry: all.registry.clone(),
        invokers: all.invokers.clone(),
    };
    registry.register_collector(Box::new(breakers));
    let runtime = shared.runtime.clone();
    registry.register_collector(Box::new(AtScrape {
        connection,
        registry: of,
        runtime,
    }));
    #[cfg(feature = "count-allocations")]
    registry.register_collector(Box::new(crate::allocations::Allocations));
    registry
}

/// Figures that others keep.
#[derive(Debug)]
struct AtScrape {
    connection: Connection,
    registry: Registry,
    runtime: Handle,
}

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let freshness = self.registry.freshness();
        let gauges = [
            (
                "router_nats_connected",
                "1 while the connection to NATS stands",
                u64::from(self.connection.is_connected()),
            ),
            (
                "extension_registry_revision",
                "Revision of the store that is served",
                freshness.revision,
            ),
            (
                "extension_registry_stale_seconds",
                "Age of the snapshot while the store is away",
                freshness.stale_seconds,
            ),
            (
                "router_tasks",
                "Tasks of the runtime that are alive; without requests it returns to what it was",
                self.runtime.metrics().num_alive_tasks() as u64,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            (
                "router_nats_reconnects",
                "Times that the connection to NATS came back",
                self.connection.reconnects(),
            ),
            (
                "router_nats_replacements",
                "Times that another NATS client took the place of a dead one, or of one on a lame duck",
                self.connection.replacements(),
            ),
            (
                "router_nats_slow_consumer_events",
                "Times that NATS dropped a message because a subscription was full",
                self.connection.slow_consumer_events(),
            ),
            (
                "extension_late_answers",
                "Answers of extensions that nobody waited for any more",
                self.connection.late_answers(),
            ),
            (
                "router_log_lines_dropped",
                "Lines of the log that were lost: its reader was too slow, or they could not be written",
                logs::dropped_lines(),
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

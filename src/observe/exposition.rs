//! What `GET /metrics` shows: the counters of the router, and what is read from its surroundings
//! when somebody asks.

use std::fmt;

use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::registry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as Exposed;
use tokio::runtime::Handle;

use crate::edge::nats::Connections;
use crate::edge::nats::control::Fleet;
use crate::edge::nats::intake::Intake;
use crate::observe::logs;

mod breakers;

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
        sources.metrics.register(&mut exposed);
        register_intake(&mut exposed, &sources.intake);
        let help = "Messages in the name of replicas that were refused, by what they were and why";
        let refused = sources.fleet.refused();
        exposed.register("router_fleet_messages_refused", help, refused);
        exposed.register_collector(Box::new(breakers::States {
            registry: sources.registry.clone(),
            invokers: sources.invokers,
        }));
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

fn register_intake(exposed: &mut Exposed, intake: &Intake) {
    let help = "Requests without a reply subject that can be used";
    exposed.register("router_requests_unanswerable", help, intake.unanswerable());
    let help = "Answers that found no connection to NATS before their deadline";
    exposed.register("router_answers_unsent", help, intake.unsent());
    let help = "Requests that were read after their Router-Deadline, and not executed";
    exposed.register("router_requests_expired", help, intake.expired());
}

/// Figures that others keep.
#[derive(Debug)]
struct AtScrape {
    connections: Connections,
    registry: Registry,
    runtime: Handle,
}

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let freshness = self.registry.freshness();
        let gauges = [
            (
                "router_nats_connected",
                "1 while the connections to NATS stand",
                u64::from(self.connections.serve()),
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
                "Times that a connection to NATS came back",
                self.connections.reconnects(),
            ),
            (
                "router_nats_replacements",
                "Times that another NATS client took the place of a dead one, or of one on a lame duck",
                self.connections.replacements(),
            ),
            (
                "router_nats_slow_consumer_events",
                "Times that NATS dropped a message because a subscription was full",
                self.connections.slow_consumer_events(),
            ),
            (
                "extension_late_answers",
                "Answers of extensions that nobody waited for any more",
                self.connections.late_answers(),
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
        let connections = &self.connections;
        let by_label = [
            (
                "extension_answers_forged",
                "Answers to calls that were refused as forged, by what is wrong with them",
                "reason",
                connections.forged_answers(),
            ),
            (
                "router_nats_unreadable_messages",
                "Messages that the NATS client cannot read, each of which ended a connection, by where they came in",
                "door",
                connections.unreadable(),
            ),
        ];
        for (name, help, label, counts) in by_label {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in counts {
                let counter = ConstCounter::new(count);
                counter.encode(family.encode_family(&[(label, value)])?)?;
            }
        }
        Ok(())
    }
}

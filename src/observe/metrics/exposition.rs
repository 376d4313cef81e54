//! The counters of the router, and what is read from its surroundings when somebody asks.

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

use super::breakers::BreakerStates;
use super::process::{Process, gauge};
use super::table;
use crate::edge::nats::Connections;
use crate::edge::nats::control::Fleet;
use crate::edge::nats::intake::Intake;
use crate::observe::logs;

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

/// Everything that the router itself counts.
pub(super) fn register(to: &mut Exposed, counted: &Metrics) {
    let Metrics {
        extensions: _,
        tenants: _,
        fallback_pairs: _,
        registry_size,
        reload_duration,
        reload_errors,
        extension_requests,
        extension_duration,
        extension_failures,
        extension_in_flight,
        extension_limit,
        extension_calls_refused,
        answers_tolerated,
        breaker_transitions,
        provider_requests,
        provider_latency,
        provider_tokens,
        retries,
        retries_refused,
        fallbacks,
        sessions,
        requests_received,
        requests_answered,
        request_duration,
        stage_duration,
        tenant_requests,
        requests_in_flight,
        requests_limit,
        requests_ceiling,
        pressure,
        lag,
        bus_lag,
        memory_used,
        requests_queued,
        requests_shed,
        request_bytes,
        restarts,
        wrong_keys,
    } = counted.clone();
    table::REQUESTS_RECEIVED.register(to, requests_received);
    table::REQUESTS_ANSWERED.register(to, requests_answered);
    table::REQUEST_DURATION.register(to, request_duration);
    table::STAGE_DURATION.register(to, stage_duration);
    table::TENANT_REQUESTS.register(to, tenant_requests);
    table::REQUESTS_IN_FLIGHT.register(to, requests_in_flight);
    table::FALLBACKS.register(to, fallbacks);
    table::SESSIONS.register(to, sessions);
    table::EXTENSION_REQUESTS.register(to, extension_requests);
    table::EXTENSION_DURATION.register(to, extension_duration);
    table::EXTENSION_FAILURES.register(to, extension_failures);
    table::EXTENSION_IN_FLIGHT.register(to, extension_in_flight);
    table::EXTENSION_LIMIT.register(to, extension_limit);
    table::EXTENSION_CALLS_REFUSED.register(to, extension_calls_refused);
    table::BREAKER_TRANSITIONS.register(to, breaker_transitions);
    table::ANSWERS_TOLERATED.register(to, answers_tolerated);
    table::RETRIES.register(to, retries);
    table::RETRIES_REFUSED.register(to, retries_refused);
    table::PROVIDER_REQUESTS.register(to, provider_requests);
    table::PROVIDER_LATENCY.register(to, provider_latency);
    table::PROVIDER_TOKENS.register(to, provider_tokens);
    table::REQUESTS_LIMIT.register(to, requests_limit);
    table::REQUESTS_CEILING.register(to, requests_ceiling);
    table::REQUESTS_QUEUED.register(to, requests_queued);
    table::REQUESTS_SHED.register(to, requests_shed);
    table::REQUEST_BYTES.register(to, request_bytes);
    table::PRESSURE.register(to, pressure);
    table::LAG.register(to, lag);
    table::BUS_LAG.register(to, bus_lag);
    table::MEMORY_RATIO.register(to, memory_used);
    table::REGISTRY_SIZE.register(to, registry_size);
    table::RELOAD_DURATION.register(to, reload_duration);
    table::RELOAD_ERRORS.register(to, reload_errors);
    table::WRONG_KEYS.register(to, wrong_keys);
    table::RESTARTS.register(to, restarts);
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

//! Every metric of the router.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry, Unit};

/// What a metric is called and means.
#[derive(Debug)]
pub(crate) struct Described {
    /// Without the `_total` of a counter.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A fact: always 1.
    Info,
}

/// Those that belong together.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) metrics: &'static [&'static Described],
}

impl Described {
    /// As it is found in Prometheus.
    #[cfg(test)]
    pub(crate) fn full_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Info => format!("{}_info", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }

    /// Puts what the router counts under its name.
    pub(crate) fn register(&self, registry: &mut Registry, metric: impl Metric) {
        match self.unit() {
            (base, Some(unit)) => {
                registry.register_with_unit(base, self.help, unit.clone(), metric)
            }
            (name, None) => registry.register(name, self.help, metric),
        }
    }

    /// The place for figures that others keep.
    pub(crate) fn encoder<'e>(
        &self,
        encoder: &'e mut DescriptorEncoder<'_>,
    ) -> Result<MetricEncoder<'e>, fmt::Error> {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        let (base, unit) = self.unit();
        encoder.encode_descriptor(base, self.help, unit, kind)
    }

    /// Figures that others keep, one for each label.
    pub(crate) fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        metric: impl EncodeMetric,
    ) -> fmt::Result {
        metric.encode(self.encoder(encoder)?)
    }

    /// The encoding writes the unit behind the name.
    fn unit(&self) -> (&'static str, Option<&'static Unit>) {
        if let Some(base) = self.name.strip_suffix("_seconds") {
            (base, Some(&Unit::Seconds))
        } else if let Some(base) = self.name.strip_suffix("_bytes") {
            (base, Some(&Unit::Bytes))
        } else {
            (self.name, None)
        }
    }
}

macro_rules! table {
    ($($title:literal {$(
        $constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;
    )*})*) => {
        $($(
            pub(crate) const $constant: Described = Described {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*)*
        /// Everything, in the order in which people read it.
        #[cfg(test)]
        pub(crate) const SECTIONS: &[Section] = &[$(
            Section { title: $title, metrics: &[$(&$constant),*] },
        )*];
    };
}

table! {
    "Requests" {
        REQUESTS_RECEIVED: Counter "router_requests_received" [] "Requests taken in";
        REQUESTS_ANSWERED: Counter "router_requests_answered" ["edge", "kind", "outcome"]
            "Answers, by where they came in, what they asked for, and outcome: `ok` or the code of the error";
        REQUEST_DURATION: Histogram "router_request_duration_seconds" ["edge", "kind"]
            "From reading a request to its answer; those turned away at the door are not in it";
        STAGE_DURATION: Histogram "router_stage_duration_seconds" ["stage"]
            "What the stages of requests took: `pre`, `validate`, `provider`, `post`, `output`";
        TENANT_REQUESTS: Counter "router_tenant_requests" ["tenant_id", "outcome"]
            "Answers by tenant, as far as it was read; only with `telemetry.tenant_label`, and for the first 50 tenants, others are `other`";
        REQUESTS_IN_FLIGHT: Gauge "router_requests_in_flight" [] "Requests taken in and not answered";
        FALLBACKS: Counter "router_fallbacks" ["from", "to"] "Times that a provider took over from another that failed";
        SESSIONS: Counter "router_sessions" ["result"]
            "Requests of sticky sessions: `kept` its provider, got a `new` one, or `moved` to another";
        REQUESTS_UNANSWERABLE: Counter "router_requests_unanswerable" [] "Requests without a reply subject that can be used";
        REQUESTS_EXPIRED: Counter "router_requests_expired" []
            "Requests that were read after their Router-Deadline, and not executed";
        ANSWERS_UNSENT: Counter "router_answers_unsent" [] "Answers that found no connection to NATS before their deadline";
    }
    "Extensions" {
        EXTENSION_REQUESTS: Counter "extension_requests" ["extension_id", "status"] "Calls of an extension by how they ended";
        EXTENSION_DURATION: Histogram "extension_request_duration_seconds" ["extension_id"]
            "Time of a call with all its attempts";
        EXTENSION_FAILURES: Counter "extension_failures" ["extension_id", "reason"] "Failed calls by reason";
        EXTENSION_IN_FLIGHT: Gauge "extension_in_flight" ["extension_id"] "Calls of an extension under way";
        EXTENSION_LIMIT: Gauge "extension_limit" ["extension_id"] "Calls of an extension that may run at once";
        EXTENSION_CALLS_REFUSED: Counter "extension_calls_refused" ["extension_id", "reason"]
            "Attempts for which there was no place among the calls of an extension";
        BREAKER_STATE: Gauge "extension_breaker_state" ["extension_id"]
            "What the next call meets: 0 closed, 1 half open, 2 open";
        BREAKER_TRANSITIONS: Counter "extension_breaker_transitions" ["extension_id", "state"]
            "Times that a breaker of the extension has come to a state; `open` counts its openings";
        LATE_ANSWERS: Counter "extension_late_answers" [] "Answers of extensions that nobody waited for any more";
        ANSWERS_FORGED: Counter "extension_answers_forged" ["reason"]
            "Answers to calls that were refused as forged, by what is wrong with them";
        ANSWERS_TOLERATED: Counter "extension_answers_tolerated" ["extension_id"]
            "Answers that are refused without `router.strict_answers = \"warn\"`";
        RETRIES: Counter "router_retries" ["extension_id", "kind"] "Attempts that a retry budget granted";
        RETRIES_REFUSED: Counter "router_retries_refused" ["extension_id", "kind", "budget"]
            "Attempts that were not made because a retry budget was empty";
    }
    "Providers" {
        PROVIDER_REQUESTS: Counter "provider_requests" ["provider_id", "status"] "Calls of a provider by how they ended";
        PROVIDER_LATENCY: Histogram "provider_latency_seconds" ["provider_id"]
            "Time of a provider call with all its attempts";
        PROVIDER_TOKENS: Counter "provider_tokens" ["provider_id"] "Tokens that a provider counted";
    }
    "Limits and load" {
        REQUESTS_LIMIT: Gauge "router_requests_limit" [] "Requests that may run at once";
        REQUESTS_CEILING: Gauge "router_requests_ceiling" [] "What that limit may grow to";
        REQUESTS_QUEUED: Gauge "router_requests_queued" [] "Requests that wait for a place";
        REQUESTS_SHED: Counter "router_requests_shed" ["reason", "priority"] "Requests turned away at the door";
        REQUEST_BYTES: Gauge "router_request_bytes" [] "Bytes of the requests in flight and waiting";
        PRESSURE: Gauge "router_pressure" [] "0 none, 1 high, 2 severe, 3 critical";
        LAG: Gauge "router_lag_seconds" [] "How late timers are";
        BUS_LAG: Gauge "router_bus_lag_seconds" [] "What a message to itself takes longer than usual";
        MEMORY_RATIO: Gauge "router_memory_ratio" [] "Memory in use, of what there is";
        TASKS: Gauge "router_tasks" []
            "Tasks of the runtime that are alive; without requests it returns to what it was";
    }
    "NATS" {
        NATS_CONNECTED: Gauge "router_nats_connected" [] "1 while the connections to NATS stand";
        NATS_RECONNECTS: Counter "router_nats_reconnects" [] "Times that a connection to NATS came back";
        NATS_REPLACEMENTS: Counter "router_nats_replacements" []
            "Times that another NATS client took the place of a dead one, or of one on a lame duck";
        NATS_SLOW_CONSUMERS: Counter "router_nats_slow_consumer_events" []
            "Times that NATS dropped a message because a subscription was full";
        NATS_UNREADABLE: Counter "router_nats_unreadable_messages" ["door"]
            "Messages that the NATS client cannot read, each of which ended a connection, by where they came in";
    }
    "Registry and store" {
        REGISTRY_SIZE: Gauge "extension_registry_size" [] "Extensions in the snapshot";
        REGISTRY_REVISION: Gauge "extension_registry_revision" [] "Revision of the store that is served";
        REGISTRY_STALE: Gauge "extension_registry_stale_seconds" [] "Age of the snapshot while the store is away";
        RELOAD_DURATION: Histogram "extension_registry_reload_duration_seconds" [] "Time of one reload from the store";
        RELOAD_ERRORS: Counter "extension_registry_reload_errors" [] "Reloads that failed";
    }
    "Administration and security" {
        WRONG_KEYS: Counter "admin_wrong_keys" [] "Requests to the administration with a key that opens nothing";
        FLEET_REFUSED: Counter "router_fleet_messages_refused" ["kind", "reason"]
            "Messages in the name of replicas that were refused, by what they were and why";
    }
    "The process" {
        BUILD: Info "router_build" ["version"] "Which router it is";
        RESTARTS: Counter "router_restarts" ["node"] "Restarts of actors by supervisor";
        LOG_LINES_DROPPED: Counter "router_log_lines_dropped" []
            "Lines of the log that were lost: its reader was too slow, or they could not be written";
        PROCESS_START: Gauge "process_start_time_seconds" [] "When the process was started, since 1970";
        PROCESS_CPU: Counter "process_cpu_seconds" [] "Time on the processors, of user and system";
        PROCESS_MEMORY: Gauge "process_resident_memory_bytes" [] "Memory that the process has";
        PROCESS_FILES: Gauge "process_open_fds" [] "Files and sockets that are open";
        PROCESS_MOST_FILES: Gauge "process_max_fds" [] "Files and sockets that may be open";
    }
}

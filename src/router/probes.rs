//! What the probes of a router answer from.

use std::sync::Arc;

use beamline_actors::registry::Registry;

use super::exposition::Exposition;
use super::parts::Phase;
use crate::edge::http::{Probes, Readiness};
use crate::edge::nats::Connections;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(super) struct ReadinessSource {
    pub(super) connections: Connections,
    pub(super) registry: Registry,
    pub(super) phase: Phase,
}

pub(super) fn probes(source: ReadinessSource, exposition: Exposition) -> Probes {
    Probes {
        readiness: Arc::new(move || source.readiness()),
        metrics: Arc::new(move || Some(exposition.text())),
    }
}

impl ReadinessSource {
    fn readiness(&self) -> Readiness {
        let freshness = self.registry.freshness();
        let connections = &self.connections;
        Readiness {
            nats: self.phase.is_subscribed()
                && connections.serve()
                && !connections.subscription_denied(),
            registry: freshness.loaded,
            draining: self.phase.is_draining(),
            revision: freshness.revision,
            registry_source: freshness.source,
            stale_seconds: freshness.stale_seconds,
        }
    }
}

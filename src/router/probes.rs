//! What the probes of a router answer from.

use std::sync::Arc;

use beamline_actors::registry::Registry;
use beamline_contract::subject;

use super::parts::Phase;
use crate::edge::http::{Probes, Readiness};
use crate::edge::nats::Connection;
use crate::observe::exposition::Exposition;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(super) struct ReadinessSource {
    pub(super) connection: Connection,
    pub(super) registry: Registry,
    pub(super) phase: Phase,
}

pub(super) fn probes(source: ReadinessSource, exposition: Exposition) -> Probes {
    Probes {
        readiness: Arc::new(move || source.readiness()),
        metrics: Arc::new(move || exposition.text()),
    }
}

impl ReadinessSource {
    fn readiness(&self) -> Readiness {
        let freshness = self.registry.freshness();
        let connection = &self.connection;
        Readiness {
            nats: self.phase.is_subscribed()
                && connection.is_connected()
                && !connection.subscription_denied(serves_requests),
            registry: freshness.loaded,
            draining: self.phase.is_draining(),
            revision: freshness.revision,
            registry_source: freshness.source,
            stale_seconds: freshness.stale_seconds,
        }
    }
}

/// Whether requests cannot be served without this subscription. Administration is not among them.
fn serves_requests(subject: &str) -> bool {
    let others = [subject::admin("", ""), subject::control("", "")];
    !others.iter().any(|part| subject.contains(part))
}

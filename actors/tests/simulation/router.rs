//! The whole tree over the bus, the store and the sessions of a run.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::children;
use beamline_actors::door::Door;
use beamline_actors::invoker::InvokerMsg;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::{Change, Store};
use beamline_actors::registry::{Registry, RegistrySettings};
use beamline_actors::services::PipelineSettings;
use beamline_actors::sessions::Sessions;
use beamline_actors::testing::{MemorySessions, MemoryStore, content};
use beamline_actors::tree::{Node, Root};
use beamline_actors::watch::WatchSettings;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::admission::AdmissionSettings;
use beamline_domain::record;
use beamline_domain::request::RequestLimits;
use beamline_domain::request::plan::PlanLimits;
use beamline_domain::snapshot::{Content, StoredPolicy};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bus::Bus;
use crate::faults::Part;
use crate::story::Story;
use crate::world::{DEFAULT_TIMEOUT_MS, Policy, World};

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) bus: Arc<Bus>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) sessions: Arc<MemorySessions>,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    pub(crate) invokers: Invokers,
    pub(crate) door: Door,
    _root: Root,
}

impl Router {
    pub(crate) async fn start(seed: u64, world: &World, story: &Story) -> Self {
        let store = MemoryStore::new(stored(world));
        let loaded = store.load().await.unwrap();
        let metrics = Metrics::default();
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let registry = Registry::new(
            store.clone(),
            settings,
            metrics.clone(),
            Some((loaded, true)),
        );
        let bus = Bus::new(seed, &world.records, story.clone());
        let invokers = Invokers::new(bus.transport.clone(), registry.clone(), metrics.clone());
        invokers.limit_calls(world.calls_per_extension);
        let settings = PipelineSettings {
            admission: AdmissionSettings::limited_to(world.max_in_flight),
            environment: "simulation".into(),
            requests: RequestLimits {
                default_timeout: Duration::from_millis(DEFAULT_TIMEOUT_MS),
                max_timeout: Duration::from_secs(60),
                allowed_tenants: None,
            },
            plans: PlanLimits {
                subject_prefix: "beamline".into(),
                max_extensions: 32,
            },
            extra_attempts: world.extra_attempts,
        };
        let sessions = MemorySessions::new();
        let shared = Sessions::new(sessions.clone());
        let door = Door::new(
            settings,
            registry.clone(),
            invokers.clone(),
            shared,
            metrics.clone(),
            std::sync::Arc::new(beamline_actors::story::Unobserved),
        );
        let children = children::core(
            &registry,
            &invokers,
            &door,
            WatchSettings::default(),
            &metrics,
        );
        let root = Root::start(Node::root(), children, metrics.clone())
            .await
            .unwrap();
        Self {
            bus,
            store,
            sessions,
            metrics,
            registry,
            invokers,
            door,
            _root: root,
        }
    }

    pub(crate) fn crash(&self, part: &Part) {
        match part {
            Part::Registry => {
                self.registry.crash();
            }
            Part::Invokers => self.invokers.crash(),
            Part::Door => self.door.crash(),
            Part::Invoker(id) => {
                let _ = self
                    .invokers
                    .find(id)
                    .map(|invoker| invoker.address.send(InvokerMsg::Crash));
            }
        }
    }

    /// Writes to the store; the router hears of it now, or by its next poll.
    pub(crate) fn write(&self, change: Change, told: bool) {
        self.store.write_silently(change).unwrap();
        if told {
            self.registry.reload();
        }
    }
}

pub(crate) fn record(record: &Value) -> ExtensionRecord {
    record::parse(&record.to_string(), "beamline").unwrap()
}

pub(crate) fn policy(policy: &Policy) -> StoredPolicy {
    StoredPolicy {
        tenant_id: policy.tenant.clone(),
        policy_id: policy.id.clone(),
        document: RawValue::from_string(policy.document.to_string()).unwrap(),
    }
}

fn stored(world: &World) -> Content {
    Content {
        extensions: world.records.iter().map(record).collect(),
        policies: world.policies.iter().map(policy).collect(),
        ..content(&[], &[])
    }
}

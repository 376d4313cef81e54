//! The parts of a router, each made whole of those before it, and their places in the tree.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use beamline_actors::children;
use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::Store;
use beamline_actors::registry::Registry;
use beamline_actors::sessions::Sessions;
use beamline_actors::tree::{Child, Node};
use beamline_domain::snapshot::Content;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::exposition::{Exposition, Sources};
use super::first_snapshot::FirstSnapshot;
use super::fleet_keys;
use super::listening::Listening;
use super::probes::{ReadinessSource, probes};
use super::settings::{
    admin_settings, intake_settings, pipeline_settings, registry_settings, watch_settings,
};
use super::start::Prepared;
use super::state_lock::StateLock;
use crate::admin::{Administration, Identity, Surroundings};
use crate::config::Config;
use crate::edge::http::{Http, Listeners, Starting};
use crate::edge::nats::admin::{NatsAdmin, NatsAdminActor};
use crate::edge::nats::control::{Fleet, FleetActor};
use crate::edge::nats::intake::{Intake, IntakeActor};
use crate::edge::nats::reply_subjects::ReplySubjects;
use crate::edge::nats::{Connections, NatsSessions, NatsTransport};
use crate::monitor::{self, Watched};
use crate::observe::logs;
use crate::observe::requests::Requests;
use crate::store::{AuditLog, Listener, OpenStore};

/// A router before its start.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) parts: Parts,
    pub(super) root: Arc<Node>,
    /// What stands below the root, in the order of its start.
    pub(super) children: Vec<Child>,
    /// Answers probes until the tree does.
    pub(super) starting: Starting,
    pub(super) http_address: SocketAddr,
}

/// What a running router is stopped by.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) audit: AuditLog,
    pub(super) connections: Connections,
    pub(super) metrics: Metrics,
    pub(super) door: Door,
    pub(super) intake: Intake,
    pub(super) admin: NatsAdmin,
    pub(super) http: Http,
    pub(super) phase: Phase,
    /// Held to the end: what ends last may still write there.
    _state_lock: StateLock,
}

/// How far a router has got. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase {
    subscribed: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Phase {
    /// The server has the subscriptions: requests come here.
    pub(super) fn subscribed(&self) {
        self.subscribed.store(true, Ordering::Relaxed);
    }

    pub(super) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl Built {
    pub(super) fn new(prepared: Prepared) -> Self {
        let Prepared {
            config,
            state_lock,
            listening,
            store:
                OpenStore {
                    store,
                    listener: registry_listener,
                    audit,
                },
            start_with,
            connections,
            transport,
        } = prepared;
        let FirstSnapshot {
            content,
            fresh,
            behind,
        } = start_with;
        let Listening {
            listeners,
            starting,
            address,
        } = listening;
        let root = Node::root();
        let phase = Phase::default();
        let identity = Identity::new(&config.router.environment);
        let watch = watch_settings(&config, &store, &identity);
        let core = Core::new(
            &config,
            (&store, audit),
            (content, fresh),
            &connections,
            &transport,
            &identity,
        );
        let edges = Edges::new(
            &config,
            &core,
            &connections,
            identity,
            &root,
            &phase,
            listeners,
        );

        let mut children = vec![connections.child(&core.metrics)];
        children.extend(transport.children());
        children.extend(children::core(
            &core.registry,
            &core.invokers,
            &core.door,
            watch,
            &core.metrics,
        ));
        children.extend(registry_listener.map(Listener::child));
        children.push(fleet_keys::child(&core.registry, &store));
        children.extend(behind.map(|behind| behind.child(&core.registry)));
        children.push(monitor::supervisor(core.watched(&config, transport)));
        children.push(core.audit.child());
        children.push(core.requests.child());
        children.extend(logs::levels().map(|levels| levels.child()));
        children.extend(edges.children());
        let parts = Parts {
            store,
            audit: core.audit,
            connections,
            metrics: core.metrics,
            door: core.door,
            intake: edges.intake,
            admin: edges.admin,
            http: edges.http,
            phase,
            _state_lock: state_lock,
        };
        Self {
            parts,
            root,
            children,
            starting,
            http_address: address,
        }
    }
}

/// What carries requests, whichever way they come in.
struct Core {
    metrics: Metrics,
    registry: Registry,
    audit: AuditLog,
    invokers: Invokers,
    door: Door,
    requests: Requests,
}

impl Core {
    fn new(
        config: &Config,
        (store, audit): (&Arc<dyn Store>, AuditLog),
        start_with: (Content, bool),
        connections: &Connections,
        transport: &NatsTransport,
        identity: &Identity,
    ) -> Self {
        let metrics = Metrics::default();
        let by_tenant = config.telemetry.tenant_label;
        let requests = Requests::new(&identity.instance_id, metrics.clone(), by_tenant);
        let registry = Registry::new(
            Arc::clone(store),
            registry_settings(config),
            metrics.clone(),
            Some(start_with),
        );
        let invokers = Invokers::limited_to(
            config.router.max_in_flight_per_extension,
            Arc::new(transport.clone()),
            registry.clone(),
            metrics.clone(),
        );
        if config.router.tolerates_answers {
            invokers.tolerate();
        }
        let store = NatsSessions::new(connections.administration.clone(), &config.nats);
        let sessions = Sessions::limited_to(config.quotas.sessions_per_tenant, store);
        let door = Door::new(
            pipeline_settings(config),
            registry.clone(),
            invokers.clone(),
            sessions,
            metrics.clone(),
            Arc::new(requests.clone()),
        );
        Self {
            metrics,
            registry,
            audit,
            invokers,
            door,
            requests,
        }
    }

    fn watched(&self, config: &Config, transport: NatsTransport) -> Watched {
        Watched {
            door: self.door.clone(),
            invokers: self.invokers.clone(),
            metrics: self.metrics.clone(),
            transport,
            memory_limit: config.router.memory_limit,
        }
    }
}

/// Where the world meets it.
struct Edges {
    intake: Intake,
    fleet: Fleet,
    admin: NatsAdmin,
    http: Http,
}

impl Edges {
    fn new(
        config: &Config,
        core: &Core,
        connections: &Connections,
        identity: Identity,
        root: &Arc<Node>,
        phase: &Phase,
        listeners: Listeners,
    ) -> Self {
        let prefix = &config.nats.subject_prefix;
        let replies = Arc::new(ReplySubjects::new(&config.nats));
        let intake = Intake::new(
            connections.gateways.clone(),
            core.door.clone(),
            Arc::clone(&replies),
            intake_settings(config),
        );
        let fleet = Fleet::new(
            connections.administration.clone(),
            core.registry.clone(),
            core.invokers.clone(),
            &identity.instance_id,
            prefix,
            Arc::clone(&replies),
            core.requests.clone(),
        );
        let administration = Administration::new(Surroundings {
            identity,
            settings: admin_settings(config),
            registry: core.registry.clone(),
            audit: core.audit.clone(),
            invokers: core.invokers.clone(),
            door: core.door.clone(),
            metrics: core.metrics.clone(),
            replicas: Arc::new(fleet.clone()),
            listeners: Arc::new(fleet.clone()),
            draining: Arc::clone(&phase.draining),
            tree: Arc::clone(root),
            overtaken: Mutex::default(),
        });
        let admin = NatsAdmin::new(
            connections.administration.clone(),
            administration,
            prefix,
            replies,
        );
        let exposition = Exposition::of(Sources {
            metrics: core.metrics.clone(),
            intake: intake.clone(),
            fleet: fleet.clone(),
            connections: connections.clone(),
            registry: core.registry.clone(),
            invokers: core.invokers.clone(),
            runtime: Handle::current(),
        });
        let readiness = ReadinessSource {
            connections: connections.clone(),
            registry: core.registry.clone(),
            phase: phase.clone(),
        };
        let http = Http::new(listeners, probes(readiness, exposition));
        Self {
            intake,
            fleet,
            admin,
            http,
        }
    }

    /// Requests come in before anybody else: without the others they are served all the same.
    fn children(&self) -> Vec<Child> {
        let intake = self.intake.clone();
        let fleet = self.fleet.clone();
        let admin = self.admin.clone();
        let mut children = vec![
            Child::essential(self.intake.node(), move || (IntakeActor, intake.clone())),
            Child::lasting(self.fleet.node(), move || (FleetActor, fleet.clone())),
            Child::lasting(self.admin.node(), move || (NatsAdminActor, admin.clone())),
        ];
        children.extend(self.http.children());
        children
    }
}

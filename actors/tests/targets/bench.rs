//! One extension with a registry, a bus and its invokers, all in memory.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::call::CallScope;
use beamline_actors::invokers::{Invokers, InvokersActor};
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::Store;
use beamline_actors::registry::{Registry, RegistryActor, RegistrySettings};
use beamline_actors::testing::{MemoryStore, MemoryTransport, content};
use beamline_actors::tree::{Child, Node, Root};
use beamline_actors::watch::{self, WatchSettings};
use beamline_contract::fields::Fields;
use beamline_contract::policy::Mode;
use beamline_contract::record::{BreakerOverrides, Kind};
use beamline_contract::trace::Carried;
use beamline_domain::record;
use beamline_domain::request::plan::{Endpoint, PlannedCall, Rule, Target};
use beamline_domain::request::run::{CallOrder, CallResult, TimeShare};
use beamline_domain::target::breaker::Settings;
use beamline_domain::target::selection::EndpointState;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

pub(super) const A: &str = "beamline.ext.pre.clean.a";
pub(super) const B: &str = "beamline.ext.pre.clean.b";
pub(super) const C: &str = "beamline.ext.pre.clean.c";
pub(super) const OWN: &str = "beamline.ext.pre.clean.v1";
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// The first open time at its longest.
pub(super) const OPEN_FOR: Duration = Duration::from_millis(6_250);

pub(super) const RECORD: &str = r#"{"id": "clean", "type": "pre", "instances": [
    {"instance_id": "a", "subject": "beamline.ext.pre.clean.a"},
    {"instance_id": "b", "subject": "beamline.ext.pre.clean.b"}]}"#;

pub(super) struct Bench {
    pub(super) bus: Arc<MemoryTransport>,
    pub(super) registry: Registry,
    pub(super) invokers: Invokers,
    pub(super) metrics: Metrics,
    _root: Root,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let store = MemoryStore::new(content(&[RECORD], &[]));
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let loaded = store.load().await.unwrap();
        let metrics = Metrics::default();
        let bus = MemoryTransport::new();
        let registry = Registry::new(store, settings, metrics.clone(), Some((loaded, true)));
        let invokers = Invokers::new(bus.clone(), registry.clone(), metrics.clone());
        let for_registry = registry.clone();
        let for_invokers = invokers.clone();
        let children = vec![
            Child::essential(registry.node(), move || {
                (RegistryActor, for_registry.clone())
            }),
            Child::essential(invokers.node(), move || {
                (InvokersActor, for_invokers.clone())
            }),
            watch::supervisor(&invokers, WatchSettings::default(), &metrics),
        ];
        let root = Root::start(Node::root(), children, metrics.clone())
            .await
            .unwrap();
        Self {
            bus,
            registry,
            invokers,
            metrics,
            _root: root,
        }
    }

    pub(super) async fn call(&self, order: &CallOrder) -> CallResult {
        self.invokers.call(order, &scope()).await
    }

    pub(super) async fn call_of(&self, tenant: &str, order: &CallOrder) -> CallResult {
        self.invokers.call(order, &scope_of(tenant)).await
    }

    pub(super) fn endpoint_state(&self, subject: &str) -> EndpointState {
        self.invokers.endpoint_state("clean", subject)
    }

    pub(super) fn sent(&self, subject: &str) -> usize {
        self.bus.calls(subject).len()
    }

    pub(super) fn state(&self) -> &'static str {
        self.invokers
            .find("clean")
            .unwrap()
            .breaker()
            .state
            .as_str()
    }
}

/// A call of `clean` at these endpoints, with two retries by its record and plenty by its request.
pub(super) fn order(subjects: &[&str]) -> CallOrder {
    let endpoint = |subject: &&str| Endpoint {
        subject: (*subject).into(),
        instance: None,
    };
    let target = Target {
        version: "v1".into(),
        endpoints: subjects.iter().map(endpoint).collect(),
        avoided: 0,
        per_mib: Duration::ZERO,
        timeout: TIMEOUT,
        retry: 2,
        breaker: Settings::new(Kind::Pre, TIMEOUT, &BreakerOverrides::default()),
    };
    let extension = Arc::new(record::parse(RECORD, "beamline").unwrap());
    let rule = Rule::Processor(Mode::Required);
    let call = PlannedCall {
        extension,
        rule,
        target,
        route: None,
        config: Arc::new(Fields::default()),
        when: None,
    };
    CallOrder {
        call: Arc::new(call),
        body: Bytes::from_static(b"{}"),
        attempt: 1,
        turn: 0,
        extra_attempts: 10,
        share: TimeShare::default(),
    }
}

pub(super) fn changed(order: &CallOrder, change: impl FnOnce(&mut PlannedCall)) -> CallOrder {
    let mut call = PlannedCall::clone(&order.call);
    change(&mut call);
    CallOrder {
        call: Arc::new(call),
        ..order.clone()
    }
}

/// The same where the request grants no second attempt.
pub(super) fn without_retries(order: &CallOrder) -> CallOrder {
    CallOrder {
        extra_attempts: 0,
        ..order.clone()
    }
}

pub(super) fn scope() -> CallScope {
    scope_of("t")
}

pub(super) fn scope_of(tenant: &str) -> CallScope {
    CallScope {
        trace_id: "trace".into(),
        traceparent: "00-0-0-00".into(),
        carried: Carried::default(),
        tenant_id: tenant.into(),
        deadline: Instant::now() + Duration::from_secs(60),
        rehearsal: false,
        story: None,
    }
}

/// Retries until it holds.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

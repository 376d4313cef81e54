//! The whole tree in memory, for tests that send it requests.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::children;
use beamline_actors::door::Door;
use beamline_actors::incoming::Incoming;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::{Store, Transport};
use beamline_actors::registry::{Registry, RegistrySettings};
use beamline_actors::services::PipelineSettings;
use beamline_actors::sessions::Sessions;
use beamline_actors::testing::answer_to;
use beamline_actors::testing::{MemorySessions, MemoryStore};
use beamline_actors::tree::{Node, Root};
use beamline_actors::watch::WatchSettings;
use beamline_domain::admission::AdmissionSettings;
use beamline_domain::request::plan::PlanLimits;
use beamline_domain::request::{RequestHeaders, RequestKind, RequestLimits};
use beamline_domain::snapshot::Content;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// A tree that serves this content over this bus.
pub(crate) async fn plant(
    content: Content,
    bus: Arc<dyn Transport>,
    max_in_flight: usize,
    extra_attempts: u32,
) -> (Arc<MemoryStore>, Registry, Invokers, Door, Root) {
    let store = MemoryStore::new(content);
    let settings = RegistrySettings {
        poll_interval: Duration::from_secs(5),
        disk_copy: None,
    };
    let loaded = store.load().await.unwrap();
    let metrics = Metrics::default();
    let registry = Registry::new(
        store.clone(),
        settings,
        metrics.clone(),
        Some((loaded, true)),
    );
    let invokers = Invokers::new(bus, registry.clone(), metrics.clone());
    let settings = PipelineSettings {
        admission: AdmissionSettings::limited_to(max_in_flight),
        environment: "test".into(),
        requests: RequestLimits {
            default_timeout: Duration::from_secs(5),
            max_timeout: Duration::from_secs(60),
            allowed_tenants: None,
        },
        plans: PlanLimits {
            subject_prefix: "beamline".into(),
            max_extensions: 32,
        },
        extra_attempts,
    };
    let sessions = Sessions::new(MemorySessions::new());
    let door = Door::new(
        settings,
        registry.clone(),
        invokers.clone(),
        sessions,
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
    let root = Root::start(Node::root(), children, metrics).await.unwrap();
    (store, registry, invokers, door, root)
}

/// Sends a request; its answers arrive on the channel.
pub(crate) fn send(
    door: &Door,
    kind: RequestKind,
    request: &Value,
) -> mpsc::UnboundedReceiver<Value> {
    let (answers, receiver) = mpsc::unbounded_channel();
    door.admit(Incoming {
        edge: "nats",
        kind,
        headers: RequestHeaders::default(),
        body: Bytes::from(request.to_string()),
        received: Instant::now(),
        // What still runs when a test ends is answered when the tree falls.
        responder: answer_to(move |outgoing| {
            drop(answers.send(serde_json::from_slice(&outgoing.body).unwrap()))
        }),
    });
    receiver
}

/// The one answer; there is no second.
pub(crate) async fn one(mut answers: mpsc::UnboundedReceiver<Value>) -> Value {
    let answer = timeout(Duration::from_secs(120), answers.recv())
        .await
        .expect("an answer")
        .expect("an answer");
    let second = timeout(Duration::from_secs(120), answers.recv())
        .await
        .expect("the reply is used up");
    assert!(second.is_none(), "answered twice");
    answer
}

use std::time::Duration;

use beamline_actors::ports::Store;
use beamline_actors::registry::{Registry, RegistrySettings};
use beamline_actors::services::PipelineSettings;
use beamline_actors::sessions::Sessions;
use beamline_actors::testing::{MemorySessions, MemoryStore, MemoryTransport, content};
use beamline_actors::tree::Root;
use beamline_domain::admission::{AdmissionSettings, Pressure};
use beamline_domain::request::RequestLimits;
use beamline_domain::request::plan::PlanLimits;
use beamline_test_support::{LIMIT, Nats, until};
use futures_util::FutureExt;

use super::*;
use crate::edge::nats::testing::{LateLink, config, transport};

/// A door that is watched, with a byte of memory at most.
struct Pressed {
    door: Door,
    metrics: Metrics,
    root: Root,
    transport: NatsTransport,
    link: LateLink,
    _server: Nats,
}

impl Pressed {
    async fn start() -> Self {
        let server = Nats::start().await;
        let link = LateLink::to(&server).await;
        let metrics = Metrics::default();
        let (transport, _connection) = transport(&config(&link.url)).await;
        let (door, invokers) = door(&metrics).await;
        let watched = Watched {
            door: door.clone(),
            invokers,
            metrics: metrics.clone(),
            transport: transport.clone(),
            memory_limit: Some(1),
        };
        let children = vec![supervisor(watched)];
        let root = Root::start(Node::root(), children, metrics.clone())
            .await
            .unwrap();
        Self {
            door,
            metrics,
            root,
            transport,
            link,
            _server: server,
        }
    }
}

async fn door(metrics: &Metrics) -> (Door, Invokers) {
    let store = MemoryStore::new(content(&[], &[]));
    let settings = RegistrySettings {
        poll_interval: LIMIT,
        disk_copy: None,
    };
    let first = Some((store.load().await.unwrap(), true));
    let registry = Registry::new(store, settings, metrics.clone(), first);
    let invokers = Invokers::new(MemoryTransport::new(), registry.clone(), metrics.clone());
    let settings = PipelineSettings {
        admission: AdmissionSettings::limited_to(10),
        environment: "test".into(),
        requests: RequestLimits {
            default_timeout: LIMIT,
            max_timeout: LIMIT,
            allowed_tenants: None,
        },
        plans: PlanLimits {
            subject_prefix: "beamline".into(),
            max_extensions: 32,
        },
        extra_attempts: 0,
    };
    let sessions = Sessions::new(MemorySessions::new());
    let door = Door::new(
        settings,
        registry,
        invokers.clone(),
        sessions,
        metrics.clone(),
        std::sync::Arc::new(beamline_actors::story::Unobserved),
    );
    (door, invokers)
}

#[tokio::test]
async fn what_the_monitor_told_the_door_ends_with_it() {
    let Pressed {
        door,
        metrics,
        root,
        transport,
        link,
        _server,
    } = Pressed::start().await;
    until("the door is pressed", || {
        door.pressure() == Pressure::Critical
    })
    .await;
    until("trips have a usual time", || {
        !transport.usual_trip().is_zero()
    })
    .await;
    link.lag(Duration::from_millis(300));
    until("the bus is late", || metrics.bus_lag.get() > 0.0).await;
    assert!(root.stop(LIMIT).await);
    until("nobody is refused for it", || {
        door.pressure() == Pressure::None && metrics.bus_lag.get() == 0.0
    })
    .await;
    until("nothing is shown of it", || {
        metrics.pressure.get() == 0 && metrics.memory_used.get() == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_was_killed_comes_back_and_tells_the_door_again() {
    let pressed = Pressed::start().await;
    let is_pressed = || pressed.door.pressure() == Pressure::Critical;
    until("the door is pressed", is_pressed).await;
    for name in ["pressure", "round_trips"] {
        let node = pressed.root.node().find(name).unwrap();
        node.kill();
        until("it is back", || {
            (node.view().restarts, &*node.view().status) == (1, "running")
        })
        .await;
    }
    until("the door is pressed again", is_pressed).await;
}

#[tokio::test]
async fn a_watch_that_is_about_to_end_takes_nothing_back_from_the_next_one() {
    let pressed = Pressed::start().await;
    let round_trips = Arc::new(RoundTrips {
        transport: pressed.transport.clone(),
        door: pressed.door.clone(),
        metrics: Metrics::default(),
        times: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
    });
    let mut ending = Box::pin(Arc::clone(&round_trips).watch());
    assert!(ending.as_mut().now_or_never().is_none());
    let mut next = Box::pin(Arc::clone(&round_trips).watch());
    assert!(next.as_mut().now_or_never().is_none());
    assert!(
        round_trips.turn.try_lock().is_err(),
        "the first has its turn"
    );
    drop(ending);
    round_trips.metrics.bus_lag.set(1.0);
    assert!(next.as_mut().now_or_never().is_none());
    drop(next);
    assert_eq!(round_trips.metrics.bus_lag.get(), 0.0, "that was its turn");
}

//! How many calls of one extension run at a time, in virtual time: what a limit costs that starts
//! at its ceiling, how it finds what an extension can carry, and what does not touch it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use beamline_actors::call::CallScope;
use beamline_actors::call_limits::InUse;
use beamline_actors::invokers::{Invokers, InvokersActor};
use beamline_actors::metrics::{ExtensionLabel, ExtensionReason, Metrics};
use beamline_actors::ports::{Answer, Author, Change, TransportError};
use beamline_actors::registry::{Registry, RegistryActor, RegistrySettings};
use beamline_actors::testing::{MemoryStore, MemoryTransport, content};
use beamline_actors::tree::{Child, Node, Root};
use beamline_actors::watch::{self, WatchSettings};
use beamline_contract::fields::Fields;
use beamline_contract::record::{BreakerOverrides, BreakerResets, ExtensionRecord, Kind};
use beamline_contract::trace::Carried;
use beamline_domain::record;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::plan::{Endpoint, PlannedCall, Rule, Target};
use beamline_domain::request::run::{CallOrder, TimeShare};
use beamline_domain::target::breaker::Settings;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

const SUBJECT: &str = "beamline.provider.model.v1";
const RECORD: &str = r#"{"id": "model", "type": "provider"}"#;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What the model takes for an answer.
const WORK: Duration = Duration::from_secs(1);
/// What a client waits for that was refused.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A model that carries so many calls at a time and refuses those beyond.
#[derive(Debug)]
struct Model {
    capacity: AtomicUsize,
    at_work: AtomicUsize,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Model {
    async fn answer(&self) -> Answer {
        let body = if self.at_work.fetch_add(1, SeqCst) < self.capacity.load(SeqCst) {
            sleep(WORK).await;
            self.served.fetch_add(1, SeqCst);
            r#"{"output": "hello"}"#
        } else {
            // Saying so takes a moment as well.
            sleep(Duration::from_millis(5)).await;
            self.refused.fetch_add(1, SeqCst);
            r#"{"error": {"code": "429", "message": "too many requests"}}"#
        };
        self.at_work.fetch_sub(1, SeqCst);
        Answer {
            body: body.into(),
            ..Answer::default()
        }
    }

    /// Served and refused since the last time.
    fn take(&self) -> [usize; 2] {
        [self.served.swap(0, SeqCst), self.refused.swap(0, SeqCst)]
    }
}

struct Bench {
    bus: Arc<MemoryTransport>,
    registry: Registry,
    invokers: Invokers,
    metrics: Metrics,
    _root: Root,
}

impl Bench {
    async fn start() -> Self {
        let store = MemoryStore::new(content(&[RECORD], &[]));
        let metrics = Metrics::default();
        let bus = MemoryTransport::new();
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let registry = Registry::new(
            store,
            settings,
            metrics.clone(),
            Some((content(&[RECORD], &[]), true)),
        );
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

    /// Changes the record and waits until calls go by it.
    async fn ceiling(&self, max_in_flight: Option<u32>) {
        let record = ExtensionRecord {
            max_in_flight,
            ..record::parse(RECORD, "beamline").unwrap()
        };
        self.registry
            .write(Change::UpdateExtension(record), Author::default())
            .await
            .unwrap();
        sleep(Duration::from_millis(1)).await;
    }

    fn model(&self, capacity: usize) -> Arc<Model> {
        let zero = AtomicUsize::default;
        let capacity = AtomicUsize::new(capacity);
        let model = Arc::new(Model {
            capacity,
            at_work: zero(),
            served: zero(),
            refused: zero(),
        });
        let answers = Arc::clone(&model);
        self.bus.handles(SUBJECT, move |_| {
            let model = Arc::clone(&answers);
            async move { Ok(model.answer().await) }.boxed()
        });
        model
    }

    /// Clients that ask again after each answer, and a little later after a refusal.
    fn clients(&self, count: u32) -> Vec<AbortOnDrop> {
        let one = |number| {
            // Not in step with each other.
            let again_after =
                AGAIN_AFTER / 2 + AGAIN_AFTER.mul_f64(f64::from(number) / f64::from(count));
            let invokers = self.invokers.clone();
            let asking = async move {
                loop {
                    if invokers
                        .call(&order(), &scope(TIMEOUT))
                        .await
                        .outcome
                        .is_err()
                    {
                        sleep(again_after).await;
                    }
                }
            };
            AbortOnDrop(tokio::spawn(asking))
        };
        (0..count).map(one).collect()
    }

    async fn call(&self, patience: Duration) -> Result<(), CallFailure> {
        self.invokers
            .call(&order(), &scope(patience))
            .await
            .outcome
            .map(drop)
    }

    fn in_use(&self) -> InUse {
        self.invokers.in_use("model").expect("it was called")
    }

    fn limit(&self) -> u32 {
        self.in_use().limit
    }

    fn refused_by_router(&self) -> u64 {
        let label = |reason| ExtensionReason {
            extension_id: "model".into(),
            reason,
        };
        let count = |reason| {
            self.metrics
                .extension_calls_refused
                .of(&label(reason))
                .get()
        };
        count("queue_full") + count("no_place_in_time")
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn order() -> CallOrder {
    let target = Target {
        version: "v1".into(),
        endpoints: vec![Endpoint {
            subject: SUBJECT.into(),
            instance: None,
        }],
        avoided: 0,
        per_mib: Duration::ZERO,
        timeout: TIMEOUT,
        retry: 0,
        breaker: Settings::new(Kind::Provider, TIMEOUT, &BreakerOverrides::default()),
    };
    let extension = Arc::new(record::parse(RECORD, "beamline").unwrap());
    let config = Arc::new(Fields::default());
    let call = PlannedCall {
        extension,
        rule: Rule::Provider,
        target,
        route: None,
        config,
        when: None,
    };
    CallOrder {
        call: Arc::new(call),
        body: Bytes::from_static(b"{}"),
        attempt: 1,
        turn: 0,
        extra_attempts: 0,
        share: TimeShare::default(),
    }
}

fn scope(patience: Duration) -> CallScope {
    CallScope {
        trace_id: "trace".into(),
        traceparent: "00-0-0-00".into(),
        carried: Carried::default(),
        tenant_id: "t".into(),
        deadline: Instant::now() + patience,
        rehearsal: false,
        story: None,
    }
}

#[tokio::test(start_paused = true)]
async fn three_hundred_completions_right_after_the_start_are_all_made() {
    let bench = Bench::start().await;
    let model = bench.model(300);
    let answers = join_all((0..300).map(|_| bench.call(TIMEOUT))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((model.take(), bench.limit()), ([300, 0], 500));
}

#[tokio::test(start_paused = true)]
async fn the_limit_finds_what_a_model_carries_and_follows_it() {
    let bench = Bench::start().await;
    let model = bench.model(20);
    let _clients = bench.clients(60);
    // The first seconds are there to find it out.
    sleep(Duration::from_secs(10)).await;
    model.take();
    let mut least = u32::MAX;
    let mut most = 0;
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        (least, most) = (least.min(bench.limit()), most.max(bench.limit()));
    }
    let [served, refused] = model.take();
    let of_capacity = served as f64 / 600.0;
    assert!(of_capacity > 0.9, "{of_capacity} of what it can do");
    assert!(refused * 10 < served, "{refused} refused, {served} served");
    assert!(least >= 15 && most <= 25, "between {least} and {most}");

    model.capacity.store(500, SeqCst);
    sleep(Duration::from_secs(15)).await;
    model.take();
    sleep(Duration::from_secs(5)).await;
    let [served, refused] = model.take();
    assert!(
        served >= 280 && refused == 0,
        "{served} served, {refused} refused: all 60 clients are"
    );
}

#[tokio::test(start_paused = true)]
async fn places_beyond_a_smaller_limit_are_not_handed_on_to_those_who_wait() {
    let bench = Bench::start().await;
    bench.invokers.limit_calls(20);
    let model = bench.model(20);
    let _clients = bench.clients(50);
    sleep(WORK * 3).await;
    assert_eq!((bench.in_use().in_flight, bench.limit()), (20, 20));
    model.capacity.store(5, SeqCst);
    sleep(WORK * 10).await;
    assert_eq!(bench.limit(), 20, "so many were served lately");
    sleep(WORK * 30).await;
    let in_use = bench.in_use();
    assert!(
        in_use.limit <= 8 && in_use.in_flight <= in_use.limit,
        "{in_use:?}"
    );
    assert_eq!(in_use.ceiling, 20);
    assert!(bench.refused_by_router() > 0);
    let label = ExtensionLabel {
        extension_id: "model".into(),
    };
    assert_eq!(
        bench.metrics.extension_limit.of(&label).get(),
        i64::from(bench.limit())
    );
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_out_of_reach_through_no_fault_of_its_own_keeps_its_limit() {
    let bench = Bench::start().await;
    bench.bus.hangs(SUBJECT);
    for _ in 0..20 {
        assert_eq!(
            bench.call(TIMEOUT / 4).await,
            Err(CallFailure::Deadline),
            "callers in a hurry"
        );
    }
    bench.bus.fails(SUBJECT, TransportError::NotConnected);
    for _ in 0..20 {
        assert_eq!(bench.call(TIMEOUT).await, Err(CallFailure::BusUnavailable));
    }
    bench.bus.set_unsettled(true);
    bench.bus.fails(SUBJECT, TransportError::NoResponders);
    for _ in 0..20 {
        assert_eq!(
            bench.call(TIMEOUT).await,
            Err(CallFailure::NoResponders),
            "it is on its way back"
        );
    }
    bench.bus.handles(SUBJECT, |call| {
        let late = async move {
            sleep(call.timeout + Duration::from_millis(15)).await;
            // Nothing in this process ran meanwhile.
            tokio::time::advance(Duration::from_millis(60)).await;
            Err(TransportError::Timeout)
        };
        late.boxed()
    });
    for _ in 0..20 {
        assert_eq!(
            bench.call(TIMEOUT * 2).await,
            Err(CallFailure::Timeout),
            "this router is late"
        );
    }
    assert_eq!(bench.limit(), 500);
    // Dropped in the middle.
    bench.bus.hangs(SUBJECT);
    let soon = Instant::now() + Duration::from_millis(1);
    assert!(timeout_at(soon, bench.call(TIMEOUT)).await.is_err());
    assert_eq!((bench.limit(), bench.in_use().in_flight), (500, 0));

    bench.bus.set_unsettled(false);
    assert_eq!(bench.call(TIMEOUT * 2).await, Err(CallFailure::Timeout));
    assert_eq!(bench.limit(), 450, "that was its own");
}

#[tokio::test(start_paused = true)]
async fn an_operators_reset_gives_back_all_places_and_ends_a_wait() {
    let bench = Bench::start().await;
    bench.bus.hangs(SUBJECT);
    assert_eq!(bench.call(TIMEOUT * 2).await, Err(CallFailure::Timeout));
    bench.bus.answers(
        SUBJECT,
        r#"{"error": {"code": "429", "message": "busy", "retry_after_ms": 30000}}"#,
    );
    assert!(matches!(
        bench.call(TIMEOUT).await,
        Err(CallFailure::Answered { .. })
    ));
    assert!(
        bench.limit() < 500
            && matches!(
                bench.call(TIMEOUT).await,
                Err(CallFailure::LeftAlone { .. })
            )
    );

    let record = record::parse(RECORD, "beamline").unwrap();
    let reset = ExtensionRecord {
        breaker_reset: Some(BreakerResets {
            count: 1,
            reason: "more of it".into(),
        }),
        ..record
    };
    bench
        .registry
        .write(Change::UpdateExtension(reset), Author::default())
        .await
        .unwrap();
    sleep(Duration::from_millis(1)).await;
    bench.bus.answers(SUBJECT, r#"{"output": "hello"}"#);
    assert_eq!((bench.call(TIMEOUT).await, bench.limit()), (Ok(()), 500));
}

#[tokio::test(start_paused = true)]
async fn a_record_has_a_ceiling_of_its_own_that_changes_under_way() {
    let bench = Bench::start().await;
    let model = bench.model(1_000);
    bench.ceiling(Some(30)).await;
    let _clients = bench.clients(100);
    sleep(WORK / 2).await;
    assert_eq!(
        (
            bench.in_use().in_flight,
            bench.limit(),
            bench.in_use().ceiling
        ),
        (30, 30, 30)
    );

    bench.ceiling(Some(10)).await;
    assert_eq!(
        (bench.in_use().in_flight, bench.limit()),
        (30, 10),
        "nobody is cut off"
    );
    sleep(WORK * 3).await;
    assert_eq!(bench.in_use().in_flight, 10);
    assert_eq!(model.take()[1], 0);

    bench.ceiling(Some(60)).await;
    sleep(WORK).await;
    assert_eq!(bench.in_use().in_flight, 60);
    bench.ceiling(None).await;
    sleep(WORK).await;
    assert_eq!(
        (bench.in_use().in_flight, bench.in_use().ceiling),
        (100, 500),
        "what the router grants"
    );
}

//! One extension in several places, in memory: each place has a breaker and figures of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::domain::breaker::{self, Overrides, Settings, State};
use beamline_actors::domain::call::CallFailure;
use beamline_actors::domain::extension::{Extension, Kind};
use beamline_actors::domain::fields::Fields;
use beamline_actors::domain::plan::{Place, PlannedCall, Rule, Target};
use beamline_actors::domain::policy::Mode;
use beamline_actors::domain::run::{AttemptBudget, CallResult, Order};
use beamline_actors::domain::selection::Vitals;
use beamline_actors::invoker::Invoker;
use beamline_actors::invokers::{CallScope, Invokers, InvokersActor};
use beamline_actors::metrics::{
    ExtensionLabel, ExtensionReason, ExtensionStatus, Metrics, RefusedRetryLabel, RetryLabel,
};
use beamline_actors::ports::{Answer, Author, Change, Store, TransportError};
use beamline_actors::registry::{Registry, RegistryActor, RegistrySettings};
use beamline_actors::testing::{MemoryStore, MemoryTransport, content};
use bytes::Bytes;
use futures_util::FutureExt;
use ractor::{Actor, ActorCell};
use tokio::time::{Instant, sleep, timeout};

const A: &str = "beamline.ext.pre.clean.a";
const B: &str = "beamline.ext.pre.clean.b";
const C: &str = "beamline.ext.pre.clean.c";
const OWN: &str = "beamline.ext.pre.clean.v1";
const TIMEOUT: Duration = Duration::from_secs(1);
/// The first open time at its longest.
const OPEN_FOR: Duration = Duration::from_millis(6_250);

const RECORD: &str = r#"{"id": "clean", "type": "pre", "instances": [
    {"instance_id": "a", "subject": "beamline.ext.pre.clean.a"},
    {"instance_id": "b", "subject": "beamline.ext.pre.clean.b"}]}"#;

struct Bench {
    bus: Arc<MemoryTransport>,
    registry: Registry,
    invokers: Invokers,
    metrics: Metrics,
    actors: [ActorCell; 2],
}

impl Bench {
    async fn start() -> Self {
        let store = MemoryStore::new(content(&[RECORD], &[]));
        let settings = RegistrySettings { poll_interval: Duration::from_secs(5), disk_copy: None };
        let (loaded, metrics, bus) = (store.load().await.unwrap(), Metrics::default(), MemoryTransport::new());
        let registry = Registry::new(store, settings, metrics.clone(), Some((loaded, true)));
        let invokers = Invokers::new(bus.clone(), registry.clone(), metrics.clone());
        let (reading, _) = Actor::spawn(None, RegistryActor, registry.clone()).await.unwrap();
        let (supervising, _) = Actor::spawn(None, InvokersActor, invokers.clone()).await.unwrap();
        let actors = [reading.get_cell(), supervising.get_cell()];
        Self { bus, registry, invokers, metrics, actors }
    }

    async fn call(&self, order: &Order) -> CallResult {
        self.invokers.call(order, &scope(10)).await
    }

    fn vitals(&self, subject: &str) -> Vitals {
        self.invokers.vitals("clean", subject)
    }

    fn sent(&self, subject: &str) -> usize {
        self.bus.calls(subject).len()
    }

    fn state(&self) -> &'static str {
        self.invokers.find("clean").unwrap().breaker().state.as_str()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.actors.iter().for_each(|actor| actor.stop(None));
    }
}

/// A call of `clean` at these places, with two retries.
fn order(places: &[&str]) -> Order {
    let place = |subject: &&str| Place { subject: (*subject).into(), instance: None };
    let target = Target {
        version: "v1".into(),
        places: places.iter().map(place).collect(),
        avoided: 0,
        timeout: TIMEOUT,
        retry: 2,
        breaker: Settings::new(Kind::Pre, TIMEOUT, &Overrides::default()),
    };
    let extension = Arc::new(Extension::parse(RECORD, "beamline").unwrap());
    let rule = Rule::Processor(Mode::Required);
    let call = PlannedCall { extension, rule, target, route: None, config: Arc::new(Fields::default()) };
    Order { call: Arc::new(call), body: Bytes::from_static(b"{}"), attempt: 1 }
}

fn changed(order: &Order, change: impl FnOnce(&mut PlannedCall)) -> Order {
    let mut call = PlannedCall::clone(&order.call);
    change(&mut call);
    Order { call: Arc::new(call), ..order.clone() }
}

fn scope(budget: u32) -> CallScope {
    CallScope {
        trace_id: "trace".into(),
        traceparent: "00-0-0-00".into(),
        tenant_id: "t".into(),
        deadline: Instant::now() + Duration::from_secs(60),
        budget: AttemptBudget::new(budget),
    }
}

/// Retries until it holds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_opens_only_its_own_breaker_and_retries_go_to_the_next() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    bench.bus.answers(B, "{}");
    let both = order(&[A, B]);
    for _ in 0..5 {
        let result = bench.call(&both).await;
        assert!(result.outcome.is_ok());
        assert_eq!((result.attempts, result.place), (2, 1));
    }
    assert_eq!(bench.bus.calls(B)[0].attempt, 2);
    assert!(bench.vitals(A).held_back.is_some_and(|wait| wait <= OPEN_FOR));
    assert!(bench.vitals(A).unhealthy && !bench.vitals(B).unhealthy);
    assert_eq!((bench.vitals(B).held_back, bench.state()), (None, "closed"));

    let result = bench.call(&both).await;
    assert_eq!((result.attempts, result.place, bench.sent(A)), (1, 1, 5), "what is open is passed over");
    assert_eq!(bench.bus.calls(B)[5].attempt, 1, "and that is no attempt");

    bench.bus.answers(A, "{}");
    sleep(OPEN_FOR).await;
    assert!(!bench.vitals(A).unhealthy, "its probe has to come from somebody");
    assert_eq!(bench.call(&both).await.place, 0);
    assert_eq!(bench.vitals(A).held_back, None);
}

#[tokio::test(start_paused = true)]
async fn after_a_place_that_was_passed_over_the_retry_goes_on() {
    let bench = Bench::start().await;
    [A, B].iter().for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    bench.bus.answers(C, "{}");
    let impatient = changed(&order(&[A]), |call| call.target.breaker.consecutive_failures = 1);
    assert_eq!(bench.call(&impatient).await.attempts, 1, "the threshold is the policy's");
    let result = bench.call(&order(&[A, B, C])).await;
    assert_eq!((result.attempts, result.place), (2, 2));
    assert_eq!((bench.sent(A), bench.sent(B), bench.sent(C)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_blamed_for_a_timeout_that_this_process_was_late_for() {
    let bench = Bench::start().await;
    let one = changed(&order(&[A]), |call| call.target.retry = 0);
    for (late_by, failures) in [(100, 0), (0, 5)] {
        // As if all threads were held up: time passes, and no timer fires meanwhile.
        bench.bus.handles(A, move |call| {
            let late = call.timeout + Duration::from_millis(late_by);
            async move {
                tokio::time::advance(late).await;
                Err(TransportError::Timeout)
            }
            .boxed()
        });
        for _ in 0..5 {
            assert_eq!(bench.call(&one).await.outcome.unwrap_err(), CallFailure::Timeout);
        }
        assert_eq!(bench.invokers.find("clean").unwrap().breaker().failures, failures, "{late_by} ms late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_asks_for_patience_is_left_alone_and_not_blamed() {
    let bench = Bench::start().await;
    let busy = r#"{"error": {"code": "429", "message": "busy", "retryable": false, "retry_after_ms": 3000}}"#;
    bench.bus.answers(A, busy);
    let one = order(&[A]);
    bench.call(&one).await;
    for _ in 0..20 {
        let result = bench.call(&one).await;
        let Err(CallFailure::Overloaded { retry_after }) = result.outcome else { panic!("{:?}", result.outcome) };
        assert_eq!((retry_after, result.attempts), (Duration::from_secs(3), 0));
    }
    assert_eq!((bench.sent(A), bench.state()), (1, "closed"));
    assert_eq!(bench.vitals(A).asked_to_wait, Some(Duration::from_secs(3)));
    bench.bus.answers(B, "{}");
    assert_eq!(bench.call(&order(&[A, B])).await.place, 1, "others take its calls");
    sleep(Duration::from_secs(3)).await;
    bench.bus.answers(A, "{}");
    assert!(bench.call(&one).await.outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn with_every_place_open_the_shortest_wait_is_told() {
    let bench = Bench::start().await;
    [A, B].iter().for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    let once = |subject| {
        changed(&order(&[subject]), |call| {
            call.target.retry = 0;
            (call.target.breaker.consecutive_failures, call.target.breaker.jitter) = (1, 0);
        })
    };
    bench.invokers.call(&once(A), &scope(0)).await;
    sleep(Duration::from_secs(2)).await;
    bench.invokers.call(&once(B), &scope(0)).await;
    let result = bench.call(&order(&[B, A])).await;
    let Err(CallFailure::CircuitOpen { retry_after }) = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!((retry_after, result.attempts), (Duration::from_secs(3), 0));
    assert_eq!((bench.sent(A), bench.sent(B), bench.state()), (1, 1, "open"));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.state(), "half_open", "one of them waits for its probe");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_budget_is_used_up_tries_once() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let (one, request) = (order(&[A]), scope(1));
    let first = bench.invokers.call(&one, &request).await;
    let second = bench.invokers.call(&one, &request).await;
    assert_eq!((first.attempts, second.attempts, request.budget.left()), (2, 1, 0));
    assert_eq!(second.outcome.unwrap_err(), CallFailure::NoResponders);
}

#[tokio::test(start_paused = true)]
async fn a_provider_gets_the_one_attempt_that_its_order_names() {
    let bench = Bench::start().await;
    [A, B].iter().for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    let provider = changed(&order(&[A, B]), |call| call.rule = Rule::Provider);
    let request = scope(10);
    let result = bench.invokers.call(&Order { attempt: 2, ..provider }, &request).await;
    assert_eq!((result.attempts, result.place, request.budget.left()), (1, 1, 10));
    assert_eq!((bench.sent(A), bench.sent(B), bench.bus.calls(B)[0].attempt), (0, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_needs_any_more_is_no_evidence() {
    let bench = Bench::start().await;
    bench.bus.hangs(A);
    let (one, patient) = (order(&[A]), scope(10));
    let count = |status| {
        let label = ExtensionStatus { extension_id: "clean".into(), status };
        bench.metrics.extension_requests.get_or_create(&label).get()
    };
    let failed = |reason| {
        let label = ExtensionReason { extension_id: "clean".into(), reason };
        bench.metrics.extension_failures.get_or_create(&label).get()
    };
    for _ in 0..20 {
        timeout(Duration::from_millis(999), bench.invokers.call(&one, &patient)).await.expect_err("cut off");
    }
    eventually("the calls are counted", || count("skipped") == 20).await;
    let invoker = bench.invokers.find("clean").unwrap();
    assert_eq!((invoker.breaker().failures, invoker.figures().requests, failed("cancelled")), (0, 0, 0));
    assert_eq!(bench.vitals(A), Vitals::default());

    let hurried = CallScope { deadline: Instant::now() + Duration::from_millis(100), ..scope(10) };
    bench.bus.handles(A, |_| std::future::pending().boxed());
    timeout(Duration::from_millis(110), bench.invokers.call(&one, &hurried)).await.expect_err("cut off");
    eventually("the deadline is counted", || count("timeout") == 1 && failed("deadline_exceeded") == 1).await;
    assert_eq!(invoker.breaker().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_often_fails_is_unhealthy_until_its_failures_are_old() {
    let bench = Bench::start().await;
    let once = |subject| changed(&order(&[subject]), |call| call.target.retry = 0);
    let (one, other) = (once(A), once(B));
    bench.bus.answers(B, "{}");
    for round in 0..4 {
        bench.bus.fails(A, TransportError::NoResponders);
        for _ in 0..2 {
            bench.invokers.call(&one, &scope(0)).await;
        }
        assert!(!bench.vitals(A).unhealthy, "{round}: too few calls to tell");
        bench.bus.answers(A, "{}");
        bench.call(&one).await;
        bench.call(&other).await;
    }
    let invoker = bench.invokers.find("clean").unwrap();
    eventually("all figures are published", || invoker.figures().requests == 16 && bench.vitals(A).unhealthy).await;
    assert_eq!((bench.vitals(A).held_back, bench.vitals(B).unhealthy), (None, false));
    assert!(bench.vitals(B).latency.is_some() && bench.invokers.latency("clean").is_some());
    assert_eq!(invoker.figures().success_rate, Some(0.5), "the extension's figures cover both");
    sleep(Duration::from_secs(31)).await;
    assert!(!bench.vitals(A).unhealthy);

    let label = ExtensionLabel { extension_id: "clean".into() };
    assert!(bench.metrics.extension_duration.get(&label).is_some(), "counted by extension, not by place");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_recovers_is_not_avoided_for_its_past() {
    let bench = Bench::start().await;
    let one = changed(&order(&[A]), |call| {
        call.target.retry = 0;
        (call.target.breaker.consecutive_failures, call.target.breaker.minimum_calls) = (20, u32::MAX);
    });
    bench.bus.fails(A, TransportError::NoResponders);
    while bench.sent(A) < 20 {
        bench.call(&one).await;
        sleep(Duration::from_secs(1)).await;
    }
    eventually("it waits for its probe", || bench.vitals(A).held_back.is_none()).await;
    assert!(bench.vitals(A).unhealthy, "twenty failures, the last of them a moment ago");
    bench.bus.answers(A, "{}");
    for _ in 0..3 {
        bench.call(&one).await;
    }
    // The figures follow soon; with time alone the failures would be forgotten much later.
    sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.sent(A), bench.state(), bench.vitals(A).unhealthy), (23, "closed", false));
}

#[tokio::test(start_paused = true)]
async fn a_place_without_calls_for_long_does_not_hide_that_the_others_are_down() {
    let bench = Bench::start().await;
    let once = |subject| changed(&order(&[subject]), |call| call.target.breaker.consecutive_failures = 1);
    bench.bus.answers(B, "{}");
    bench.bus.fails(A, TransportError::NoResponders);
    bench.call(&once(B)).await;
    sleep(Duration::from_secs(599)).await;
    bench.call(&once(A)).await;
    assert_eq!(bench.state(), "closed");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.state(), "open");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.state(), "half_open", "the closed one is forgotten, the other one waits for its probe");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_the_registry_no_longer_has_is_forgotten() {
    let bench = Bench::start().await;
    for subject in [A, B, OWN] {
        bench.bus.fails(subject, TransportError::NoResponders);
        bench.call(&changed(&order(&[subject]), |call| call.target.breaker.consecutive_failures = 1)).await;
    }
    let kept = r#"{"id": "clean", "type": "pre", "instances": [
        {"instance_id": "b", "subject": "beamline.ext.pre.clean.b"}]}"#;
    let kept = Extension::parse(kept, "beamline").unwrap();
    bench.registry.write(Change::UpdateExtension(kept), Author::default()).await.unwrap();
    let invoker = bench.invokers.find("clean").unwrap();
    eventually("A is forgotten", || invoker.targets().len() == 2).await;
    let subjects: Vec<Arc<str>> = invoker.targets().iter().map(|target| Arc::clone(&target.subject)).collect();
    assert_eq!(subjects, [B.into(), OWN.into()]);
    assert!(invoker.targets().iter().all(|target| matches!(target.breaker().state, State::Open { .. })));
    assert_eq!(bench.vitals(A), Vitals::default());
}

#[tokio::test(start_paused = true)]
async fn retries_end_when_the_budget_of_the_extension_is_empty() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let patient = changed(&order(&[A]), |call| {
        // Only the budget may end the retries.
        (call.target.breaker.consecutive_failures, call.target.breaker.minimum_calls) = (u32::MAX, u32::MAX);
        call.target.retry = 1;
    });
    let (mut retries, mut refused) = (0, 0);
    for _ in 0..100 {
        let result = bench.call(&patient).await;
        retries += result.attempts - 1;
        refused += u32::from(result.retry_refused);
        assert_eq!(result.retry_refused, result.attempts == 1);
        assert_eq!(result.outcome.unwrap_err(), CallFailure::NoResponders);
    }
    // Three a second for ten seconds, and one in five attempts; it takes less than ten seconds.
    assert_eq!((retries, refused), (50, 50));
    let made = RetryLabel { extension_id: "clean".into(), kind: "retry" };
    let short = RefusedRetryLabel { extension_id: "clean".into(), kind: "retry", budget: "extension" };
    assert_eq!(bench.metrics.retries.get_or_create(&made).get(), 50);
    assert_eq!(bench.metrics.retries_refused.get_or_create(&short).get(), 50);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.call(&patient).await.attempts, 2, "the floor is granted again");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_repeated_unless_the_record_says_that_it_has_effects() {
    let bench = Bench::start().await;
    bench.bus.hangs(A);
    assert_eq!(bench.call(&order(&[A])).await.attempts, 3);
    let registered = |metadata: &str| {
        let record = format!(r#"{{"id": "clean", "type": "pre", "metadata": {metadata}}}"#);
        let extension = Arc::new(Extension::parse(&record, "beamline").unwrap());
        changed(&order(&[B]), |call| call.extension = extension)
    };
    bench.bus.hangs(B);
    assert_eq!(bench.call(&registered(r#"{"idempotent": false}"#)).await.attempts, 1);
    assert_eq!(bench.call(&registered(r#"{"idempotent": true}"#)).await.attempts, 3);
    bench.bus.fails(C, TransportError::NoResponders);
    let unheard = changed(&registered(r#"{"idempotent": false}"#), |call| {
        call.target.places = order(&[C]).call.target.places.clone()
    });
    assert_eq!(bench.call(&unheard).await.attempts, 3, "nobody got the call");
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_heard_gets_time_to_subscribe_again() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let began = Instant::now();
    bench.call(&changed(&order(&[A]), |call| call.target.retry = 1)).await;
    let took = began.elapsed().as_millis();
    assert!((50..=100).contains(&took), "{took} ms");
    bench.bus.answers(B, "{}");
    let began = Instant::now();
    assert!(bench.call(&order(&[A, B])).await.outcome.is_ok());
    assert!(began.elapsed().as_millis() <= 26, "another place need not be waited for");
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_heard_is_tried_once_more_whatever_its_record_grants() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    bench.bus.fails(B, TransportError::NoResponders);
    bench.bus.answers(C, "{}");
    let registered = |places: &[&str]| changed(&order(places), |call| call.target.retry = 0);
    let result = bench.call(&registered(&[A, B, C])).await;
    assert_eq!((result.outcome.unwrap_err(), result.attempts, bench.sent(C)), (CallFailure::NoResponders, 2, 0));
    assert!(bench.call(&registered(&[A, C])).await.outcome.is_ok());
    assert_eq!(bench.invokers.call(&registered(&[A]), &scope(0)).await.attempts, 1, "within the budget of the request");
    bench.bus.hangs(C);
    assert_eq!(bench.call(&registered(&[C])).await.attempts, 1, "who may have got the call is asked once");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_bus_that_has_just_gone_and_no_longer() {
    let bench = Bench::start().await;
    bench.bus.answers(A, "{}");
    let patient = changed(&order(&[A]), |call| call.target.timeout = Duration::from_secs(20));
    let took = async |order: &Order, limit: u64| {
        let began = Instant::now();
        let scope = CallScope { deadline: Instant::now() + Duration::from_millis(limit), ..scope(10) };
        let result = bench.invokers.call(order, &scope).await;
        (result.outcome.map(drop), result.attempts, began.elapsed().as_millis())
    };
    bench.bus.set_away(true);
    let bus = Arc::clone(&bench.bus);
    let back = tokio::spawn(async move {
        sleep(Duration::from_millis(700)).await;
        bus.set_away(false);
    });
    let (outcome, attempts, waited) = took(&patient, 30_000).await;
    assert_eq!((outcome, attempts, bench.sent(A)), (Ok(()), 1, 1));
    assert!((700..=702).contains(&waited), "{waited} ms");
    back.await.unwrap();

    bench.bus.set_away(true);
    let away = Err(CallFailure::BusUnavailable);
    let (outcome, attempts, waited) = took(&patient, 300).await;
    assert!((outcome, attempts) == (away.clone(), 0) && (300..=302).contains(&waited), "the request's time: {waited}");
    let (outcome, _, waited) = took(&order(&[A]), 30_000).await;
    assert!(outcome == away && (1_000..=1_002).contains(&waited), "the extension's time: {waited}");
    let (outcome, _, waited) = took(&patient, 30_000).await;
    assert!(outcome == away && (695..=701).contains(&waited), "two seconds from the loss: {waited}");
    let (outcome, _, waited) = took(&patient, 30_000).await;
    assert!(outcome == away && waited == 0, "who knows when it comes back: {waited}");
    assert_eq!((bench.sent(A), bench.invokers.find("clean").unwrap().breaker().failures), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_lost_with_the_bus_is_made_again_where_that_does_no_harm() {
    let bench = Bench::start().await;
    // Lost once, and answered then.
    let lose = |subject: &'static str| {
        let calls = Arc::downgrade(&bench.bus);
        bench.bus.handles(subject, move |_| {
            let first = calls.upgrade().unwrap().calls(subject).len() == 1;
            let answer = if first { Err(TransportError::NotConnected) } else { Ok(Bytes::from_static(b"{}")) };
            async move { answer.map(|body| Answer { body, ..Answer::default() }) }.boxed()
        });
    };
    [A, B, C].into_iter().for_each(lose);
    let result = bench.call(&changed(&order(&[A]), |call| call.target.retry = 0)).await;
    assert_eq!((result.outcome.is_ok(), result.attempts), (true, 2));
    let record = r#"{"id": "clean", "type": "pre", "metadata": {"idempotent": false}}"#;
    let effects = Arc::new(Extension::parse(record, "beamline").unwrap());
    let result = bench.call(&changed(&order(&[B]), |call| call.extension = effects)).await;
    assert_eq!((result.outcome.unwrap_err(), result.attempts), (CallFailure::BusUnavailable, 1));
    let result = bench.call(&changed(&order(&[C]), |call| call.rule = Rule::Provider)).await;
    assert_eq!((result.outcome.unwrap_err(), result.attempts), (CallFailure::BusUnavailable, 1), "somebody pays twice");
    assert_eq!(bench.invokers.find("clean").unwrap().breaker().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn without_time_for_its_usual_latency_nothing_is_called() {
    let bench = Bench::start().await;
    bench.bus.handles(A, |_| {
        async {
            sleep(Duration::from_millis(400)).await;
            Ok(Answer { body: Bytes::from_static(b"{}"), ..Answer::default() })
        }
        .boxed()
    });
    let one = changed(&order(&[A]), |call| call.target.retry = 1);
    let within = |ms| CallScope { deadline: Instant::now() + Duration::from_millis(ms), ..scope(10) };
    assert!(bench.invokers.call(&one, &within(450)).await.outcome.is_ok(), "nothing was known of it");
    eventually("its latency is known", || bench.vitals(A).latency.is_some()).await;
    let result = bench.invokers.call(&one, &within(399)).await;
    assert_eq!((result.outcome.unwrap_err(), result.attempts, bench.sent(A)), (CallFailure::TooLittleTime, 0, 1));
    assert!(bench.invokers.call(&one, &within(450)).await.outcome.is_ok());

    // A retry needs that time, too.
    bench.bus.fails(A, TransportError::NoResponders);
    assert_eq!(bench.invokers.call(&one, &within(449)).await.attempts, 1);
    assert_eq!(bench.invokers.call(&one, &within(450 + 101)).await.attempts, 2);

    sleep(Duration::from_secs(31)).await;
    bench.bus.answers(A, "{}");
    let result = bench.invokers.call(&one, &within(100)).await;
    assert!(result.outcome.is_ok(), "old knowledge keeps nobody away: {result:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operators_reset_closes_every_breaker_once() {
    let invoker = Invoker::new("clean");
    let (one, other) = (invoker.target(&A.into()), invoker.target(&B.into()));
    let settings = Settings::new(Kind::Pre, TIMEOUT, &Overrides::default());
    let states = || [&one, &other].map(|target| target.breaker().state.as_str());
    let fail = || {
        for target in [&one, &other] {
            while let Ok(permit) = target.permit(breaker::Mode::Normal, &settings) {
                permit.finish(breaker::Outcome::Failure, Duration::ZERO);
            }
        }
    };
    fail();
    invoker.follow_resets(0);
    assert_eq!(states(), ["open", "open"]);
    invoker.follow_resets(3);
    assert_eq!((states(), invoker.resets()), (["closed", "closed"], 3));
    fail();
    for old in [3, 2] {
        invoker.follow_resets(old);
        assert_eq!(states(), ["open", "open"], "it has heard of that one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_counts_only_when_it_had_all_its_time() {
    let invoker = Invoker::new("clean");
    let target = invoker.target(&A.into());
    let settings = Settings::new(Kind::Pre, TIMEOUT, &Overrides::default());
    for (waited, failures) in [(TIMEOUT - Duration::from_millis(1), 0), (TIMEOUT, 1)] {
        let permit = target.permit(breaker::Mode::Normal, &settings).unwrap();
        sleep(waited).await;
        drop(permit);
        assert_eq!(target.breaker().failures, failures, "after {waited:?}");
    }
}

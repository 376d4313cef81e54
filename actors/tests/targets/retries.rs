//! What is tried again, where, and when not.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::call::CallScope;
use beamline_actors::metrics::{RefusedRetryLabel, RetryLabel};
use beamline_actors::ports::{Answer, TransportError};
use beamline_domain::record;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::plan::Rule;
use beamline_domain::request::run::CallOrder;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::bench::{A, B, Bench, C, changed, eventually, order, scope, without_retries};

#[tokio::test(start_paused = true)]
async fn a_request_whose_budget_is_used_up_tries_once() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let granted = |extra_attempts| CallOrder {
        extra_attempts,
        ..order(&[A])
    };
    let first = bench.call(&granted(1)).await;
    let second = bench.call(&granted(0)).await;
    assert_eq!((first.attempts, second.attempts), (2, 1));
    assert_eq!(second.outcome.unwrap_err(), CallFailure::NoResponders);
}

#[tokio::test(start_paused = true)]
async fn a_provider_gets_the_one_attempt_that_its_order_names() {
    let bench = Bench::start().await;
    [A, B]
        .iter()
        .for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    let provider = changed(&order(&[A, B]), |call| call.rule = Rule::Provider);
    let result = bench
        .invokers
        .call(
            &CallOrder {
                attempt: 2,
                turn: 1,
                extra_attempts: 0,
                ..provider
            },
            &scope(),
        )
        .await;
    assert_eq!((result.attempts, result.endpoint), (1, 1));
    assert_eq!(
        (bench.sent(A), bench.sent(B), bench.bus.calls(B)[0].attempt),
        (0, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn retries_end_when_the_budget_of_the_extension_is_empty() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let patient = changed(&order(&[A]), |call| {
        // Only the budget may end the retries.
        (
            call.target.breaker.consecutive_failures,
            call.target.breaker.minimum_calls,
        ) = (u32::MAX, u32::MAX);
        call.target.retry = 1;
    });
    let mut retries = 0;
    let mut refused = 0;
    for _ in 0..100 {
        let result = bench.call(&patient).await;
        retries += result.attempts - 1;
        refused += u32::from(result.retry_refused);
        assert_eq!(result.retry_refused, result.attempts == 1);
        assert_eq!(result.outcome.unwrap_err(), CallFailure::NoResponders);
    }
    // Three a second for ten seconds, and one in five attempts; it takes less than ten seconds.
    assert_eq!((retries, refused), (50, 50));
    let made = RetryLabel {
        extension_id: "clean".into(),
        kind: "retry",
    };
    let short = RefusedRetryLabel {
        extension_id: "clean".into(),
        kind: "retry",
        budget: "extension",
    };
    assert_eq!(bench.metrics.retries.of(&made).get(), 50);
    assert_eq!(bench.metrics.retries_refused.of(&short).get(), 50);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        bench.call(&patient).await.attempts,
        2,
        "the floor is granted again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_repeated_unless_the_record_says_that_it_has_effects() {
    let bench = Bench::start().await;
    bench.bus.hangs(A);
    assert_eq!(bench.call(&order(&[A])).await.attempts, 3);
    let registered = |metadata: &str| {
        let record = format!(r#"{{"id": "clean", "type": "pre", "metadata": {metadata}}}"#);
        let extension = Arc::new(record::parse(&record, "beamline").unwrap());
        changed(&order(&[B]), |call| call.extension = extension)
    };
    bench.bus.hangs(B);
    assert_eq!(
        bench
            .call(&registered(r#"{"idempotent": false}"#))
            .await
            .attempts,
        1
    );
    assert_eq!(
        bench
            .call(&registered(r#"{"idempotent": true}"#))
            .await
            .attempts,
        3
    );
    bench.bus.fails(C, TransportError::NoResponders);
    let unheard = changed(&registered(r#"{"idempotent": false}"#), |call| {
        call.target.endpoints = order(&[C]).call.target.endpoints.clone()
    });
    assert_eq!(
        bench.call(&unheard).await.attempts,
        3,
        "nobody got the call"
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_too_much_to_do_is_asked_again_when_it_said() {
    let bench = Bench::start().await;
    bench.bus.answers(
        A,
        r#"{"error": {"code": "429", "message": "busy", "retry_after_ms": 700}}"#,
    );
    let bus = Arc::clone(&bench.bus);
    let less_to_do = tokio::spawn(async move {
        sleep(Duration::from_millis(500)).await;
        bus.answers(A, "{}");
    });
    let began = Instant::now();
    let result = bench.call(&order(&[A])).await;
    let took = began.elapsed().as_millis();
    assert!(
        result.outcome.is_ok() && result.attempts == 2 && (700..=702).contains(&took),
        "{result:?}, {took} ms"
    );
    less_to_do.await.unwrap();
    bench.bus.answers(
        B,
        r#"{"error": {"code": "429", "message": "busy", "retry_after_ms": 60000}}"#,
    );
    let began = Instant::now();
    let result = bench.call(&order(&[B])).await;
    assert!(
        result.outcome.is_err() && result.attempts == 1,
        "the request does not last so long"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_heard_gets_time_to_subscribe_again() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    let began = Instant::now();
    bench
        .call(&changed(&order(&[A]), |call| call.target.retry = 1))
        .await;
    let took = began.elapsed().as_millis();
    assert!((50..=100).contains(&took), "{took} ms");
    bench.bus.answers(B, "{}");
    let began = Instant::now();
    assert!(bench.call(&order(&[A, B])).await.outcome.is_ok());
    assert!(
        began.elapsed().as_millis() <= 26,
        "another place need not be waited for"
    );
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_heard_is_tried_once_more_whatever_its_record_grants() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    bench.bus.fails(B, TransportError::NoResponders);
    bench.bus.answers(C, "{}");
    let registered = |places: &[&str]| changed(&order(places), |call| call.target.retry = 0);
    let result = bench.call(&registered(&[A, B, C])).await;
    assert_eq!(
        (result.outcome.unwrap_err(), result.attempts, bench.sent(C)),
        (CallFailure::NoResponders, 2, 0)
    );
    assert!(bench.call(&registered(&[A, C])).await.outcome.is_ok());
    assert_eq!(
        bench
            .call(&CallOrder {
                extra_attempts: 0,
                ..registered(&[A])
            })
            .await
            .attempts,
        1,
        "within the budget of the request"
    );
    bench.bus.hangs(C);
    assert_eq!(
        bench.call(&registered(&[C])).await.attempts,
        1,
        "who may have got the call is asked once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_bus_that_has_just_gone_and_no_longer() {
    let bench = Bench::start().await;
    bench.bus.answers(A, "{}");
    let patient = changed(&order(&[A]), |call| {
        call.target.timeout = Duration::from_secs(20)
    });
    let took = async |order: &CallOrder, limit: u64| {
        let began = Instant::now();
        let scope = CallScope {
            deadline: Instant::now() + Duration::from_millis(limit),
            ..scope()
        };
        let result = bench.invokers.call(order, &scope).await;
        (
            result.outcome.map(drop),
            result.attempts,
            began.elapsed().as_millis(),
        )
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
    assert!(
        (outcome, attempts) == (away.clone(), 0) && (300..=302).contains(&waited),
        "the request's time: {waited}"
    );
    let (outcome, _, waited) = took(&order(&[A]), 30_000).await;
    assert!(
        outcome == away && (1_000..=1_002).contains(&waited),
        "the extension's time: {waited}"
    );
    let (outcome, _, waited) = took(&patient, 30_000).await;
    assert!(
        outcome == away && (695..=701).contains(&waited),
        "two seconds from the loss: {waited}"
    );
    let (outcome, _, waited) = took(&patient, 30_000).await;
    assert!(
        outcome == away && waited == 0,
        "who knows when it comes back: {waited}"
    );
    assert_eq!(
        (
            bench.sent(A),
            bench.invokers.find("clean").unwrap().breaker().failures
        ),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_lost_with_the_bus_is_made_again_where_that_does_no_harm() {
    let bench = Bench::start().await;
    // Lost once, and answered then.
    let lose = |subject: &'static str| {
        let calls = Arc::downgrade(&bench.bus);
        bench.bus.handles(subject, move |_| {
            let first = calls.upgrade().unwrap().calls(subject).len() == 1;
            let answer = if first {
                Err(TransportError::NotConnected)
            } else {
                Ok(Bytes::from_static(b"{}"))
            };
            async move {
                answer.map(|body| Answer {
                    body,
                    ..Answer::default()
                })
            }
            .boxed()
        });
    };
    [A, B, C].into_iter().for_each(lose);
    let result = bench
        .call(&changed(&order(&[A]), |call| call.target.retry = 0))
        .await;
    assert_eq!((result.outcome.is_ok(), result.attempts), (true, 2));
    let record = r#"{"id": "clean", "type": "pre", "metadata": {"idempotent": false}}"#;
    let effects = Arc::new(record::parse(record, "beamline").unwrap());
    let result = bench
        .call(&changed(&order(&[B]), |call| call.extension = effects))
        .await;
    assert_eq!(
        (result.outcome.unwrap_err(), result.attempts),
        (CallFailure::BusUnavailable, 1)
    );
    let provider = CallOrder {
        extra_attempts: 0,
        ..changed(&order(&[C]), |call| call.rule = Rule::Provider)
    };
    let result = bench.call(&provider).await;
    assert_eq!(
        (result.outcome.unwrap_err(), result.attempts),
        (CallFailure::BusUnavailable, 1),
        "somebody pays twice"
    );
    assert_eq!(bench.invokers.find("clean").unwrap().breaker().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn without_time_for_its_usual_latency_nothing_is_called() {
    let bench = Bench::start().await;
    bench.bus.handles(A, |_| {
        async {
            sleep(Duration::from_millis(400)).await;
            Ok(Answer {
                body: Bytes::from_static(b"{}"),
                ..Answer::default()
            })
        }
        .boxed()
    });
    let one = changed(&order(&[A]), |call| call.target.retry = 1);
    let within = |ms| CallScope {
        deadline: Instant::now() + Duration::from_millis(ms),
        ..scope()
    };
    assert!(
        bench
            .invokers
            .call(&one, &within(450))
            .await
            .outcome
            .is_ok(),
        "nothing was known of it"
    );
    eventually("its latency is known", || {
        bench.endpoint_state(A).latency.is_some()
    })
    .await;
    let result = bench.invokers.call(&one, &within(399)).await;
    assert_eq!(
        (result.outcome.unwrap_err(), result.attempts, bench.sent(A)),
        (CallFailure::TooLittleTime, 0, 1)
    );
    assert!(
        bench
            .invokers
            .call(&one, &within(450))
            .await
            .outcome
            .is_ok()
    );

    // A retry needs that time, too.
    bench.bus.fails(A, TransportError::NoResponders);
    assert_eq!(bench.invokers.call(&one, &within(449)).await.attempts, 1);
    assert_eq!(
        bench.invokers.call(&one, &within(450 + 101)).await.attempts,
        2
    );

    sleep(Duration::from_secs(31)).await;
    bench.bus.answers(A, "{}");
    let result = bench.invokers.call(&one, &within(100)).await;
    assert!(
        result.outcome.is_ok(),
        "old knowledge keeps nobody away: {result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_no_place() {
    let bench = Bench::start().await;
    bench.invokers.limit_calls(1);
    // Somebody else has the only place when the retry is due, 50 to 100 ms after the start, and for
    // a moment longer.
    bench.bus.handles(B, |_| {
        async {
            sleep(Duration::from_millis(110)).await;
            Ok(Answer {
                body: Bytes::from_static(b"{}"),
                ..Answer::default()
            })
        }
        .boxed()
    });
    let invokers = bench.invokers.clone();
    let other = without_retries(&order(&[B]));
    let taken = tokio::spawn(async move {
        sleep(Duration::from_millis(10)).await;
        invokers.call(&other, &scope()).await
    });
    let result = bench.call(&order(&[A])).await;
    assert_eq!(
        (result.outcome.unwrap_err(), result.attempts),
        (CallFailure::NoResponders, 1)
    );
    assert_eq!(bench.sent(A), 1, "the retry gave way");
    assert!(taken.await.unwrap().outcome.is_ok());
    let third = bench.call(&order(&[B])).await;
    assert!(
        third.outcome.is_ok(),
        "a first attempt finds the place again"
    );
}

//! One extension in several places, in memory: each place has a breaker and figures of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::call::CallScope;
use beamline_actors::invoker::Invoker;
use beamline_actors::metrics::{ExtensionReason, ExtensionStatus};
use beamline_actors::ports::{Author, Change, TransportError};
use beamline_contract::record::{BreakerOverrides, Isolation, Kind};
use beamline_domain::record;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::target::breaker::{self, Settings, State};
use beamline_domain::target::selection::EndpointState;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

mod bench;
mod neighbours;
mod retries;

use bench::{
    A, B, Bench, C, OPEN_FOR, OWN, TIMEOUT, changed, eventually, order, scope, without_retries,
};

#[tokio::test(start_paused = true)]
async fn a_dead_instance_opens_only_its_own_breaker_and_retries_go_to_the_next() {
    let bench = Bench::start().await;
    bench.bus.fails(A, TransportError::NoResponders);
    bench.bus.answers(B, "{}");
    let both = order(&[A, B]);
    for _ in 0..5 {
        let result = bench.call(&both).await;
        assert!(result.outcome.is_ok());
        assert_eq!((result.attempts, result.endpoint), (2, 1));
    }
    assert_eq!(bench.bus.calls(B)[0].attempt, 2);
    assert!(
        bench
            .endpoint_state(A)
            .held_back
            .is_some_and(|wait| wait <= OPEN_FOR)
    );
    assert!(bench.endpoint_state(A).unhealthy && !bench.endpoint_state(B).unhealthy);
    assert_eq!(
        (bench.endpoint_state(B).held_back, bench.state()),
        (None, "closed")
    );

    let result = bench.call(&both).await;
    assert_eq!(
        (result.attempts, result.endpoint, bench.sent(A)),
        (1, 1, 5),
        "what is open is passed over"
    );
    assert_eq!(bench.bus.calls(B)[5].attempt, 1, "and that is no attempt");

    bench.bus.answers(A, "{}");
    sleep(OPEN_FOR).await;
    assert!(
        !bench.endpoint_state(A).unhealthy,
        "its probe has to come from somebody"
    );
    assert_eq!(bench.call(&both).await.endpoint, 0);
    assert_eq!(bench.endpoint_state(A).held_back, None);
}

#[tokio::test(start_paused = true)]
async fn after_a_place_that_was_passed_over_the_retry_goes_on() {
    let bench = Bench::start().await;
    [A, B]
        .iter()
        .for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    bench.bus.answers(C, "{}");
    let impatient = changed(&order(&[A]), |call| {
        call.target.breaker.consecutive_failures = 1
    });
    assert_eq!(
        bench.call(&impatient).await.attempts,
        1,
        "the threshold is the policy's"
    );
    let result = bench.call(&order(&[A, B, C])).await;
    assert_eq!((result.attempts, result.endpoint), (2, 2));
    assert_eq!((bench.sent(A), bench.sent(B), bench.sent(C)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_blamed_for_a_timeout_that_this_process_or_the_bus_was_late_for() {
    let bench = Bench::start().await;
    let one = changed(&order(&[A]), |call| call.target.retry = 0);
    bench.bus.fails(A, TransportError::BusLate);
    for _ in 0..5 {
        assert_eq!(
            bench.call(&one).await.outcome.unwrap_err(),
            CallFailure::Timeout
        );
    }
    assert_eq!(
        bench.invokers.find("clean").unwrap().breaker().failures,
        0,
        "nor is it when the bus was"
    );
    bench.bus.fails(A, TransportError::Timeout);
    bench.invokers.lags(true);
    for _ in 0..5 {
        assert_eq!(
            bench.call(&one).await.outcome.unwrap_err(),
            CallFailure::Timeout
        );
    }
    bench.invokers.lags(false);
    assert_eq!(
        bench.invokers.find("clean").unwrap().breaker().failures,
        0,
        "nor while this process is known to be late"
    );
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
            assert_eq!(
                bench.call(&one).await.outcome.unwrap_err(),
                CallFailure::Timeout
            );
        }
        assert_eq!(
            bench.invokers.find("clean").unwrap().breaker().failures,
            failures,
            "{late_by} ms late"
        );
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
        let Err(CallFailure::LeftAlone { retry_after }) = result.outcome else {
            panic!("{:?}", result.outcome)
        };
        assert_eq!((retry_after, result.attempts), (Duration::from_secs(3), 0));
    }
    assert_eq!((bench.sent(A), bench.state()), (1, "closed"));
    assert_eq!(
        bench
            .invokers
            .endpoint_state_for("t", "clean", A)
            .asked_to_wait,
        Some(Duration::from_secs(3))
    );
    bench.bus.answers(B, "{}");
    assert_eq!(
        bench.call(&order(&[A, B])).await.endpoint,
        1,
        "others take its calls"
    );
    sleep(Duration::from_secs(3)).await;
    bench.bus.answers(A, "{}");
    assert!(bench.call(&one).await.outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_quota_of_one_tenant_is_nobody_elses_where_tenants_are_kept_apart() {
    let bench = Bench::start().await;
    bench.bus.answers(
        A,
        r#"{"error": {"code": "429", "message": "used up", "retry_after_ms": 3000}}"#,
    );
    let one = changed(&order(&[A]), |call| {
        call.target.breaker.isolation = Isolation::Tenant
    });
    bench.call(&one).await;
    bench.bus.answers(A, "{}");
    assert!(matches!(
        bench.call(&one).await.outcome,
        Err(CallFailure::LeftAlone { .. })
    ));
    let other = CallScope {
        tenant_id: "u".into(),
        ..scope()
    };
    assert!(bench.invokers.call(&one, &other).await.outcome.is_ok());
    let in_use = bench.invokers.in_use("clean").unwrap();
    assert_eq!(
        in_use.limit, in_use.ceiling,
        "nor may fewer run because of it"
    );
}

#[tokio::test(start_paused = true)]
async fn with_every_place_open_the_shortest_wait_is_told() {
    let bench = Bench::start().await;
    [A, B]
        .iter()
        .for_each(|subject| bench.bus.fails(subject, TransportError::NoResponders));
    let once = |subject| {
        changed(&order(&[subject]), |call| {
            call.target.retry = 0;
            (
                call.target.breaker.consecutive_failures,
                call.target.breaker.jitter,
            ) = (1, 0);
        })
    };
    bench.call(&without_retries(&once(A))).await;
    sleep(Duration::from_secs(2)).await;
    bench.call(&without_retries(&once(B))).await;
    let result = bench.call(&order(&[B, A])).await;
    let Err(CallFailure::CircuitOpen { retry_after, .. }) = result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert_eq!((retry_after, result.attempts), (Duration::from_secs(3), 0));
    assert_eq!(
        (bench.sent(A), bench.sent(B), bench.state()),
        (1, 1, "open")
    );
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        bench.state(),
        "half_open",
        "one of them waits for its probe"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_needs_any_more_is_no_evidence() {
    let bench = Bench::start().await;
    bench.bus.hangs(A);
    let one = order(&[A]);
    let patient = scope();
    let count = |status| {
        let label = ExtensionStatus {
            extension_id: "clean".into(),
            status,
        };
        bench.metrics.extension_requests.of(&label).get()
    };
    let failed = |reason| {
        let label = ExtensionReason {
            extension_id: "clean".into(),
            reason,
        };
        bench.metrics.extension_failures.of(&label).get()
    };
    for _ in 0..20 {
        timeout(
            Duration::from_millis(999),
            bench.invokers.call(&one, &patient),
        )
        .await
        .expect_err("cut off");
    }
    eventually("the calls are counted", || count("skipped") == 20).await;
    let invoker = bench.invokers.find("clean").unwrap();
    assert_eq!(
        (
            invoker.breaker().failures,
            invoker.figures().requests,
            failed("cancelled")
        ),
        (0, 0, 0)
    );
    assert_eq!(bench.endpoint_state(A), EndpointState::default());

    let hurried = CallScope {
        deadline: Instant::now() + Duration::from_millis(100),
        ..scope()
    };
    bench.bus.handles(A, |_| std::future::pending().boxed());
    timeout(
        Duration::from_millis(110),
        bench.invokers.call(&one, &hurried),
    )
    .await
    .expect_err("cut off");
    eventually("the deadline is counted", || {
        count("timeout") == 1 && failed("deadline_exceeded") == 1
    })
    .await;
    assert_eq!(invoker.breaker().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_often_fails_is_unhealthy_until_its_failures_are_old() {
    let bench = Bench::start().await;
    let once = |subject| changed(&order(&[subject]), |call| call.target.retry = 0);
    let one = once(A);
    let other = once(B);
    bench.bus.answers(B, "{}");
    for round in 0..4 {
        bench.bus.fails(A, TransportError::NoResponders);
        for _ in 0..2 {
            bench.call(&without_retries(&one)).await;
        }
        assert!(
            !bench.endpoint_state(A).unhealthy,
            "{round}: too few calls to tell"
        );
        bench.bus.answers(A, "{}");
        bench.call(&one).await;
        bench.call(&other).await;
    }
    let invoker = bench.invokers.find("clean").unwrap();
    eventually("all figures are published", || {
        invoker.figures().requests == 16 && bench.endpoint_state(A).unhealthy
    })
    .await;
    assert_eq!(
        (
            bench.endpoint_state(A).held_back,
            bench.endpoint_state(B).unhealthy
        ),
        (None, false)
    );
    assert!(bench.endpoint_state(B).latency.is_some() && bench.invokers.latency("clean").is_some());
    assert_eq!(
        invoker.figures().success_rate,
        Some(0.5),
        "the extension's figures cover both"
    );
    sleep(Duration::from_secs(31)).await;
    assert!(!bench.endpoint_state(A).unhealthy);

    let label = ExtensionStatus {
        extension_id: "clean".into(),
        status: "success",
    };
    assert!(
        bench.metrics.extension_requests.of(&label).get() > 0,
        "counted by extension, not by place"
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_that_recovers_is_not_avoided_for_its_past() {
    let bench = Bench::start().await;
    let one = changed(&order(&[A]), |call| {
        call.target.retry = 0;
        (
            call.target.breaker.consecutive_failures,
            call.target.breaker.minimum_calls,
        ) = (20, u32::MAX);
    });
    bench.bus.fails(A, TransportError::NoResponders);
    while bench.sent(A) < 20 {
        bench.call(&one).await;
        sleep(Duration::from_secs(1)).await;
    }
    eventually("it waits for its probe", || {
        bench.endpoint_state(A).held_back.is_none()
    })
    .await;
    assert!(
        bench.endpoint_state(A).unhealthy,
        "twenty failures, the last of them a moment ago"
    );
    bench.bus.answers(A, "{}");
    for _ in 0..3 {
        bench.call(&one).await;
    }
    // The figures follow soon; with time alone the failures would be forgotten much later.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (
            bench.sent(A),
            bench.state(),
            bench.endpoint_state(A).unhealthy
        ),
        (23, "closed", false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_without_calls_for_long_does_not_hide_that_the_others_are_down() {
    let bench = Bench::start().await;
    let once = |subject| {
        changed(&order(&[subject]), |call| {
            call.target.breaker.consecutive_failures = 1
        })
    };
    bench.bus.answers(B, "{}");
    bench.bus.fails(A, TransportError::NoResponders);
    bench.call(&once(B)).await;
    sleep(Duration::from_secs(599)).await;
    bench.call(&once(A)).await;
    assert_eq!(bench.state(), "closed");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.state(), "open");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(
        bench.state(),
        "half_open",
        "the closed one is forgotten, the other one waits for its probe"
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_that_the_registry_no_longer_has_is_forgotten() {
    let bench = Bench::start().await;
    for subject in [A, B, OWN] {
        bench.bus.fails(subject, TransportError::NoResponders);
        bench
            .call(&changed(&order(&[subject]), |call| {
                call.target.breaker.consecutive_failures = 1
            }))
            .await;
    }
    let kept = r#"{"id": "clean", "type": "pre", "instances": [
        {"instance_id": "b", "subject": "beamline.ext.pre.clean.b"}]}"#;
    let kept = record::parse(kept, "beamline").unwrap();
    bench
        .registry
        .write(Change::UpdateExtension(kept), Author::default())
        .await
        .unwrap();
    let invoker = bench.invokers.find("clean").unwrap();
    eventually("A is forgotten", || invoker.targets().len() == 2).await;
    let subjects: Vec<Arc<str>> = invoker
        .targets()
        .iter()
        .map(|target| Arc::clone(&target.subject))
        .collect();
    assert_eq!(subjects, [B.into(), OWN.into()]);
    assert!(
        invoker
            .targets()
            .iter()
            .all(|target| matches!(target.breaker().state, State::Open { .. }))
    );
    let forgotten = EndpointState {
        failing: true,
        ..EndpointState::default()
    };
    assert_eq!(bench.endpoint_state(A), forgotten, "its extension is not");
}

#[tokio::test(start_paused = true)]
async fn an_operators_reset_closes_every_breaker_once() {
    let invoker = Invoker::new("clean");
    let one = invoker.target(&A.into());
    let other = invoker.target(&B.into());
    let settings = Settings::new(Kind::Pre, TIMEOUT, &BreakerOverrides::default());
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
    invoker.follow_resets(3);
    assert_eq!(states(), ["open", "open"], "it has heard of that one");
    invoker.follow_resets(1);
    assert_eq!(
        (states(), invoker.resets()),
        (["closed", "closed"], 1),
        "registered anew, it counts from the start"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_counts_only_when_it_had_all_its_time() {
    let invoker = Invoker::new("clean");
    let target = invoker.target(&A.into());
    let settings = Settings::new(Kind::Pre, TIMEOUT, &BreakerOverrides::default());
    for (waited, failures) in [(TIMEOUT - Duration::from_millis(1), 0), (TIMEOUT, 1)] {
        let permit = target.permit(breaker::Mode::Normal, &settings).unwrap();
        sleep(waited).await;
        drop(permit);
        assert_eq!(target.breaker().failures, failures, "after {waited:?}");
    }
}

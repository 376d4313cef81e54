//! What one tenant does, and what another one notices of it.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::call::CallScope;
use beamline_actors::ports::{Answer, Call, TransportError};
use beamline_contract::record::{BreakerOverrides, Kind};
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::plan::Rule;
use beamline_domain::request::run::CallOrder;
use beamline_domain::target::breaker::Settings;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::bench::{A, B, Bench, TIMEOUT, changed, order, scope_of, without_retries};

const LATER: &str = r#"{"error": {"code": "429", "message": "used up", "retry_after_ms": 60000}}"#;

/// A call of tenants whose prompts `answer` knows by their tenant.
fn calls_at_a(bench: &Bench, answer: impl Fn(&Call) -> &'static str + Send + Sync + 'static) {
    bench.bus.handles(A, move |call: Call| {
        let body = answer(&call).into();
        async move {
            Ok(Answer {
                body,
                ..Answer::default()
            })
        }
        .boxed()
    });
}

fn one() -> CallOrder {
    // A guardrail is not even called with less time than it usually takes.
    let provider = changed(&order(&[A]), |call| {
        call.rule = Rule::Provider;
        call.target.breaker = Settings::new(Kind::Provider, TIMEOUT, &BreakerOverrides::default());
    });
    without_retries(&provider)
}

#[tokio::test(start_paused = true)]
async fn one_prompt_that_is_answered_429_keeps_nobody_else_back() {
    let bench = Bench::start().await;
    calls_at_a(&bench, |call| match &*call.tenant_id {
        "attacker" => LATER,
        _ => "{}",
    });
    for _ in 0..44 {
        bench.call_of("attacker", &one()).await;
        let others = bench.call_of("other", &one()).await;
        assert!(others.outcome.is_ok(), "{:?}", others.outcome);
        sleep(Duration::from_secs(1)).await;
    }
    let sent = bench.bus.calls(A);
    let of_attacker = sent.iter().filter(|call| &*call.tenant_id == "attacker");
    assert_eq!(of_attacker.count(), 1, "it keeps to what it was told");
}

#[tokio::test(start_paused = true)]
async fn what_two_tenants_are_told_is_for_everybody() {
    let bench = Bench::start().await;
    calls_at_a(&bench, |_| LATER);
    for tenant in ["one", "one", "two", "three"] {
        let _ = bench.call_of(tenant, &one()).await;
    }
    let sent: Vec<_> = bench.bus.calls(A);
    let tenants: Vec<&str> = sent.iter().map(|call| &*call.tenant_id).collect();
    assert_eq!(tenants, ["one", "two"]);
    let result = bench.call_of("four", &one()).await;
    let Err(CallFailure::LeftAlone { retry_after }) = result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert_eq!(retry_after, Duration::from_secs(60));
}

/// Calls with this part of what an answer takes. As many of another tenant as the issue has it.
async fn six_in_a_hurry(bench: &Bench, takes: Duration, parts: [f64; 6]) {
    for part in parts {
        let hurried = CallScope {
            deadline: Instant::now() + takes.mul_f64(part),
            ..scope_of("attacker")
        };
        let result = bench.invokers.call(&one(), &hurried).await;
        assert_eq!(result.outcome.unwrap_err(), CallFailure::Deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn prompts_in_a_hurry_are_no_evidence_where_the_usual_time_is_known() {
    const TAKES: Duration = Duration::from_millis(900);
    const PARTS: [f64; 6] = [0.55, 0.57, 0.59, 0.61, 0.63, 0.65];
    let bench = Bench::start().await;
    bench.bus.handles(A, |call: Call| {
        async move {
            sleep(TAKES.min(call.timeout)).await;
            if call.timeout < TAKES {
                return Err(TransportError::Timeout);
            }
            Ok(Answer {
                body: "{}".into(),
                ..Answer::default()
            })
        }
        .boxed()
    });
    // Also after a pause, when the past no longer speaks for the present.
    for pause in [Duration::ZERO, Duration::from_secs(60)] {
        let first = bench.call_of("other", &one()).await;
        assert!(first.outcome.is_ok(), "{:?}", first.outcome);
        sleep(Duration::from_millis(100) + pause).await;
        six_in_a_hurry(&bench, TAKES, PARTS).await;
        let attacker = bench
            .invokers
            .endpoint_state_for("attacker", "clean", A)
            .held_back;
        assert_eq!(attacker, None, "nor is it held against whoever sent them");
        for _ in 0..30 {
            let result = bench.call_of("other", &one()).await;
            assert!(result.outcome.is_ok(), "{:?}", result.outcome);
        }
    }
    assert!(TIMEOUT > TAKES);
}

#[tokio::test(start_paused = true)]
async fn eight_prompts_that_are_answered_500_are_refused_to_nobody_else() {
    let bench = Bench::start().await;
    calls_at_a(&bench, |call| match &*call.tenant_id {
        "attacker" => r#"{"error": {"code": "500", "message": "poison"}}"#,
        _ => "{}",
    });
    for second in 0..60 {
        if second % 2 == 0 {
            for _ in 0..8 {
                assert!(bench.call_of("attacker", &one()).await.outcome.is_err());
            }
        }
        for _ in 0..5 {
            let result = bench.call_of("other", &one()).await;
            assert!(result.outcome.is_ok(), "{:?}", result.outcome);
            sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sixty_slow_prompts_at_twenty_places_leave_room_for_others() {
    let bench = Bench::start().await;
    bench.bus.handles(A, |call: Call| {
        async move {
            if &*call.tenant_id == "attacker" {
                sleep(call.timeout).await;
                return Err(TransportError::Timeout);
            }
            Ok(Answer {
                body: "{}".into(),
                ..Answer::default()
            })
        }
        .boxed()
    });
    bench.invokers.limit_calls(20);
    assert!(bench.call_of("other", &one()).await.outcome.is_ok());
    let invokers = bench.invokers.clone();
    let attack = tokio::spawn(async move {
        loop {
            let order = one();
            let scope = scope_of("attacker");
            let calls = (0..60).map(|_| invokers.call(&order, &scope));
            join_all(calls).await;
            sleep(Duration::from_millis(10)).await;
        }
    });
    for _ in 0..100 {
        sleep(Duration::from_millis(150)).await;
        let order = one();
        let scope = scope_of("other");
        let calls = (0..10).map(|_| bench.invokers.call(&order, &scope));
        for result in join_all(calls).await {
            assert!(result.outcome.is_ok(), "{:?}", result.outcome);
        }
    }
    attack.abort();
    let in_use = bench.invokers.in_use("clean").unwrap();
    assert_eq!(in_use.limit, 20, "nor may fewer run because of it");
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_keeps_no_place() {
    let bench = Bench::start().await;
    bench.bus.hangs(A);
    bench.invokers.limit_calls(2);
    let order = one();
    for after in [0, 20, 50, 99, 500, 999] {
        let calls = (0..6).map(|_| async {
            let scope = scope_of("one");
            let call = bench.invokers.call(&order, &scope);
            timeout(Duration::from_millis(after), call).await
        });
        join_all(calls).await;
        let in_use = bench.invokers.in_use("clean").unwrap();
        assert_eq!((in_use.in_flight, in_use.waiting), (0, 0), "{after} ms");
    }
}

/// A call of so many bytes.
fn large(order: &CallOrder, bytes: usize) -> CallOrder {
    CallOrder {
        body: vec![b' '; bytes].into(),
        ..order.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn texts_that_are_larger_than_a_record_takes_are_not_sent() {
    let bench = Bench::start().await;
    bench.bus.answers(A, "{}");
    let bounded = changed(&one(), |call| {
        let extension = Arc::make_mut(&mut call.extension);
        extension.max_payload_bytes = Some(100_000);
    });
    for _ in 0..16 {
        let result = bench.call_of("attacker", &large(&bounded, 800_000)).await;
        let failure = CallFailure::OverItsLimit {
            size: 800_000,
            limit: 100_000,
        };
        assert_eq!(result.outcome.unwrap_err(), failure);
    }
    assert_eq!(bench.sent(A), 0);
    assert_eq!(bench.invokers.find("clean").unwrap().breaker().failures, 0);
    let fits = bench.call_of("other", &large(&bounded, 100_000)).await;
    assert!(fits.outcome.is_ok(), "{:?}", fits.outcome);
}

#[tokio::test(start_paused = true)]
async fn large_texts_have_the_time_that_their_record_gives_them() {
    let bench = Bench::start().await;
    let takes = |call: Call| {
        async move {
            let takes = Duration::from_micros(call.body.len() as u64 * 2);
            sleep(takes.min(call.timeout)).await;
            if takes > call.timeout {
                return Err(TransportError::Timeout);
            }
            Ok(Answer {
                body: "{}".into(),
                ..Answer::default()
            })
        }
        .boxed()
    };
    [A, B]
        .iter()
        .for_each(|subject| bench.bus.handles(subject, takes));
    // 1.6 s, of 1 s; and of 1 s and three quarters of 2 s.
    let short = large(&without_retries(&order(&[A])), 800_000);
    let long = changed(&large(&without_retries(&order(&[B])), 800_000), |call| {
        call.target.per_mib = Duration::from_secs(2);
    });
    for _ in 0..30 {
        let cut = bench.call_of("attacker", &short).await;
        assert!(cut.outcome.is_err());
        let whole = bench.call_of("other", &long).await;
        assert!(whole.outcome.is_ok(), "{:?}", whole.outcome);
    }
}

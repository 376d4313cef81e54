//! What one tenant does, and what another one notices of it.

use std::time::Duration;

use beamline_actors::ports::{Answer, Call};
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::run::CallOrder;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::bench::{A, Bench, changed, order, without_retries};

const LATER: &str =
    r#"{"error": {"code": "429", "message": "used up", "retry_after_ms": 60000}}"#;

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
    without_retries(&order(&[A]))
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

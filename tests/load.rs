//! Many requests at once: each is answered once and right, and one bad extension harms only those
//! who use it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use beamline_extension::{Extension, Kind};
use beamline_test_support::{
    ExtensionProcess, Gateway, LIMIT, Nats, RouterProcess, Stub, request, serve,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

const REQUESTS: usize = 2_000;
const AT_ONCE: usize = 64;
/// Else a machine that is busy with other tests would have some of them refused, and rightly.
const FIXED: &str = "false";
/// After the last answer, a second answer to any request would have come by then.
const QUIET: Duration = Duration::from_millis(300);

/// Sends requests under reply subjects of their own and collects every answer that comes, also
/// those too many.
async fn flood(
    gateway: &Gateway,
    count: usize,
    body: impl Fn(usize) -> Value,
) -> HashMap<usize, Vec<Value>> {
    let client = gateway.client().clone();
    let inbox = client.new_inbox();
    let mut answers = client
        .subscribe(format!("{inbox}.*"))
        .await
        .expect("a subscription");
    client.flush().await.expect("flushed");
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let (collected, mut collect) = mpsc::unbounded_channel();
    let back = Arc::clone(&permits);
    let reader = tokio::spawn(async move {
        while let Some(message) = answers.next().await {
            let number: usize = message
                .subject
                .rsplit('.')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number");
            back.add_permits(1);
            collected
                .send((
                    number,
                    serde_json::from_slice(&message.payload).expect("JSON"),
                ))
                .expect("a collector");
        }
    });
    for number in 0..count {
        timeout(LIMIT, permits.acquire())
            .await
            .expect("answers keep coming")
            .expect("open")
            .forget();
        let reply = format!("{inbox}.{number}");
        let body = body(number).to_string();
        client
            .publish_with_reply("beamline.router.v1.route", reply, body.into())
            .await
            .expect("published");
    }
    let mut all: HashMap<usize, Vec<Value>> = HashMap::new();
    while all.len() < count {
        let (number, answer) = timeout(LIMIT, collect.recv())
            .await
            .expect("every request is answered")
            .expect("open");
        all.entry(number).or_default().push(answer);
    }
    while let Ok(Some((number, answer))) = timeout(QUIET, collect.recv()).await {
        all.entry(number).or_default().push(answer);
    }
    reader.abort();
    all
}

#[tokio::test]
async fn two_thousand_requests_through_four_extensions_are_each_answered_once_and_right() {
    let nats = Nats::start().await;
    let settings = [("nats.url", nats.url()), ("router.adaptive_limit", FIXED)];
    let mut router = RouterProcess::start(&settings).await;
    let programs = [
        ("beamline-normalize-text", "normalize_text"),
        ("beamline-pii-guard", "pii_guard"),
        ("beamline-mock-provider", "mock_provider"),
        ("beamline-mask-pii", "mask_pii"),
    ];
    let mut extensions = Vec::new();
    for (program, id) in programs {
        extensions.push(ExtensionProcess::start(&nats, program, id, &[]).await);
    }
    let gateway = Gateway::connect(&nats).await;
    let body = |number: usize| {
        json!({
            "version": "1", "tenant_id": "demo", "request_id": format!("r-{number}"),
            "message": {"payload": if number.is_multiple_of(10) { format!("joe{number}@example.org") } else { format!("  item   {number} ") }},
        })
    };
    let begun = Instant::now();
    let answers = flood(&gateway, REQUESTS, body).await;
    println!(
        "{REQUESTS} requests, {AT_ONCE} at once, through four extensions: {:?}",
        begun.elapsed()
    );
    for (number, given) in answers {
        let [answer] = given.as_slice() else {
            panic!("request {number} got {} answers", given.len())
        };
        assert_eq!(answer["context"]["request_id"], format!("r-{number}"));
        if number.is_multiple_of(10) {
            assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
        } else {
            assert_eq!(
                answer["response"]["output"],
                format!("echo: item {number}"),
                "{answer}"
            );
        }
    }
    let (_, metrics) = router.get("/metrics").await.expect("metrics");
    assert!(
        metrics.contains("router_requests_in_flight 0\n"),
        "everything is answered"
    );
    assert!(metrics.contains(&format!("router_requests_received_total {REQUESTS}\n")));
    router.sigterm();
    assert!(router.wait_exit(LIMIT).await.success());
    assert!(!router.log().contains("panicked"), "{}", router.log());
}

#[tokio::test]
async fn an_extension_that_never_answers_does_not_slow_others() {
    let nats = Nats::start().await;
    let settings = [("nats.url", nats.url()), ("router.adaptive_limit", FIXED)];
    let _router = RouterProcess::start(&settings).await;
    let gateway = Gateway::connect(&nats).await;
    gateway.register("provider", "quick", json!({})).await;
    gateway
        .register("provider", "silent", json!({"timeout_ms": 20_000}))
        .await;
    gateway
        .policy("default", &json!({"providers": [{"name": "quick"}]}))
        .await;
    gateway
        .policy("silent", &json!({"providers": [{"name": "silent"}]}))
        .await;
    let _quick = Stub::saying(&nats, Kind::Provider, "quick", r#"{"output": "quick"}"#).await;
    let _silent = serve(
        &nats,
        Extension::raw(Kind::Provider, "silent", async |_| None),
    )
    .await;
    // Half of all requests wait for the silent one until their own time is over; the others must
    // not wait with them.
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let client = gateway.client().clone();
            let body = request("silent").to_string();
            tokio::spawn(async move {
                client
                    .request("beamline.router.v1.route", body.into())
                    .await
            })
        })
        .collect();
    let answers = flood(&gateway, 200, |_| request("default")).await;
    assert!(
        answers
            .values()
            .all(|given| given.len() == 1 && given[0]["response"]["output"] == "quick")
    );
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "the quick ones were done while the others still waited"
    );
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

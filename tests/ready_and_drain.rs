//! A router says when it takes traffic, finishes what it has begun when it is told to end, and starts again after a crash.

use std::sync::Arc;

use beamline_extension::{CallContext, Completion, Edit, Extension, Failure, Message, Prompt, Running, Verdict};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{LIMIT, Nats, PostgresDatabase, RouterProcess, eventually, serve};

async fn unchanged(_message: Message, _call: CallContext) -> Result<Edit, Failure> {
    Ok(Edit::unchanged())
}

async fn fine(_message: Message, _call: CallContext) -> Result<Verdict, Failure> {
    Ok(Verdict::Ok)
}

/// The extensions of the demo policy that a new database holds, with a provider that waits at a gate.
struct Demo {
    gate: Arc<Semaphore>,
    provider: Running,
    _others: [Running; 3],
}

impl Demo {
    async fn serve(nats: &Nats) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        let echo = move |prompt: Prompt, _call: CallContext| {
            let gate = Arc::clone(&waits);
            async move {
                drop(gate.acquire().await);
                Completion::new(&json!({"echo": prompt.text}))
            }
        };
        let others = [
            serve(nats, Extension::pre("normalize_text", unchanged)).await,
            serve(nats, Extension::validator("pii_guard", fine)).await,
            serve(nats, Extension::post("mask_pii", unchanged)).await,
        ];
        Self { gate, provider: serve(nats, Extension::provider("mock_provider", echo)).await, _others: others }
    }

    /// Nobody waits any more.
    fn open(&self) {
        self.gate.add_permits(1_000);
    }
}

async fn route(client: async_nats::Client) -> Value {
    let body = json!({
        "version": "1", "tenant_id": "demo", "request_id": "r-1", "timeout_ms": 30_000,
        "message": {"message_id": "m-1", "message_type": "chat", "payload": "hello", "metadata": {}},
    });
    let request = async_nats::Request::new().payload(body.to_string().into()).timeout(Some(LIMIT));
    let answer = client.send_request("beamline.router.v1.route", request).await.expect("an answer");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_router_ends() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let demo = Demo::serve(&nats).await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url()), ("database.url", &database.url())]).await;

    let asked = tokio::spawn(route(nats.client().await));
    eventually(LIMIT, "the provider has the request", async || (demo.provider.in_flight() == 1).then_some(())).await;
    router.sigterm();
    eventually(LIMIT, "the router is not ready any more", async || {
        router.get("/readyz").await.is_none_or(|(status, _)| status == 503).then_some(())
    })
    .await;
    demo.open();
    let answer = asked.await.expect("no panic");
    assert_eq!(answer["response"]["output"]["echo"], "hello", "{answer}");
    assert!(router.wait_exit(LIMIT).await.success(), "{}", router.log());
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_told_to_try_elsewhere_and_the_exit_code_says_so() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url()), ("router.drain_timeout", "300ms")]).await;

    let asked = tokio::spawn(route(nats.client().await));
    eventually(LIMIT, "the provider has the request", async || (demo.provider.in_flight() == 1).then_some(())).await;
    router.sigterm();
    let answer = asked.await.expect("no panic");
    assert_eq!(answer["error"]["code"], "shutting_down", "{answer}");
    assert_eq!(router.wait_exit(LIMIT).await.code(), Some(3), "{}", router.log());
    let log = router.log();
    let last = log.lines().find(|line| line.contains("answered=")).expect("a last line");
    assert!(["received=1", "answered=1", "shed=0", "cut=1"].iter().all(|count| last.contains(count)), "{last}");
    demo.open();
}

#[tokio::test]
async fn a_killed_router_starts_again_where_it_was() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    demo.open();
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let address = router.http();
    router.kill();
    router.respawn();
    router.until_ready().await;
    assert_eq!(router.http(), address);
    let answer = route(nats.client().await).await;
    assert_eq!(answer["ok"], true, "{answer}\n{}", router.log());
}

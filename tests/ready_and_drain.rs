//! A router says when it takes traffic, finishes what it has begun when it is told to end, and
//! starts again after a crash.

use std::sync::Arc;
use std::time::Duration;

use beamline_extension::{
    CallContext, Completion, Edit, Extension, Failure, Message, Prompt, Running, Verdict,
};
use beamline_test_support::{
    Gateway, IGNORES_HANGUP, LIMIT, Nats, PostgresDatabase, RouterProcess, eventually, request,
    serve,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

async fn unchanged(_message: Message, _call: CallContext) -> Result<Edit, Failure> {
    Ok(Edit::unchanged())
}

async fn fine(_message: Message, _call: CallContext) -> Result<Verdict, Failure> {
    Ok(Verdict::Ok)
}

/// The extensions of the demo policy that a new database holds, with a provider that waits at a
/// gate.
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
        Self {
            gate,
            provider: serve(nats, Extension::provider("mock_provider", echo)).await,
            _others: others,
        }
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
    let request = async_nats::Request::new()
        .payload(body.to_string().into())
        .timeout(Some(LIMIT));
    let answer = client
        .send_request("beamline.router.v1.route", request)
        .await
        .expect("an answer");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_router_ends() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let demo = Demo::serve(&nats).await;
    let mut router =
        RouterProcess::start(&[("nats.url", nats.url()), ("database.url", &database.url())]).await;

    let asked = tokio::spawn(route(nats.client().await));
    eventually(LIMIT, "the provider has the request", async || {
        (demo.provider.in_flight() == 1).then_some(())
    })
    .await;
    router.sigterm();
    eventually(LIMIT, "the router is not ready any more", async || {
        router
            .get("/readyz")
            .await
            .is_none_or(|(status, _)| status == 503)
            .then_some(())
    })
    .await;
    demo.open();
    let answer = asked.await.expect("no panic");
    assert_eq!(answer["response"]["output"]["echo"], "hello", "{answer}");
    assert!(router.wait_exit(LIMIT).await.success(), "{}", router.log());
}

/// A supervisor that sends its signal to the group and to the process, for instance.
#[tokio::test]
async fn a_second_signal_close_behind_the_first_changes_nothing() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let asked = tokio::spawn(route(nats.client().await));
    let in_flight = async || (demo.provider.in_flight() == 1).then_some(());
    eventually(LIMIT, "the provider has the request", in_flight).await;
    router.sigterm();
    let draining = async || router.readiness().await.filter(|said| said["code"] == 503);
    eventually(LIMIT, "the router drains", draining).await;
    for _ in 0..3 {
        router.sigterm();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    demo.open();
    let answer = asked.await.expect("no panic");
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(router.wait_exit(LIMIT).await.success(), "{}", router.log());
}

#[tokio::test]
async fn a_second_signal_some_time_after_the_first_ends_the_router_at_once() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let _asked = tokio::spawn(route(nats.client().await));
    let in_flight = async || (demo.provider.in_flight() == 1).then_some(());
    eventually(LIMIT, "the provider has the request", in_flight).await;
    router.sigterm();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    router.sigterm();
    assert_eq!(router.wait_exit(LIMIT).await.code(), Some(130));
}

#[tokio::test]
async fn a_router_that_shall_outlive_its_terminal_does() {
    let nats = Nats::start().await;
    let variables = [(IGNORES_HANGUP, "yes")];
    let mut router = RouterProcess::spawn_with(&[("nats.url", nats.url())], &variables);
    router.until_ready().await;
    router.hang_up();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let said = router.readiness().await.expect("it runs");
    assert_eq!(said["code"], 200, "{}", router.log());

    let mut other = RouterProcess::start(&[("nats.url", nats.url())]).await;
    other.hang_up();
    assert!(other.wait_exit(LIMIT).await.success(), "{}", other.log());
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_told_to_try_elsewhere_and_the_exit_code_says_so() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let mut router =
        RouterProcess::start(&[("nats.url", nats.url()), ("router.drain_timeout", "300ms")]).await;

    let asked = tokio::spawn(route(nats.client().await));
    eventually(LIMIT, "the provider has the request", async || {
        (demo.provider.in_flight() == 1).then_some(())
    })
    .await;
    router.sigterm();
    let answer = asked.await.expect("no panic");
    assert_eq!(answer["error"]["code"], "shutting_down", "{answer}");
    assert_eq!(
        router.wait_exit(LIMIT).await.code(),
        Some(3),
        "{}",
        router.log()
    );
    let log = router.log();
    let last = log
        .lines()
        .find(|line| line.contains("answered="))
        .expect("a last line");
    assert!(
        ["received=1", "answered=1", "shed=0", "cut=1"]
            .iter()
            .all(|count| last.contains(count)),
        "{last}"
    );
    demo.open();
}

#[tokio::test]
async fn a_change_that_outlasts_the_drain_is_told_that_nobody_knows() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("router.drain_timeout", "300ms"),
    ];
    let mut router = RouterProcess::start(&settings).await;
    let gateway = Gateway::connect(&nats).await;
    database.slow_commits(3.0).await;
    let disabling = tokio::spawn(async move {
        gateway
            .admin("disable_extension", &json!({"id": "normalize_text"}))
            .await
    });
    database.until_committing().await;
    router.sigterm();
    let answer = disabling.await.expect("no panic");
    assert_eq!(answer["error"]["code"], "shutting_down", "{answer}");
    assert_eq!(answer["error"]["details"]["outcome"], "unknown", "{answer}");
    assert_eq!(
        router.wait_exit(LIMIT).await.code(),
        Some(3),
        "{}",
        router.log()
    );
}

#[tokio::test]
async fn a_router_whose_log_nobody_reads_ends_all_the_same() {
    let mut nats = Nats::start().await;
    let settings = [("nats.url", nats.url()), ("telemetry.log_filter", "trace")];
    let mut router = RouterProcess::spawn_piped(&settings, &[]);
    router.until_ready().await;
    router.log_pipe().hold();
    let gateway = Gateway::connect(&nats).await;
    // A line for each at least, and more of them than the pipe holds.
    for _ in 0..1_000 {
        let refused = gateway.route(&request("none")).await;
        assert_eq!(refused["error"]["code"], "policy_not_found", "{refused}");
    }
    nats.kill();
    eventually(LIMIT, "it has seen the loss", async || {
        router
            .readiness()
            .await
            .filter(|said| said["nats"] == false)
    })
    .await;
    router.sigterm();
    // A sentence goes with this exit code.
    assert_eq!(router.wait_exit(LIMIT).await.code(), Some(4));
}

#[tokio::test]
async fn probes_are_answered_when_idle_connections_hold_the_last_files() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let mut idle = JoinSet::new();
    let connected = Arc::new(Semaphore::new(0));
    for _ in 0..8 {
        let mut stream = TcpStream::connect(router.http())
            .await
            .expect("a connection");
        let connected = Arc::clone(&connected);
        // Never long enough without a request to be closed for that.
        idle.spawn(async move {
            loop {
                stream
                    .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                    .await?;
                if stream.read(&mut [0; 4_096]).await? == 0 {
                    return Ok::<_, std::io::Error>(());
                }
                connected.add_permits(1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    drop(connected.acquire_many(8).await);
    router.take_files();
    eventually(LIMIT, "a probe is answered", async || {
        router.readiness().await
    })
    .await;
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

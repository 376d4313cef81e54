//! A stop takes no more work, loses none of what it took, and a dropped handle stops too.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use beamline_extension::{CallContext, Edit, Extension, Message, Settings};
use beamline_test_support::calls::{call, call_json, request, send};
use beamline_test_support::{LIMIT, Nats, TcpProxy, Weather, serve, until};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A probe that is still taken in waits like the calls before it.
const PROBE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let server = Nats::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = {
        let gate = Arc::clone(&gate);
        move |_: Message, _: CallContext| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(Edit::unchanged())
            }
        }
    };
    let running = serve(&server, Extension::pre("x", wait)).await;
    let subject = running.subject().to_owned();
    let client = server.client().await;
    let body = request(json!("a")).to_string();
    let calls = tokio::spawn({
        let client = client.clone();
        let subject = subject.clone();
        let body = body.clone();
        async move { join_all((0..50).map(|_| call(&client, &subject, &[], &body))).await }
    });
    until("all calls are in flight", || running.in_flight() == 50).await;

    let stopping = tokio::spawn(running.stop());
    // Only when nobody takes work any more may the handlers go on.
    let nobody_left = async {
        while !timeout(PROBE, nobody_listens(&client, &subject, &body))
            .await
            .unwrap_or(false)
        {}
    };
    timeout(LIMIT, nobody_left)
        .await
        .expect("the subscription ends while calls are in flight");
    assert!(!stopping.is_finished());
    gate.add_permits(10_000);
    for answer in timeout(LIMIT, calls).await.unwrap().unwrap() {
        assert_eq!(answer, "{}");
    }
    let summary = timeout(LIMIT, stopping).await.unwrap().unwrap();
    assert!(summary.drained && summary.flushed && summary.asked);
}

async fn nobody_listens(client: &Client, subject: &str, body: &str) -> bool {
    let answer = send(client, subject, &[], body).await;
    answer.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

/// Callers that keep calling, and must see every call answered.
struct Callers {
    stop: CancellationToken,
    calling: Vec<JoinHandle<usize>>,
}

impl Callers {
    async fn start(server: &Nats, subject: &str) -> Self {
        let client = server.client().await;
        let body = request(json!("a")).to_string();
        let stop = CancellationToken::new();
        let calling = (0..16)
            .map(|_| {
                let client = client.clone();
                let subject = subject.to_owned();
                let body = body.clone();
                let stop = stop.clone();
                tokio::spawn(async move {
                    let mut answered = 0;
                    while !stop.is_cancelled() {
                        assert!(!call(&client, &subject, &[], &body).await.contains("error"));
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        Self { stop, calling }
    }

    async fn were_all_answered(self) {
        self.stop.cancel();
        for answered in join_all(self.calling).await {
            assert!(answered.unwrap() > 0);
        }
    }
}

fn echo() -> Extension {
    Extension::pre("x", async |message, _| Ok(Edit::replace(message)))
}

#[tokio::test]
async fn a_rolling_restart_loses_no_call() {
    let server = Nats::start().await;
    let mut running = serve(&server, echo()).await;
    let callers = Callers::start(&server, running.subject()).await;
    for _ in 0..6 {
        let next = serve(&server, echo()).await;
        running.stop().await;
        running = next;
    }
    callers.were_all_answered().await;
}

/// The server counts what it sends anew on each connection.
#[tokio::test]
async fn a_stop_after_a_reconnect_loses_no_call() {
    let server = Nats::start().await;
    let proxy = TcpProxy::start(server.address()).await;
    let far = echo()
        .serve(&Settings::for_url(proxy.nats_url()))
        .await
        .unwrap();
    let client = server.client().await;
    let body = request(json!("a")).to_string();
    for _ in 0..40 {
        call(&client, far.subject(), &[], &body).await;
    }
    let connections = proxy.connections();
    proxy.reset();
    until("it is back", || proxy.connections() > connections).await;
    let serves = async { while nobody_listens(&client, far.subject(), &body).await {} };
    timeout(LIMIT, serves).await.unwrap();

    let _near = serve(&server, echo()).await;
    let callers = Callers::start(&server, far.subject()).await;
    proxy.weather(Weather {
        latency: Duration::from_millis(20),
        ..Weather::default()
    });
    let before = far.counts().requests;
    until("it is called", || far.counts().requests > before + 100).await;
    far.stop().await;
    callers.were_all_answered().await;
}

#[tokio::test]
async fn a_dropped_handle_stops_the_extension() {
    let server = Nats::start().await;
    let running = serve(
        &server,
        Extension::pre("x", async |_, _| Ok(Edit::unchanged())),
    )
    .await;
    let subject = running.subject().to_owned();
    let client = server.client().await;
    drop(running);
    let gone = async {
        while !nobody_listens(&client, &subject, "{}").await {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn a_shared_connection_outlives_its_extension() {
    let server = Nats::start().await;
    let client = server.client().await;
    let extension = Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let running = extension
        .serve_on(&client, &Settings::default())
        .await
        .unwrap();
    assert_eq!(
        call_json(&client, running.subject(), &request(json!(1))).await,
        json!({})
    );
    running.stop().await;
    client.publish("still.open", "".into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn names_that_cannot_work_are_refused_at_once() {
    let away = Settings::for_url("nats://127.0.0.1:9");
    let extension = Extension::pre("a.b", async |_, _| Ok(Edit::unchanged()));
    let error = timeout(LIMIT, extension.serve(&away))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("extension id"), "{error}");
}

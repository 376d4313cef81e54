//! A stop takes no more work, loses none of what it took, and a dropped handle stops too.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use beamline_extension::{CallContext, Edit, Extension, Message, Settings};
use beamline_test_support::calls::{call, call_json, request, send};
use beamline_test_support::{LIMIT, Nats, serve, until};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

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

/// A caller that keeps calling while one of two processes stops must see every call answered.
#[tokio::test]
async fn a_rolling_restart_loses_no_call() {
    let server = Nats::start().await;
    let one = || Extension::pre("x", async |message, _| Ok(Edit::replace(message)));
    let mut running = serve(&server, one()).await;
    let client = server.client().await;
    let subject = running.subject().to_owned();
    let body = request(json!("a")).to_string();
    let stop = tokio_util::sync::CancellationToken::new();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            let subject = subject.clone();
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
    for _ in 0..12 {
        let next = serve(&server, one()).await;
        running.stop().await;
        running = next;
    }
    stop.cancel();
    for answered in join_all(callers).await {
        assert!(answered.unwrap() > 0);
    }
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

//! Calls that are late, broken, too many or too much: each is answered in the contract's error
//! form, or rightly dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::RequestErrorKind;
use beamline_extension::{CallContext, Edit, Extension, Failure, Kind, Message, RawAnswer};
use beamline_test_support::calls::{call, call_json, request, request_with, send};
use beamline_test_support::{Nats, serve, serve_with, until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn error_of(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    answer["error"].clone()
}

/// Answers what its payload asks for.
async fn obey(message: Message, call: CallContext) -> Result<Edit, Failure> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters here")]
        limit: u32,
    }
    call.config::<Config>()?;
    match message.payload_as::<String>()?.as_str() {
        "panic" => panic!("told to, with a line\r\nbreak"),
        "hang" => std::future::pending().await,
        "fail" => Err(Failure::new("upstream_down", "no\r\nluck").retryable()),
        "huge" => Ok(Edit::replace(message.with_payload(&"x".repeat(2 << 20))?)),
        _ => Ok(Edit::unchanged()),
    }
}

#[tokio::test]
async fn failures_are_answered_in_the_error_form_and_the_process_lives_on() {
    let server = Nats::start().await;
    let running = serve(&server, Extension::pre("x", obey)).await;
    let client = server.client().await;
    let ask = async |payload: &str| {
        let body = request(json!(payload)).to_string();
        call(
            &client,
            running.subject(),
            &[("Router-Timeout-Ms", "20000")],
            &body,
        )
        .await
    };
    assert_eq!(
        ask("fail").await,
        r#"{"error":{"code":"upstream_down","message":"no\r\nluck","retryable":true}}"#
    );
    assert_eq!(error_of(&ask("panic").await)["code"], "internal");
    assert_eq!(error_of(&ask("huge").await)["code"], "internal");
    assert_eq!(ask("else").await, "{}");

    let counts = running.stop().await.counts;
    assert_eq!((counts.requests, counts.errors), (4, 3));
}

#[tokio::test]
async fn malformed_requests_are_answered_and_never_repeated() {
    let server = Nats::start().await;
    let running = serve(&server, Extension::pre("x", obey)).await;
    let client = server.client().await;
    let deep = format!(
        r#"{{"metadata":{}1{}}}"#,
        r#"{"a":"#.repeat(5000),
        "}".repeat(5000)
    );
    for body in [
        "",
        " ",
        "null",
        "[]",
        "\"secret\"",
        "{",
        "{}",
        "{\"payload\":null}",
        "{\"payload\":\"secret\"}",
        "{\"payload\":{}}",
        "{\"payload\":{\"payload\":5}}",
        "{\"payload\":{\"payload\":{\"secret\":1}}}",
        "{\"payload\":{\"payload\":1,\"payload\":2}}",
        "{\"tenant_id\":7,\"payload\":{\"payload\":1}}",
        "{\"metadata\":[\"secret\"],\"payload\":{\"payload\":1}}",
        "\u{feff}{}",
        deep.as_str(),
    ] {
        let answer = call(&client, running.subject(), &[], body).await;
        let error = error_of(&answer);
        assert_eq!(error["code"], "invalid_request", "{body:.60}");
        assert_eq!(error["retryable"], false);
        assert!(!answer.contains("secret"), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_config_is_named() {
    let server = Nats::start().await;
    let running = serve(&server, Extension::pre("x", obey)).await;
    let client = server.client().await;
    for (config, part) in [
        (
            json!({"limit": "many"}),
            "config.limit: wrong type or value, expected u32",
        ),
        (
            json!({"limit": 1, "limits": 2}),
            "config.limits: unknown field",
        ),
        (json!([]), "config: expected an object"),
    ] {
        let answer = call_json(
            &client,
            running.subject(),
            &request_with(json!("a"), config.clone()),
        )
        .await;
        assert_eq!(answer["error"]["code"], "invalid_config", "{config}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with(part),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn expired_work_is_dropped_without_an_answer() {
    let server = Nats::start().await;
    let executed = Arc::new(AtomicUsize::new(0));
    let count = {
        let executed = Arc::clone(&executed);
        move |_: Message, _: CallContext| {
            executed.fetch_add(1, Ordering::Relaxed);
            async { Ok(Edit::unchanged()) }
        }
    };
    let running = serve(&server, Extension::pre("x", count)).await;
    let client = server.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let body = request(json!("a")).to_string();
    for (name, value) in [
        ("Router-Timeout-Ms", "0"),
        ("Router-Deadline", "2001-02-03T04:05:06Z"),
    ] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(name, value);
        let body = body.clone().into();
        client
            .publish_with_reply_and_headers(
                running.subject().to_owned(),
                inbox.clone(),
                headers,
                body,
            )
            .await
            .unwrap();
    }
    // Messages of one connection arrive in order: when this one is answered, the two before it have
    // been taken in.
    let live = [
        ("Router-Deadline", "2999-01-01T00:00:00Z"),
        ("Router-Timeout-Ms", "20000"),
    ];
    assert_eq!(call(&client, running.subject(), &live, &body).await, "{}");

    let counts = running.stop().await.counts;
    assert_eq!((counts.expired, counts.requests), (2, 1));
    assert_eq!(executed.load(Ordering::Relaxed), 1);
    let nothing =
        futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut answers));
    assert!(nothing.is_none(), "{nothing:?}");
}

#[tokio::test]
async fn a_deadline_a_moment_ago_may_be_a_clock_that_differs() {
    let server = Nats::start().await;
    let running = serve(&server, Extension::pre("x", obey)).await;
    let client = server.client().await;
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let body = request(json!("a")).to_string();
    assert_eq!(
        call(
            &client,
            running.subject(),
            &[("Router-Deadline", &now)],
            &body
        )
        .await,
        "{}"
    );
    for nonsense in ["-1", "soon", "99999999999", "1.5", ""] {
        let answer = call(
            &client,
            running.subject(),
            &[("Router-Timeout-Ms", nonsense)],
            &body,
        )
        .await;
        assert_eq!(error_of(&answer)["code"], "invalid_request", "{nonsense}");
    }
    assert_eq!(
        call(
            &client,
            running.subject(),
            &[("Router-Deadline", "tomorrow")],
            &body
        )
        .await,
        "{}"
    );
}

#[tokio::test]
async fn a_handler_past_its_deadline_is_cancelled() {
    let server = Nats::start().await;
    let running = serve_with(&server, Extension::pre("x", obey), |settings| {
        settings.max_in_flight = 1.try_into().unwrap()
    })
    .await;
    let client = server.client().await;
    let body = request(json!("hang")).to_string();
    // The second is admitted only because the first gave its place back.
    for _ in 0..2 {
        let answer = call(
            &client,
            running.subject(),
            &[("Router-Timeout-Ms", "30")],
            &body,
        )
        .await;
        assert_eq!(error_of(&answer)["code"], "deadline_exceeded");
        until("the place is free again", || running.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn one_call_too_many_is_answered_at_once() {
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
    let running = serve_with(&server, Extension::pre("x", wait), |settings| {
        settings.max_in_flight = 2.try_into().unwrap()
    })
    .await;
    let client = server.client().await;
    let body = request(json!("a")).to_string();
    let mut held = 0;
    let mut refused = 0;
    let mut calls: Vec<_> = (0..300)
        .map(|_| Box::pin(call(&client, running.subject(), &[], &body)))
        .collect();
    while calls.len() > 2 {
        let (answer, _, rest) = futures_util::future::select_all(calls).await;
        assert_eq!(
            answer,
            concat!(
                r#"{"error":{"code":"overloaded","message":"all places for calls are taken","#,
                r#""retryable":true}}"#
            )
        );
        refused += 1;
        calls = rest;
    }
    gate.add_permits(2);
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer, "{}");
        held += 1;
    }
    assert_eq!((held, refused), (2, 298));
    assert_eq!(running.stop().await.counts.overloaded, 298);
}

#[tokio::test]
async fn a_raw_handler_answers_anything_or_nothing() {
    let server = Nats::start().await;
    let raw = Extension::raw(Kind::Provider, "x", async |request| {
        match request.payload.as_ref() {
            b"silence" => None,
            b"error" => {
                let mut answer = RawAnswer::default();
                answer.headers.insert("Nats-Service-Error-Code", "503");
                Some(answer)
            }
            other => Some(RawAnswer::from([other, b" \xff"].concat())),
        }
    });
    let running = serve(&server, raw).await;
    let client = server.client().await;
    let subject = running.subject().to_owned();
    let headers = [("Router-Timeout-Ms", "0")];
    assert_eq!(
        send(&client, &subject, &headers, "odd")
            .await
            .unwrap()
            .payload
            .as_ref(),
        b"odd \xff"
    );
    let error = send(&client, &subject, &headers, "error").await.unwrap();
    assert_eq!(
        error
            .headers
            .unwrap()
            .get("Nats-Service-Error-Code")
            .unwrap()
            .as_str(),
        "503"
    );
    client
        .publish_with_reply(subject.clone(), client.new_inbox(), "silence".into())
        .await
        .unwrap();
    assert_eq!(
        send(&client, &subject, &headers, "after")
            .await
            .unwrap()
            .payload
            .as_ref(),
        b"after \xff"
    );

    assert_eq!(running.stop().await.counts.requests, 4);
    let gone = send(&client, &subject, &headers, "late").await.unwrap_err();
    assert_eq!(gone.kind(), RequestErrorKind::NoResponders);
}

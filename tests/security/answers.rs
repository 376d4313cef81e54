//! Answers that somebody else gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use beamline_extension::{CallContext, Completion, Extension, Failure, Message, Prompt, Verdict};
use beamline_test_support::{
    Gateway, LIMIT, Nats, RouterProcess, eventually, request, serve, until,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::metric;

/// A guard that rejects everything, after a while in which others may answer for it.
async fn strict(_: Message, _: CallContext) -> Result<Verdict, Failure> {
    sleep(Duration::from_millis(30)).await;
    Ok(Verdict::reject("pii_detected"))
}

async fn echo(prompt: Prompt, _: CallContext) -> Result<Completion, Failure> {
    Completion::new(&json!(prompt.text))
}

/// A processor that answers its own call, and then does what `attack` does with the subject of the
/// answer.
async fn evil<A: Future<Output = ()> + Send>(
    nats: &Nats,
    attack: impl Fn(Client, String) -> A + Send + 'static,
) -> AbortOnDropHandle<()> {
    let client = nats.client().await;
    let mut calls = client.subscribe("beamline.ext.pre.evil.v1").await.unwrap();
    client.flush().await.unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let reply = call.reply.unwrap().to_string();
            client.publish(reply.clone(), "{}".into()).await.unwrap();
            attack(client.clone(), reply).await;
        }
    }))
}

async fn guarded(gateway: &Gateway) {
    gateway.register("pre", "evil", json!({})).await;
    gateway.register("validator", "strict", json!({})).await;
    gateway.register("provider", "echo", json!({})).await;
    let policy = json!({
        "version": "1.0", "pre": [{"id": "evil", "mode": "required"}],
        "validators": [{"id": "strict", "on_fail": "block"}], "providers": ["echo"],
    });
    gateway.policy("guarded", &policy).await;
}

/// What the node of the answers shows.
async fn security_events(gateway: &Gateway) -> u64 {
    let tree = gateway.admin("supervision_tree", &json!({})).await;
    let nodes = tree["tree"]["children"].as_array().unwrap().clone();
    let answers = nodes.into_iter().find(|node| node["name"] == "answers");
    answers.unwrap()["security_events"].as_u64().unwrap()
}

#[tokio::test]
async fn an_extension_answers_for_the_guard_that_is_called_after_it() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let _guard = serve(&nats, Extension::validator("strict", strict)).await;
    let _provider = serve(&nats, Extension::provider("echo", echo)).await;
    // Next to its own place, in every way that counters and letters suggest, until long after.
    let _evil = evil(&nats, |client, reply| async move {
        let (inbox, secret) = reply.rsplit_once('.').unwrap();
        let number = u128::from_str_radix(secret, 16).unwrap();
        for next in 1..=20 {
            for token in [
                format!("{:032x}", number.wrapping_add(next)),
                format!("{next:x}"),
                format!("own-{next:x}"),
                secret.to_uppercase(),
                format!("+{}", &secret[1..]),
                "*".to_owned(),
            ] {
                let guess = format!("{inbox}.{token}");
                let _ = client.publish(guess, r#"{"status": "ok"}"#.into()).await;
            }
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    guarded(&gateway).await;
    for _ in 0..30 {
        let answer = gateway.route(&request("guarded")).await;
        assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
        assert_eq!(
            answer["error"]["details"]["reason"], "pii_detected",
            "{answer}"
        );
    }
    assert!(security_events(&gateway).await > 0);
    let log = router.log();
    assert_eq!(
        log.matches("without the secret of a call").count(),
        1,
        "{log}"
    );
    let forged = "extension_answers_forged_total{reason=\"wrong_secret\"}";
    assert!(metric(&router, forged).await > 0.0);
}

#[tokio::test]
async fn an_extension_changes_its_mind_after_its_answer() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let _guard = serve(&nats, Extension::validator("strict", strict)).await;
    let _evil = evil(&nats, |client, reply| async move {
        let other = r#"{"payload": {"payload": "something else"}}"#;
        client.publish(reply, other.into()).await.unwrap();
    })
    .await;
    guarded(&gateway).await;
    for _ in 0..3 {
        let answer = gateway.route(&request("guarded")).await;
        assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
    }
    eventually(LIMIT, "each is counted", async || {
        (security_events(&gateway).await == 3).then_some(())
    })
    .await;
    let log = router.log();
    assert_eq!(log.matches("answered twice").count(), 1, "{log}");
    assert!(log.contains("beamline.ext.pre.evil.v1"), "{log}");
}

#[tokio::test]
async fn a_late_answer_is_no_attack() {
    let nats = Nats::start().await;
    let _router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    gateway
        .register("pre", "slow", json!({"timeout_ms": 100}))
        .await;
    gateway.register("provider", "echo", json!({})).await;
    let _provider = serve(&nats, Extension::provider("echo", echo)).await;
    let policy = json!({"version": "1.0", "pre": [{"id": "slow"}], "providers": ["echo"]});
    gateway.policy("slow", &policy).await;
    let client = nats.client().await;
    let mut calls = client.subscribe("beamline.ext.pre.slow.v1").await.unwrap();
    client.flush().await.unwrap();
    let answer = gateway.route(&request("slow")).await;
    assert_eq!(
        answer["degraded"][0]["reason"], "extension_timeout",
        "{answer}"
    );
    let reply = calls.next().await.unwrap().reply.unwrap();
    client.publish(reply, "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    gateway.route(&request("slow")).await;
    assert_eq!(security_events(&gateway).await, 0);
}

/// An extension that has a router answer in its place: the `ok` of a decision would be a guard's.
#[tokio::test]
async fn a_guard_has_the_router_answer_for_it() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    gateway
        .register("validator", "lazy", json!({"timeout_ms": 500}))
        .await;
    gateway.register("provider", "echo", json!({})).await;
    let _provider = serve(&nats, Extension::provider("echo", echo)).await;
    gateway
        .policy("open", &json!({"version": "1.0", "providers": ["echo"]}))
        .await;
    let policy = json!({
        "version": "1.0", "validators": [{"id": "lazy", "on_fail": "block"}], "providers": ["echo"],
    });
    gateway.policy("guarded", &policy).await;
    let client = nats.client().await;
    let mut calls = client
        .subscribe("beamline.ext.validate.lazy.v1")
        .await
        .unwrap();
    client.flush().await.unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = Arc::clone(&asked);
    let lazy = tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let body = request("open").to_string().into();
            let reply = call.reply.unwrap();
            client
                .publish_with_reply("beamline.router.v1.decide", reply, body)
                .await
                .unwrap();
            has_asked.store(true, Ordering::Relaxed);
        }
    });
    let _lazy = AbortOnDropHandle::new(lazy);
    let answer = gateway.route(&request("guarded")).await;
    assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
    assert!(asked.load(Ordering::Relaxed));
    until("it is counted", || {
        router.log().contains("nats.reply_prefixes")
    })
    .await;
}

/// What a router says to gateways is marked, and is nobody else's answer.
#[tokio::test]
async fn a_guard_passes_on_what_a_router_has_answered() {
    let nats = Nats::start().await;
    let _router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    gateway.register("validator", "relay", json!({})).await;
    gateway.register("provider", "echo", json!({})).await;
    let policy = json!({
        "version": "1.0", "validators": [{"id": "relay", "on_fail": "block"}], "providers": ["echo"],
    });
    gateway.policy("guarded", &policy).await;
    let client = nats.client().await;
    let mut calls = client
        .subscribe("beamline.ext.validate.relay.v1")
        .await
        .unwrap();
    client.flush().await.unwrap();
    let relay = tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let mut headers = HeaderMap::new();
            headers.insert("beamline-answer", "1");
            let answer = r#"{"status": "ok"}"#.into();
            client
                .publish_with_headers(call.reply.unwrap(), headers, answer)
                .await
                .unwrap();
        }
    });
    let _relay = AbortOnDropHandle::new(relay);
    let answer = gateway.route(&request("guarded")).await;
    assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
    assert_eq!(
        answer["error"]["details"]["error_type"], "malformed_answer",
        "{answer}"
    );
    assert_eq!(security_events(&gateway).await, 1);
    let own: Value = {
        let received = gateway
            .send("decide", request("guarded").to_string(), &[])
            .await;
        json!(
            received
                .headers
                .get("Beamline-Answer")
                .map(|value| value.as_str())
        )
    };
    assert_eq!(own, "1");
}

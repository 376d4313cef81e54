//! Messages whose headers no client can read, each of which ends the connection that it comes by.

use std::sync::Arc;
use std::time::Duration;

use beamline_test_support::{
    BareClient, Caller, Demo, Gateway, LIMIT, Nats, RouterProcess, eventually, request,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::metric;

/// A lone carriage return, no colon, no text, no version, and a name that is none.
const BAD: [&[u8]; 6] = [
    b"NATS/1.0\r\na: b\rc\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\na: \xff\xfe\r\n\r\n",
    b"HTTP/1.1\r\na: b\r\n\r\n",
    b"NATS/1.0\r\na b\x00: c\r\n\r\n",
    b"NATS/1.0 x\r\n\r\n",
];
const FIFTY_A_SECOND: Duration = Duration::from_millis(20);
/// Far more than a request takes here, and less than anybody waits for one that is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes them one after the other to a subject.
async fn publish_bad(nats: &Nats, subject: &'static str) -> AbortOnDropHandle<()> {
    let mut client = nats.bare().await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut pause = interval(FIFTY_A_SECOND);
        for bad in BAD.iter().cycle() {
            pause.tick().await;
            client.publish(subject, bad, "{}").await;
        }
    }))
}

/// Asks for the demo policy for so long, one request every 20 ms whatever becomes of the others,
/// and answers how many of how many were served in time.
async fn served(caller: &Caller, time: Duration) -> (usize, usize) {
    let mut asked = JoinSet::new();
    let mut pause = interval(Duration::from_millis(20));
    let until = Instant::now() + time;
    while Instant::now() < until {
        pause.tick().await;
        let caller = caller.clone();
        let id = format!("r-{}", asked.len());
        asked.spawn(async move {
            let answer = caller.try_route(&id, PATIENCE).await;
            answer.is_some_and(|answer| answer["ok"] == true)
        });
    }
    let all = asked.join_all().await;
    (all.iter().filter(|served| **served).count(), all.len())
}

fn assert_nearly_all((good, asked): (usize, usize)) {
    assert!(asked > 20, "{asked}");
    assert!(good * 100 >= asked * 99, "{good} of {asked}");
}

async fn unreadable(router: &RouterProcess, door: &str) -> f64 {
    let name = format!("router_nats_unreadable_messages_total{{door=\"{door}\"}}");
    metric(router, &name).await
}

#[tokio::test]
async fn the_administration_gets_fifty_bad_messages_a_second() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    caller.route("first").await;
    for subject in [
        "beamline.router.v1.admin.supervision_tree",
        "beamline.router.v1.control.breaker",
    ] {
        let bad = publish_bad(&nats, subject).await;
        assert_nearly_all(served(&caller, Duration::from_secs(2)).await);
        assert!(
            router
                .readiness()
                .await
                .is_some_and(|said| said["code"] == 200)
        );
        drop(bad);
    }
    assert!(unreadable(&router, "administration").await > 10.0);
    assert_eq!(unreadable(&router, "gateways").await, 0.0);
    // And it goes on.
    eventually(LIMIT, "the administration answers", async || {
        let asked = timeout(
            Duration::from_millis(500),
            caller.admin("list_policies", json!({})),
        );
        asked.await.ok().filter(|answer| answer["ok"] == true)
    })
    .await;
}

/// Answers every call of `subject` with something that nobody can read; `politely`, after an answer
/// that is right.
async fn evil(nats: &Nats, subject: &'static str, politely: bool) -> AbortOnDropHandle<()> {
    let client = nats.client().await;
    let mut calls = client.subscribe(subject).await.unwrap();
    client.flush().await.unwrap();
    let mut bare: BareClient = nats.bare().await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut bad = BAD.iter().cycle();
        while let Some(call) = calls.next().await {
            let reply = call.reply.unwrap();
            if politely {
                client.publish(reply.clone(), "{}".into()).await.unwrap();
                client.flush().await.unwrap();
                sleep(Duration::from_millis(5)).await;
            }
            bare.publish(&reply, bad.next().unwrap(), "{}").await;
        }
    }))
}

/// Whom the router calls over a connection of its own.
async fn apart(gateway: &Gateway) -> Vec<Value> {
    let tree = gateway.admin("supervision_tree", &json!({})).await;
    let nodes = tree["tree"]["children"].as_array().unwrap();
    let apart = nodes.iter().find(|node| node["name"] == "calls_apart");
    let children = apart.unwrap()["children"].as_array().unwrap().iter();
    children.map(|node| node["name"].clone()).collect()
}

#[tokio::test]
async fn an_extension_answers_with_bad_messages() {
    let codes = attack(false).await;
    // Alone, it has nobody else to blame.
    let last: Vec<&Value> = codes.iter().rev().take(20).collect();
    let own = last.iter().filter(|code| **code == "malformed_answer");
    assert!(own.count() >= 15, "{codes:?}");
}

#[tokio::test]
async fn an_extension_answers_and_then_sends_bad_messages() {
    attack(true).await;
}

/// Calls it for four seconds, of which others may suffer in the first. Answers what its own
/// callers heard.
async fn attack(politely: bool) -> Vec<Value> {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    let gateway = Gateway::connect(&nats).await;
    // Its breaker never opens, so that it is called again and again.
    let breaker = json!({"consecutive_failures": 1_000, "minimum_calls": 100_000});
    let record = json!({"timeout_ms": 200, "breaker": breaker});
    gateway.register("pre", "evil", record).await;
    let policy = json!({
        "version": "1.0", "pre": [{"id": "evil", "mode": "required"}], "providers": ["mock_provider"],
    });
    gateway.policy("bad", &policy).await;
    let _evil = evil(&nats, "beamline.ext.pre.evil.v1", politely).await;
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let codes = Arc::clone(&heard);
    let attacker = gateway.clone();
    let attack = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut pause = interval(FIFTY_A_SECOND);
        loop {
            pause.tick().await;
            let answer = attacker.route(&request("bad")).await;
            codes
                .lock()
                .push(answer["error"]["details"]["error_type"].clone());
        }
    }));
    // The first second.
    served(&caller, Duration::from_secs(1)).await;
    assert_nearly_all(served(&caller, Duration::from_secs(3)).await);
    drop(attack);
    let names = apart(&gateway).await;
    assert!(
        names.contains(&json!("beamline.ext.pre.evil.v1")),
        "{names:?}"
    );
    assert!(
        unreadable(&router, "calls").await > 10.0,
        "also those that it alone meets"
    );
    assert!(
        router.log().contains("called over one of its own"),
        "{}",
        router.log()
    );
    heard.lock().clone()
}

#[tokio::test]
async fn a_gateway_sends_bad_messages() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    let mut client = nats.bare().await;
    for bad in BAD {
        client.publish("beamline.router.v1.route", bad, "{}").await;
        eventually(LIMIT, "gateways are served again", async || {
            let id = "again";
            let answer = caller.try_route(id, Duration::from_millis(500)).await;
            answer.filter(|answer| answer["ok"] == true)
        })
        .await;
    }
    eventually(LIMIT, "each is counted", async || {
        (unreadable(&router, "gateways").await == BAD.len() as f64).then_some(())
    })
    .await;
    assert_eq!(unreadable(&router, "calls").await, 0.0);
}

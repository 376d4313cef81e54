//! A session keeps its provider, whichever replica gets its requests and whoever is started again;
//! without JetStream it does so on one replica, and the answers say so.

use std::collections::BTreeMap;

use beamline_test_support::{
    Gateway, LIMIT, Nats, PostgresDatabase, RouterProcess, eventually, request_with,
};
use serde_json::{Value, json};

const USERS: usize = 20;
const LOST: &str = "sticky sessions hold on this replica only";
const LOCAL: &str = "known_to_this_replica_only";

/// Two providers of the same weight, and sessions by user.
async fn set_up(gateway: &Gateway) {
    for provider in ["left", "right"] {
        gateway.register("provider", provider, json!({})).await;
    }
    let providers = json!([{"name": "left", "weight": 50}, {"name": "right", "weight": 50}]);
    let sticky = json!({"enabled": true, "session_key": "user_id", "ttl": "10m"});
    gateway
        .policy("chat", &json!({"providers": providers, "sticky": sticky}))
        .await;
}

async fn decide(gateway: &Gateway, user: usize) -> Value {
    let answer = gateway
        .decide(&request_with(
            "chat",
            json!({"context": {"user_id": format!("u-{user}")}}),
        ))
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    answer
}

fn provider(answer: &Value) -> String {
    answer["decision"]["provider_id"]
        .as_str()
        .expect("a provider")
        .to_owned()
}

fn is_local(answer: &Value) -> bool {
    answer["degraded"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["reason"] == LOCAL))
}

/// Some rounds, so that each replica gets requests of each user.
async fn assert_kept(gateway: &Gateway, chosen: &BTreeMap<usize, String>) {
    for _ in 0..5 {
        for (user, expected) in chosen {
            let answer = decide(gateway, *user).await;
            assert_eq!(provider(&answer), *expected, "user {user}: {answer}");
            assert_eq!(answer["decision"]["reason"], "sticky", "{answer}");
            assert!(!is_local(&answer), "{answer}");
        }
    }
}

async fn until_shared(gateway: &Gateway) {
    // Each replica answers some of so many in a row.
    eventually(LIMIT, "sessions are shared", async || {
        for user in 0..USERS {
            if is_local(&decide(gateway, user).await) {
                return None;
            }
        }
        Some(())
    })
    .await;
}

async fn until_same_revision(routers: &[&RouterProcess]) {
    eventually(LIMIT, "both serve the policy", async || {
        let mut revisions = Vec::new();
        for router in routers {
            revisions.push(router.readiness().await?["revision"].as_u64()?);
        }
        revisions
            .iter()
            .all(|revision| *revision >= 3 && revisions.first() == Some(revision))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_keeps_its_provider_on_all_replicas_and_over_restarts() {
    let mut nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
    let (mut first, mut second) = tokio::join!(
        RouterProcess::start(&settings),
        RouterProcess::start(&settings)
    );
    let gateway = Gateway::connect(&nats).await;
    set_up(&gateway).await;
    until_same_revision(&[&first, &second]).await;

    let mut chosen = BTreeMap::new();
    for user in 0..USERS {
        let answer = decide(&gateway, user).await;
        assert_eq!(answer["decision"]["reason"], "weighted", "{answer}");
        chosen.insert(user, provider(&answer));
    }
    // 1 in 2^19 that one of them got all.
    assert!(
        ["left", "right"]
            .iter()
            .all(|name| chosen.values().any(|chosen| chosen == name)),
        "{chosen:?}"
    );
    assert_kept(&gateway, &chosen).await;

    first.kill();
    assert_kept(&gateway, &chosen).await;
    first.respawn();
    first.until_ready().await;
    assert_kept(&gateway, &chosen).await;

    // Nobody is left who could remember.
    first.kill();
    second.kill();
    nats.restart().await;
    first.respawn();
    second.respawn();
    first.until_ready().await;
    second.until_ready().await;
    eventually(LIMIT, "the gateway is back", async || {
        gateway.client().flush().await.ok()
    })
    .await;
    until_shared(&gateway).await;
    assert_kept(&gateway, &chosen).await;
}

#[tokio::test]
async fn replicas_go_on_by_themselves_while_nats_is_started_again() {
    let mut nats = Nats::start().await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    set_up(&gateway).await;
    let mut chosen = BTreeMap::new();
    for user in 0..USERS {
        chosen.insert(user, provider(&decide(&gateway, user).await));
    }
    nats.restart().await;
    // It may still say that it is ready and not have noticed: only an answer shows that it is back.
    eventually(LIMIT, "the router answers again", async || {
        let asked = gateway
            .client()
            .request("beamline.router.v1.decide", "{}".into());
        asked.await.ok()
    })
    .await;
    for (user, expected) in &chosen {
        assert_eq!(
            provider(&decide(&gateway, *user).await),
            *expected,
            "shared or not"
        );
    }
    until_shared(&gateway).await;
    assert_kept(&gateway, &chosen).await;
    router.sigterm();
    assert_eq!(router.wait_exit(LIMIT).await.code(), Some(0));
    let log = router.log();
    assert_eq!(
        log.matches(LOST).count(),
        1,
        "once, and not when it stops: {log}"
    );
    assert_eq!(
        log.matches("sticky sessions hold across replicas again")
            .count(),
        1,
        "{log}"
    );
}

#[tokio::test]
async fn without_jetstream_the_answer_says_that_one_replica_knows() {
    let nats = Nats::start_without_jetstream().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    set_up(&gateway).await;
    for user in 0..USERS {
        let first = decide(&gateway, user).await;
        assert!(is_local(&first), "{first}");
        for _ in 0..3 {
            let next = decide(&gateway, user).await;
            assert_eq!(provider(&next), provider(&first), "{next}");
            assert!(is_local(&next), "{next}");
        }
    }
    let log = router.log();
    assert_eq!(log.matches(LOST).count(), 1, "{log}");
    assert!(
        log.contains("nats-server with -js and -sd DIRECTORY"),
        "{log}"
    );
}

//! What is in a message stays in it: canaries in every input, and a look at every output that is
//! not the answer.

use beamline_extension::Kind;
use beamline_test_support::{LIMIT, Routing, Stub, eventually, request_with};
use serde_json::{Value, json};

/// Each goes in at one place, and says which.
const CANARIES: &[&str] = &[
    "canary-payload",
    "4111 1111 1111 1111",
    "canary-metadata",
    "canary-context",
    "canary-tracestate",
    "canary-baggage",
    "canary-config",
    "canary-edit",
    "canary-reject",
    "canary-details",
    "canary-output",
    "canary-error",
    "canary-garbage",
    "canary-usage",
    "sk-canary-key-of-a-provider",
];
const KEY: &str = "canary-key-of-the-administration";

async fn set_up(routing: &Routing) -> Vec<Stub> {
    let admin = async |operation: &str, body: Value| {
        let answer = routing.gateway.admin_as(Some(KEY), operation, &body).await;
        assert_eq!(answer["ok"], true, "{answer}");
    };
    let mut stubs = Vec::new();
    let answers = [
        (Kind::Pre, "clean", json!({"payload": "canary-edit", "metadata": {"note": "canary-edit"}}).to_string()),
        (
            Kind::Validator,
            "guard",
            json!({"status": "reject", "reason": "canary-reject", "details": {"found": "canary-details"}}).to_string(),
        ),
        (
            Kind::Provider,
            "model",
            json!({"error": {"code": 500, "message": "canary-error 4111 1111 1111 1111"}}).to_string(),
        ),
        (Kind::Provider, "spare", json!({"output": "canary-output", "usage": {"note": "canary-usage"}}).to_string()),
        (Kind::Post, "mask", "canary-garbage".to_owned()),
    ];
    for (kind, id, answer) in answers {
        let record = json!({"id": id, "type": kind.as_str(), "config": {
            "api_key": "sk-canary-key-of-a-provider", "note": "canary-config"}});
        admin("create_extension", record).await;
        stubs.push(Stub::saying(&routing.nats, kind, id, &answer).await);
    }
    let policy = json!({
        "pre": [{"id": "clean", "mode": "required"}],
        "validators": [{"id": "guard", "on_fail": "warn"}],
        "providers": [{"name": "model", "weight": 1}],
        "fallbacks": [{"when": {"status": "5xx"}, "to": "spare"}],
        "post": [{"id": "mask", "mode": "optional"}],
    });
    admin(
        "put_policy",
        json!({"tenant_id": "acme", "policy_id": "chat", "policy": policy}),
    )
    .await;
    let blocking =
        json!({"validators": [{"id": "guard", "on_fail": "block"}], "providers": ["model"]});
    admin(
        "put_policy",
        json!({"tenant_id": "acme", "policy_id": "blocks", "policy": blocking}),
    )
    .await;
    stubs
}

fn body(policy_id: &str, number: usize) -> Value {
    request_with(
        policy_id,
        json!({
            "request_id": format!("q-{number}"),
            "context": {"who": "canary-context"},
            "message": {"message_id": "m", "message_type": "chat",
                "payload": "canary-payload 4111 1111 1111 1111", "metadata": {"a": "canary-metadata"}},
        }),
    )
}

#[tokio::test]
async fn nothing_of_a_message_or_a_secret_comes_out_anywhere_but_in_the_answer() {
    let routing = Routing::start(&[
        ("admin.api_key", KEY),
        ("telemetry.log_filter", "debug"),
        ("telemetry.log_format", "json"),
        ("telemetry.tenant_label", "true"),
    ])
    .await;
    let gateway = &routing.gateway;
    let _stubs = set_up(&routing).await;
    let headers = [
        ("tracestate", "a=canary-tracestate"),
        ("baggage", "b=canary-baggage"),
    ];
    let mut number = 0;
    for policy in ["chat", "blocks", "not-there"] {
        for _ in 0..8 {
            number += 1;
            let sent = body(policy, number).to_string();
            gateway.send("route", sent, &headers).await;
        }
    }
    // Requests that cannot be read are told of as well.
    for broken in [
        r#"{"canary-payload": "#,
        r#"{"message": {"payload": "canary-payload"}}"#,
        r#""canary-payload""#,
    ] {
        gateway.send("route", broken.to_owned(), &headers).await;
    }
    let wrong = gateway
        .admin_as(Some("sk-canary-key-of-a-provider"), "list_keys", &json!({}))
        .await;
    assert_eq!(wrong["ok"], false);
    let stories = eventually(LIMIT, "all stories", async || {
        let answer = gateway
            .admin_as(Some(KEY), "get_request", &json!({"limit": 100}))
            .await;
        (answer["requests"].as_array().map(Vec::len) == Some(number + 3)).then_some(answer)
    })
    .await;

    let mut outputs = vec![
        ("the log", routing.router.log()),
        ("the stories", stories.to_string()),
        (
            "the metrics",
            routing.router.get("/metrics").await.expect("metrics").1,
        ),
        (
            "readiness",
            format!("{:?}", routing.router.readiness().await),
        ),
    ];
    for operation in [
        "supervision_tree",
        "get_circuit_breaker_states",
        "get_extension_health",
        "list_policies",
    ] {
        let answer = gateway.admin_as(Some(KEY), operation, &json!({})).await;
        outputs.push((operation, answer.to_string()));
    }
    assert!(outputs[0].1.contains("extension call failed") && outputs[0].1.contains("q-1"));
    for (what, text) in &outputs {
        for canary in CANARIES.iter().chain([&KEY]) {
            let place = text.find(canary);
            let around =
                place.map(|at| text.get(at.saturating_sub(300)..(at + 60).min(text.len())));
            assert!(place.is_none(), "{canary} in {what}: {around:?}");
        }
    }
}

//! Errors that are about the request, its policy or the router's limits, and not about an extension
//! that failed (contract section 1, the table of codes).

use std::sync::Arc;

use beamline_extension::{CallContext, Completion, Extension, Kind, Prompt};
use beamline_test_support::{
    Gateway, LIMIT, Nats, RouterProcess, Stub, eventually, request, request_with, serve,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

struct World {
    gateway: Gateway,
    nats: Nats,
    _router: RouterProcess,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let settings: Vec<_> = settings
            .iter()
            .copied()
            .chain([("nats.url", nats.url())])
            .collect();
        let router = RouterProcess::start(&settings).await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("pre", "edit", json!({})).await;
        gateway.register("provider", "model", json!({})).await;
        gateway
            .policy("default", &json!({"providers": [{"name": "model"}]}))
            .await;
        Self {
            gateway,
            nats,
            _router: router,
        }
    }
}

fn codes(answer: &Value) -> (&str, &str) {
    let text = |key: &str| answer["error"][key].as_str().unwrap_or_default();
    (text("code"), text("intake_error_code"))
}

#[tokio::test]
async fn an_invalid_request_says_which_part() {
    let world = World::start(&[("router.max_extensions_per_pipeline", "1")]).await;
    let cases = [
        (json!({"version": "2"}), "VERSION_UNSUPPORTED", "/version"),
        (json!({"version": 1}), "VERSION_UNSUPPORTED", "/version"),
        (
            json!({"request_id": null}),
            "CORRELATION_FIELDS_INVALID",
            "/request_id",
        ),
        (
            json!({"tenant_id": ""}),
            "CORRELATION_FIELDS_INVALID",
            "/tenant_id",
        ),
        (
            json!({"trace_id": 7}),
            "CORRELATION_FIELDS_INVALID",
            "/trace_id",
        ),
        (
            json!({"message": null}),
            "SCHEMA_VALIDATION_FAILED",
            "/message",
        ),
        (
            json!({"message": {"metadata": {}}}),
            "SCHEMA_VALIDATION_FAILED",
            "/message/payload",
        ),
        (
            json!({"message": {"payload": 1, "metadata": []}}),
            "SCHEMA_VALIDATION_FAILED",
            "/message/metadata",
        ),
        (
            json!({"context": "x"}),
            "SCHEMA_VALIDATION_FAILED",
            "/context",
        ),
        (
            json!({"policy_id": 1}),
            "SCHEMA_VALIDATION_FAILED",
            "/policy_id",
        ),
        (
            json!({"timeout_ms": 0}),
            "SCHEMA_VALIDATION_FAILED",
            "/timeout_ms",
        ),
    ];
    for (change, intake_code, pointer) in cases {
        let answer = world
            .gateway
            .route(&request_with("default", change.clone()))
            .await;
        assert_eq!(
            codes(&answer),
            ("invalid_request", intake_code),
            "{change}: {answer}"
        );
        assert_eq!(
            answer["error"]["details"]["pointer"], pointer,
            "{change}: {answer}"
        );
        let known = if change.get("request_id").is_some() {
            Value::Null
        } else {
            json!("req-123")
        };
        assert_eq!(
            answer["context"]["request_id"], known,
            "what could be read is answered: {answer}"
        );
    }
    let long = json!({"tenant_id": "acme", "policy_id": "long",
        "policy": {"pre": [{"id": "edit"}], "providers": [{"name": "model"}]}});
    let answer = world.gateway.admin("put_policy", &long).await;
    assert_eq!(codes(&answer).0, "invalid_request", "{answer}");
    let mistake = &answer["error"]["details"]["mistakes"][0]["message"];
    assert_eq!(
        mistake,
        "has 2 extensions in its pipeline, the provider counted as one; at most 1 are allowed"
    );
}

#[tokio::test]
async fn an_unreadable_request_is_answered_within_its_trace() {
    let world = World::start(&[]).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answer = world
        .gateway
        .send("route", "{", &[("traceparent", &parent)])
        .await;
    assert_eq!(answer.json["context"]["trace_id"], trace, "{}", answer.text);
    let answer = world.gateway.send("route", "{", &[]).await;
    assert_eq!(
        answer.json["context"]["trace_id"].as_str().map(str::len),
        Some(32),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn tenants_that_are_not_allowed_are_refused() {
    let world = World::start(&[("router.allowed_tenants", "acme,globex")]).await;
    let _model = Stub::saying(&world.nats, Kind::Provider, "model", r#"{"output": 1}"#).await;
    assert_eq!(world.gateway.route(&request("default")).await["ok"], true);
    let answer = world
        .gateway
        .route(&request_with("default", json!({"tenant_id": "initech"})))
        .await;
    assert_eq!(
        codes(&answer),
        ("unauthorized", "TENANT_FORBIDDEN"),
        "{answer}"
    );
    let forged = world
        .gateway
        .send(
            "route",
            request("default").to_string(),
            &[("tenant_id", "initech")],
        )
        .await;
    assert_eq!(
        codes(&forged.json),
        ("unauthorized", "TENANT_FORBIDDEN"),
        "the header wins: {}",
        forged.text
    );
}

#[tokio::test]
async fn policies_and_extensions_that_are_not_there_are_named() {
    let world = World::start(&[]).await;
    let _model = Stub::saying(&world.nats, Kind::Provider, "model", r#"{"output": 1}"#).await;
    let gateway = &world.gateway;
    for change in [
        json!({"policy_id": "nope"}),
        json!({"tenant_id": "globex"}),
        json!({"policy_id": "../default"}),
    ] {
        let answer = gateway.route(&request_with("default", change)).await;
        assert_eq!(codes(&answer).0, "policy_not_found", "{answer}");
    }

    gateway.register("provider", "spare", json!({})).await;
    gateway
        .policy(
            "guarded",
            &json!({"pre": [{"id": "edit", "mode": "optional"}], "providers": [{"name": "model"}]}),
        )
        .await;
    gateway
        .policy(
            "two",
            &json!({"providers": [{"name": "model"}, {"name": "spare", "weight": 1000}]}),
        )
        .await;
    gateway
        .policy("spare", &json!({"providers": [{"name": "spare"}]}))
        .await;
    for operation in ["disable_extension", "delete_extension"] {
        for id in ["edit", "spare"] {
            assert_eq!(
                gateway.admin(operation, &json!({"id": id})).await["ok"],
                true
            );
        }
        for (policy, id) in [("guarded", "edit"), ("spare", "spare")] {
            let answer = gateway.route(&request(policy)).await;
            assert_eq!(
                codes(&answer).0,
                "extension_not_found",
                "{operation}: {answer}"
            );
            assert!(
                answer["error"]["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(id)),
                "{answer}"
            );
        }
        let answer = gateway.route(&request("two")).await;
        assert_eq!(
            answer["response"]["provider_id"], "model",
            "the other one is left: {answer}"
        );
    }
}

#[tokio::test]
async fn no_weight_is_no_decision() {
    let world = World::start(&[]).await;
    world
        .gateway
        .policy(
            "idle",
            &json!({"providers": [{"name": "model", "weight": 0}]}),
        )
        .await;
    for operation in ["decide", "route"] {
        let answer = world
            .gateway
            .send(operation, request("idle").to_string(), &[])
            .await;
        assert_eq!(codes(&answer.json).0, "decision_failed", "{}", answer.text);
    }
}

#[tokio::test]
async fn one_request_too_many_is_refused_at_the_door() {
    let world = World::start(&[("router.max_in_flight", "1")]).await;
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let echo = move |prompt: Prompt, _call: CallContext| {
        let gate = Arc::clone(&waits);
        async move {
            drop(gate.acquire().await);
            Completion::new(&prompt.text)
        }
    };
    let model = serve(&world.nats, Extension::provider("model", echo)).await;
    let gateway = world.gateway.clone();
    let first = request("default");
    let first = tokio::spawn(async move { gateway.route(&first).await });
    eventually(LIMIT, "the provider has the request", async || {
        (model.in_flight() == 1).then_some(())
    })
    .await;

    let refused = world
        .gateway
        .send(
            "route",
            request("default").to_string(),
            &[("trace_id", "mine")],
        )
        .await;
    assert_eq!(codes(&refused.json).0, "overloaded", "{}", refused.text);
    assert!(
        refused.json["error"]["details"]["retry_after_ms"]
            .as_u64()
            .is_some_and(|wait| wait > 0)
    );
    assert_eq!(refused.json["context"]["trace_id"], "mine");
    gate.add_permits(10);
    assert_eq!(
        first.await.expect("no panic")["response"]["output"],
        "hello"
    );
    eventually(LIMIT, "there is room again", async || {
        (world.gateway.route(&request("default")).await["ok"] == true).then_some(())
    })
    .await;
}

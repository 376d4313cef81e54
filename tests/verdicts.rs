//! Guardrails that do not say yes, and masks that leave something out.

use beamline_extension::Kind;
use beamline_test_support::{Routing, Stub, request};
use serde_json::{Value, json};

/// A route through a validator that answers `verdict`.
async fn judged(verdict: &'static str, settings: &[(&str, &str)]) -> (Value, String) {
    let routing = Routing::start(settings).await;
    let guard = routing.gateway.register("validator", "guard", json!({}));
    guard.await;
    let _guard = Stub::saying(&routing.nats, Kind::Validator, "guard", verdict).await;
    let model = routing.provider("model").await;
    let policy =
        json!({"validators": [{"id": "guard", "on_fail": "block"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    let passed = answer["ok"] == true;
    assert_eq!(model.calls(), usize::from(passed), "{answer}");
    let (_, metrics) = routing.router.get("/metrics").await.expect("metrics");
    (answer, metrics)
}

#[tokio::test]
async fn a_validator_without_a_verdict_blocks() {
    for verdict in ["{}", r#"{"allowed": false}"#, r#"{"Status": "reject"}"#] {
        let (answer, _) = judged(verdict, &[]).await;
        assert_eq!(answer["error"]["code"], "validator_blocked", "{answer}");
        let details = &answer["error"]["details"];
        assert_eq!(details["error_type"], "malformed_answer", "{answer}");
    }
    let (answer, _) = judged(r#"{"valid": false, "reason": "rude"}"#, &[]).await;
    assert_eq!(answer["error"]["details"]["reason"], "rude", "{answer}");
}

#[tokio::test]
async fn for_one_release_it_can_be_let_through_and_counted() {
    let warn = [("router.strict_answers", "warn")];
    let (answer, metrics) = judged("{}", &warn).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let counted = "extension_answers_tolerated_total{extension_id=\"guard\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn what_a_mask_says_nothing_of_stays_inside() {
    let routing = Routing::start(&[]).await;
    for (kind, id) in [("post", "mask"), ("provider", "model")] {
        routing.gateway.register(kind, id, json!({})).await;
    }
    let answer =
        r#"{"output": "call 555-1234", "metadata": {"model": "m-1", "quote": "call 555-1234"}}"#;
    let _model = Stub::saying(&routing.nats, Kind::Provider, "model", answer).await;
    let masked = r#"{"payload": {"payload": "call [PHONE]"}}"#;
    let mask = Stub::saying(&routing.nats, Kind::Post, "mask", masked).await;
    let policy = json!({"post": [{"id": "mask", "mode": "required"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert!(!answer.to_string().contains("555-1234"), "{answer}");
    assert_eq!(answer["response"]["metadata"], json!({"model": "m-1"}));
    let withheld = json!([{"id": "mask", "reason": "metadata_withheld"}]);
    assert_eq!(answer["degraded"], withheld);
    let seen = &mask.last_body()["payload"]["metadata"];
    assert_eq!(seen["quote"], "call 555-1234", "the mask was shown it");
}

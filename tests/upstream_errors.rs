//! Errors of model APIs, passed on by a provider as they are.

use beamline_extension::Kind;
use beamline_test_support::{LIMIT, Routing, Stub, eventually, lines, request};
use serde_json::json;

#[tokio::test]
async fn the_router_says_what_kind_of_failure_it_was_and_in_whose_words() {
    let routing = Routing::start(&[]).await;
    let provider = routing.gateway.register("provider", "model", json!({}));
    provider.await;
    let too_long = r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}"#;
    let model = Stub::saying(&routing.nats, Kind::Provider, "model", too_long).await;
    let policy = json!({"providers": [{"name": "model", "weight": 1}]});
    routing.gateway.policy("chat", &policy).await;

    // More of them than would open a breaker.
    for _ in 0..8 {
        let answer = routing.gateway.route(&request("chat")).await;
        let details = &answer["error"]["details"];
        assert_eq!(answer["error"]["code"], "extension_error", "{answer}");
        assert_eq!(details["class"], "context_length", "{answer}");
        assert_eq!(details["upstream_code"], "invalid_request_error");
        let attempts = lines(&answer["attempts"], &["provider_id", "class", "code"]);
        assert_eq!(attempts, ["model context_length invalid_request_error"]);
    }
    assert_eq!(
        model.calls(),
        8,
        "no breaker hears of prompts that are too long"
    );
}

#[tokio::test]
async fn a_refused_key_asks_the_next_of_a_list_and_is_not_healthy() {
    let routing = Routing::start(&[]).await;
    let keyless = routing.gateway.register("provider", "keyless", json!({}));
    keyless.await;
    let refused = r#"{"error": {"message": "Incorrect API key provided: sk-x.", "type": "invalid_request_error", "code": "invalid_api_key"}}"#;
    let _keyless = Stub::saying(&routing.nats, Kind::Provider, "keyless", refused).await;
    let _spare = routing.provider("spare").await;
    let policy = json!({"providers": ["keyless", "spare"]});
    routing.gateway.policy("chat", &policy).await;

    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["response"]["output"], "spare", "{answer}");
    let attempts = lines(&answer["attempts"], &["provider_id", "class", "code"]);
    assert_eq!(
        attempts,
        ["keyless auth invalid_api_key", "spare null null"],
        "{answer}"
    );
    eventually(LIMIT, "the key shows in the health", async || {
        let health = routing
            .gateway
            .admin("get_extension_health", &json!({}))
            .await;
        (health["health"]["keyless"]["status"] == "unhealthy").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_for_its_content_goes_to_nobody_else_unless_a_rule_says_so() {
    let routing = Routing::start(&[]).await;
    let strict = routing.gateway.register("provider", "strict", json!({}));
    strict.await;
    let filtered = r#"{"error": {"code": "content_filter", "message": "The response was filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#;
    let _strict = Stub::saying(&routing.nats, Kind::Provider, "strict", filtered).await;
    let spare = routing.provider("spare").await;
    let broad = json!({
        "when": {"status": ["error", "4xx", "400", "all_providers_failed"]},
        "to": "spare",
    });
    for rules in [json!([]), json!([{"to": "spare"}]), json!([broad])] {
        let policy = json!({"providers": ["strict", "spare"], "fallbacks": rules});
        routing.gateway.policy("chat", &policy).await;
        let answer = routing.gateway.route(&request("chat")).await;
        let class = &answer["error"]["details"]["class"];
        assert_eq!(class, "content_filter", "{answer}");
    }
    assert_eq!(spare.calls(), 0);
    let rule = json!({"when": {"status": "content_filter"}, "to": "spare"});
    let policy = json!({"providers": ["strict", "spare"], "fallbacks": [rule]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["response"]["output"], "spare", "{answer}");
}

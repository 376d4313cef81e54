//! Every form in which policies are written (contract section 4) is saved, and a request is served
//! as it says.

use beamline_extension::Kind;
use beamline_test_support::{Routing, Stub, lines, report, request, request_with, steps};
use serde_json::{Value, json};

/// The extensions that the contract's own examples name.
async fn the_usual(routing: &Routing) -> [Stub; 5] {
    let gateway = &routing.gateway;
    for (kind, id) in [("pre", "tidy"), ("validator", "guard"), ("post", "polish")] {
        gateway
            .register(kind, id, json!({"config": {"level": 1, "kept": true}}))
            .await;
    }
    for id in ["openai", "anthropic"] {
        gateway.register("provider", id, json!({})).await;
    }
    let nats = &routing.nats;
    [
        Stub::saying(
            nats,
            Kind::Pre,
            "tidy",
            r#"{"payload": {"payload": "tidied"}}"#,
        )
        .await,
        Stub::saying(nats, Kind::Validator, "guard", r#"{"status": "ok"}"#).await,
        Stub::saying(nats, Kind::Provider, "openai", r#"{"output": "by openai"}"#).await,
        Stub::saying(
            nats,
            Kind::Provider,
            "anthropic",
            r#"{"output": "by anthropic"}"#,
        )
        .await,
        Stub::saying(
            nats,
            Kind::Post,
            "polish",
            r#"{"payload": {"payload": "polished"}}"#,
        )
        .await,
    ]
}

/// An answer that tells everything.
async fn told(routing: &Routing, policy: &str, context: Value) -> Value {
    let mut context = context;
    context["detail_level"] = json!("verbose");
    let answer = routing
        .gateway
        .route(&request_with(policy, json!({"context": context})))
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    answer
}

fn shares(answer: &Value) -> Vec<String> {
    lines(
        &answer["decision"]["explanation"]["providers"],
        &["provider_id", "weight", "share"],
    )
}

#[tokio::test]
async fn a_policy_in_the_canonical_form_is_served_as_written() {
    let routing = Routing::start(&[]).await;
    let [tidy, guard, openai, anthropic, polish] = the_usual(&routing).await;
    let policy = json!({
        "version": "2.5", "policy_id": "support_en",
        "pre": [{"id": "tidy", "mode": "required", "config": {"level": 2}, "depends_on": []}],
        "validators": [{"id": "guard", "on_fail": "block", "config": {}}],
        "providers": [{"name": "openai", "weight": 75}, {"name": "anthropic", "weight": 25}],
        "post": [{"id": "polish", "mode": "required", "config": {}}],
        "fallbacks": [{"when": {"status": ["timeout", "5xx"]}, "retry": 2, "to": "anthropic",
            "backoff": {"strategy": "exponential", "base_ms": 100, "max_ms": 2000, "jitter": true}}],
        "sticky": {"enabled": true, "session_key": "user_id", "ttl": "10m"},
        "circuit_breaker": {"failure_threshold": 10}, "metadata": {},
    });
    routing.gateway.policy("support_en", &policy).await;

    let answer = told(&routing, "support_en", json!({"user_id": "u-7"})).await;
    assert_eq!(answer["decision"]["policy_version"], "2.5");
    assert_eq!(
        (
            &answer["decision"]["reason"],
            &answer["decision"]["priority"]
        ),
        (&json!("weighted"), &json!(50))
    );
    assert_eq!(shares(&answer), ["openai 75.0 0.75", "anthropic 25.0 0.25"]);
    assert_eq!(
        (&answer["message"]["payload"], &answer["response"]["output"]),
        (&json!("tidied"), &json!("polished"))
    );
    assert_eq!(
        tidy.last_body()["config"],
        json!({"level": 2, "kept": true}),
        "the registry's under the policy's"
    );
    assert_eq!(
        guard.last_body()["config"],
        json!({"level": 1, "kept": true})
    );
    assert_eq!(
        (
            guard.calls(),
            polish.calls(),
            openai.calls() + anthropic.calls()
        ),
        (1, 1, 1)
    );

    let again = told(&routing, "support_en", json!({"user_id": "u-7"})).await;
    assert_eq!(
        (&again["decision"]["reason"], &again["decision"]["priority"]),
        (&json!("sticky"), &json!(100))
    );
    assert_eq!(
        again["decision"]["provider_id"],
        answer["decision"]["provider_id"]
    );
}

#[tokio::test]
async fn a_list_of_names_is_an_order_of_preference() {
    let routing = Routing::start(&[]).await;
    let first = routing.broken("first").await;
    let second = routing.provider("second").await;
    let third = routing.provider("third").await;
    routing
        .gateway
        .policy("names", &json!({"providers": ["first", "second", "third"]}))
        .await;
    let answer = routing.gateway.route(&request("names")).await;
    assert_eq!(answer["response"]["output"], "second", "{answer}");
    assert_eq!(
        (
            &answer["decision"]["reason"],
            &answer["decision"]["priority"]
        ),
        (&json!("fallback"), &json!(25))
    );
    assert_eq!((first.calls(), second.calls(), third.calls()), (1, 1, 0));

    routing
        .admin("disable_extension", json!({"id": "first"}))
        .await;
    let answer = routing.gateway.route(&request("names")).await;
    assert_eq!(answer["response"]["output"], "second", "{answer}");
    assert!(
        steps(&answer).contains("provider first: excluded, disabled"),
        "{answer}"
    );
    assert_eq!(first.calls(), 1);
}

#[tokio::test]
async fn a_policy_in_steps_is_served_as_written() {
    let routing = Routing::start(&[]).await;
    let [tidy, guard, openai, anthropic, polish] = the_usual(&routing).await;
    let last = routing.provider("last").await;
    let steps = json!([
        {"action": "extension_pre", "extension_id": "tidy", "mode": "required"},
        {"action": "extension_validator", "extension_id": "guard", "on_fail": "block"},
        {"action": "select_provider", "provider_id": "openai", "weight": 1.5},
        {"action": "select_provider", "provider_id": "anthropic", "weight": 0.5},
        {"action": "extension_post", "extension_id": "polish"},
    ]);
    routing
        .gateway
        .policy(
            "steps",
            &json!({"steps": steps, "fallback": ["last", "openai"]}),
        )
        .await;
    let answer = told(&routing, "steps", json!({})).await;
    assert_eq!(
        lines(&answer["extensions"], &["id", "type"]),
        [
            "tidy pre",
            "guard validator",
            "openai provider",
            "anthropic provider",
            "last provider",
            "polish post"
        ]
    );
    assert_eq!(
        shares(&answer),
        ["openai 1.5 0.75", "anthropic 0.5 0.25", "last 0.0 0.0"]
    );
    assert_eq!((tidy.calls(), guard.calls(), polish.calls()), (1, 1, 1));
    assert_eq!((openai.calls() + anthropic.calls(), last.calls()), (1, 0));

    tokio::join!(openai.stop(), anthropic.stop());
    let answer = told(&routing, "steps", json!({})).await;
    assert_eq!(
        (&answer["decision"]["reason"], last.calls()),
        (&json!("fallback"), 1),
        "{answer}"
    );
    assert_eq!(answer["response"]["provider_id"], "last");
}

#[tokio::test]
async fn a_policy_with_a_map_of_weights_is_served_as_written() {
    let routing = Routing::start(&[]).await;
    let out_of_order = routing.broken("gpt").await;
    let local = routing.provider("local").await;
    let policy = json!({
        "weights": {"gpt": 1.5, "local": 0}, "sticky": {"enabled": true, "ttl_seconds": 600},
        "fallback": {"provider": "local", "conditions": ["timeout", "rate_limited"]},
    });
    routing.gateway.policy("weights", &policy).await;
    let refused = routing.gateway.route(&request("weights")).await;
    assert_eq!(
        refused["error"]["code"], "extension_error",
        "503 is none of the conditions: {refused}"
    );
    assert_eq!(local.calls(), 0);

    out_of_order.stop().await;
    let limited = r#"{"error": {"code": "rate_limited", "message": "later"}}"#;
    let gpt = Stub::saying(&routing.nats, Kind::Provider, "gpt", limited).await;
    let answer = told(&routing, "weights", json!({"session_id": "s-1"})).await;
    assert_eq!(
        (&answer["response"]["output"], gpt.calls()),
        (&json!("local"), 1)
    );
    assert_eq!(shares(&answer), ["gpt 1.5 1.0", "local 0.0 0.0"]);
    assert!(
        steps(&answer).contains("sticky sessions by session_id: the session is new"),
        "{answer}"
    );
    let again = told(&routing, "weights", json!({"session_id": "s-1"})).await;
    assert!(
        steps(&again).contains("sticky sessions by session_id: the session has gpt"),
        "{again}"
    );
}

#[tokio::test]
async fn a_policy_in_a_mixture_of_forms_is_served_as_written() {
    let routing = Routing::start(&[]).await;
    let [tidy, guard, openai, anthropic, polish] = the_usual(&routing).await;
    let policy = json!({
        "steps": [{"action": "extension_validator", "extension_id": "guard"}],
        "pre": [{"id": "tidy"}], "post": [{"id": "polish"}],
        "providers": ["openai", "anthropic"], "weights": {"openai": 0, "anthropic": 3},
        "fallbacks": [{"when": {"status": "5xx"}, "to": "openai"}], "fallback": "openai",
    });
    routing.gateway.policy("mixture", &policy).await;
    let answer = told(&routing, "mixture", json!({})).await;
    assert_eq!(shares(&answer), ["openai 0.0 0.0", "anthropic 3.0 1.0"]);
    assert_eq!(
        [&tidy, &guard, &anthropic, &polish].map(Stub::calls),
        [1; 4]
    );
    assert_eq!(
        (report(&answer, "openai")["status"].as_str(), openai.calls()),
        (Some("skipped"), 0)
    );

    anthropic.stop().await;
    let answer = told(&routing, "mixture", json!({})).await;
    assert_eq!(
        (&answer["response"]["provider_id"], openai.calls()),
        (&json!("openai"), 1)
    );
}

#[tokio::test]
async fn a_policy_with_mistakes_is_refused_whole_and_the_old_one_stays_served() {
    let routing = Routing::start(&[]).await;
    let _old = routing.provider("old").await;
    let _guard = routing
        .extension(Kind::Validator, "guard", json!({}), r#"{"status": "ok"}"#)
        .await;
    routing
        .gateway
        .policy("chat", &json!({"version": "1.0", "providers": ["old"]}))
        .await;
    let wrong = json!({
        "version": "2.0", "polciy_id": "chat",
        "pre": [{"id": "a", "mode": "maybe"}, {"id": "b", "wait": 1}],
        "validators": [{"id": "guard", "on_fail": "panic"}],
        "providers": [{"name": "old", "weight": -1}, {"name": "old"}],
        "fallbacks": [{"when": {"status": ["7xx"]}, "to": "old"}, {"retry": 99}],
        "sticky": {"enabled": true, "ttl": "soon"}, "circuit_breaker": {"failure_threshold": 0},
    });
    let body = json!({"tenant_id": "acme", "policy_id": "chat", "policy": wrong});
    let refused = routing.gateway.admin("put_policy", &body).await;
    assert_eq!(
        (&refused["ok"], &refused["error"]["code"]),
        (&json!(false), &json!("invalid_request")),
        "{refused}"
    );
    let mut pointers = lines(&refused["error"]["details"]["mistakes"], &["pointer"]);
    pointers.sort();
    let want = [
        "/circuit_breaker/failure_threshold",
        "/fallbacks/0/when/status/0",
        "/fallbacks/1/retry",
        "/polciy_id",
        "/pre/0/mode",
        "/pre/1/wait",
        "/providers/0/weight",
        "/providers/1/name",
        "/sticky/ttl",
        "/validators/0/on_fail",
    ];
    assert_eq!(pointers, want, "{refused}");
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        (
            &answer["decision"]["policy_version"],
            &answer["response"]["output"]
        ),
        (&json!("1.0"), &json!("old"))
    );
}

#[tokio::test]
async fn a_fallback_to_nobody_or_to_another_type_is_refused() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "real", json!({}))
        .await;
    routing
        .gateway
        .register("validator", "guard", json!({}))
        .await;
    let forms = [
        (
            json!({"providers": ["real"], "fallbacks": [{"retry": 1}, {"to": "ghost"}]}),
            "/fallbacks/1/to",
        ),
        (
            json!({"providers": ["real"], "fallbacks": [{"to": "guard"}]}),
            "/fallbacks/0/to",
        ),
        (
            json!({"weights": {"real": 1}, "fallback": {"provider": "ghost"}}),
            "/fallback/provider",
        ),
        (
            json!({"steps": [{"action": "select_provider", "provider_id": "real"}], "fallback": ["guard"]}),
            "/fallback/0",
        ),
    ];
    for (policy, pointer) in forms {
        let body = json!({"tenant_id": "acme", "policy_id": "chat", "policy": policy});
        let refused = routing.gateway.admin("put_policy", &body).await;
        assert_eq!(refused["ok"], false, "{body}");
        assert_eq!(
            lines(&refused["error"]["details"]["mistakes"], &["pointer"]),
            [pointer],
            "{refused}"
        );
    }
    let nothing = routing.gateway.route(&request("chat")).await;
    assert_eq!(nothing["error"]["code"], "policy_not_found");
}

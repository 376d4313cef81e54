//! What comes after a failed provider: retries, another provider, or an error that says what was
//! tried.

use beamline_extension::Kind;
use beamline_test_support::{BROKEN, Routing, Stub, lines, report, request, request_with, steps};
use serde_json::{Value, json};

const TRAIL: &[&str] = &["provider_id", "reason", "status"];

/// A wait so short that no test notices it.
fn briefly() -> Value {
    json!({"strategy": "fixed", "base_ms": 1, "jitter": false})
}

fn decided(answer: &Value) -> String {
    let decision = &answer["decision"];
    lines(&json!([decision]), &["provider_id", "reason", "priority"]).concat()
}

#[tokio::test]
async fn a_failing_provider_is_retried_as_the_rule_says_before_another_takes_over() {
    let routing = Routing::start(&[]).await;
    let shaky = routing.broken("shaky").await;
    let steady = routing.provider("steady").await;
    let rule = json!({"when": {"status": "5xx"}, "retry": 2, "backoff": briefly(), "to": "steady"});
    let policy = json!({"providers": [{"name": "shaky", "weight": 1}], "fallbacks": [
        {"when": {"status": "429"}, "to": "shaky_too"}, rule]});
    routing
        .gateway
        .register("provider", "shaky_too", json!({}))
        .await;
    routing.gateway.policy("chat", &policy).await;

    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["response"]["output"], "steady", "{answer}");
    assert_eq!(
        shaky.attempts(),
        ["1", "2", "3"],
        "each attempt says which one it is"
    );
    assert_eq!(steady.attempts(), ["1"]);
    assert_eq!(decided(&answer), "steady fallback 25");
    assert_eq!(
        lines(
            &answer["attempts"],
            &["provider_id", "reason", "status", "error_type", "rule"]
        ),
        [
            "shaky weighted error extension_error null",
            "shaky retry error extension_error 1",
            "shaky retry error extension_error 1",
            "steady fallback success null 1"
        ]
    );
    let waited: Vec<String> = lines(&answer["attempts"], &["waited_ms"]);
    assert_eq!(waited, ["0.0", "1.0", "1.0", "0.0"]);
    assert_eq!(
        lines(&answer["extensions"], &["id", "status", "attempts"]),
        ["shaky error 3", "shaky_too skipped 0", "steady success 1"]
    );
    assert!(
        steps(&answer).contains("steady v1 as a fallback (fallback rule 2: on 5xx)"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_retry_that_helps_is_the_answer() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "moody", json!({}))
        .await;
    let moody = Stub::answering(&routing.nats, Kind::Provider, "moody", |request| {
        let first = request
            .headers
            .get("Router-Attempt")
            .is_some_and(|attempt| attempt.as_str() == "1");
        Some(if first {
            BROKEN.into()
        } else {
            r#"{"output": "at last"}"#.into()
        })
    })
    .await;
    let rule = json!({"when": {"status": "503"}, "retry": 1, "backoff": briefly()});
    routing
        .gateway
        .policy(
            "chat",
            &json!({"providers": ["moody"], "fallbacks": [rule]}),
        )
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        (&answer["response"]["output"], moody.calls()),
        (&json!("at last"), 2),
        "{answer}"
    );
    assert_eq!(decided(&answer), "moody retry 50");
}

#[tokio::test]
async fn a_provider_that_nobody_serves_is_fallen_back_from() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "absent", json!({}))
        .await;
    let _steady = routing.provider("steady").await;
    let rules = json!([
        {"when": {"status": ["timeout", "4xx", "circuit_breaker_open"]}, "to": "absent_too"},
        {"when": {"status": "no_responders"}, "retry": 0, "to": "steady"},
    ]);
    routing
        .gateway
        .register("provider", "absent_too", json!({}))
        .await;
    let policy = json!({"providers": [{"name": "absent", "weight": 1}], "fallbacks": rules});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(decided(&answer), "steady fallback 25", "{answer}");
    assert_eq!(
        lines(&answer["attempts"], &["provider_id", "error_type", "rule"]),
        ["absent no_responders null", "steady null 1"]
    );
}

#[tokio::test]
async fn a_rule_for_other_requests_is_passed_over() {
    let routing = Routing::start(&[]).await;
    let _shaky = routing.broken("shaky").await;
    let _german = routing.provider("german").await;
    let _other = routing.provider("other").await;
    let policy = json!({"providers": [{"name": "shaky", "weight": 1}], "fallbacks": [
        {"when": {"status": "error", "lang": "de", "message_type": ["chat", "mail"]}, "to": "german"},
        {"when": {"status": "error"}, "to": "other"}]});
    routing.gateway.policy("chat", &policy).await;
    for (lang, want) in [("de", "german"), ("en", "other")] {
        let answer = routing
            .gateway
            .route(&request_with("chat", json!({"context": {"lang": lang}})))
            .await;
        assert_eq!(answer["response"]["output"], want, "{answer}");
    }
}

#[tokio::test]
async fn the_attempts_of_a_request_come_from_one_budget() {
    let routing = Routing::start(&[("router.max_extra_attempts", "2")]).await;
    let shaky = routing.broken("shaky").await;
    let steady = routing.provider("steady").await;
    let rule = json!({"when": {"status": "5xx"}, "retry": 5, "backoff": briefly(), "to": "steady"});
    routing
        .gateway
        .policy(
            "chat",
            &json!({"providers": ["shaky"], "fallbacks": [rule]}),
        )
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["error"]["code"], "extension_error", "{answer}");
    assert_eq!(
        (shaky.attempts().len(), steady.calls()),
        (3, 0),
        "the first, and two more"
    );
    assert_eq!(
        answer["error"]["details"]["attempt_budget_exhausted"], true,
        "{answer}"
    );
    assert_eq!(
        lines(&answer["attempts"], TRAIL),
        [
            "shaky weighted error",
            "shaky retry error",
            "shaky retry error"
        ]
    );
}

#[tokio::test]
async fn a_chain_of_fallbacks_visits_no_provider_twice_and_the_error_carries_the_trail() {
    let routing = Routing::start(&[]).await;
    let all = [
        routing.broken("a").await,
        routing.broken("b").await,
        routing.broken("c").await,
    ];
    let policy = json!({"providers": [{"name": "a", "weight": 1}, {"name": "b", "weight": 0}], "fallbacks": [
        {"when": {"status": "5xx"}, "to": "b"}, {"when": {"status": "5xx"}, "to": "a"},
        {"when": {"status": "all_providers_failed"}, "to": "c"}, {"to": "b"}]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        (&answer["ok"], &answer["error"]["code"]),
        (&json!(false), &json!("extension_error")),
        "{answer}"
    );
    assert_eq!(
        answer["error"]["details"]["extension_id"], "c",
        "the error is that of the last attempt"
    );
    assert_eq!(all.map(|stub| stub.calls()), [1, 1, 1]);
    assert_eq!(
        lines(&answer["attempts"], TRAIL),
        ["a weighted error", "b fallback error", "c fallback error"]
    );
    assert_eq!(
        lines(&answer["extensions"], &["id", "status", "attempts"]),
        ["a error 1", "b error 1", "c error 1"]
    );
    assert!(answer.get("decision").is_none(), "{answer}");
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let routing = Routing::start(&[]).await;
    let shaky = routing.broken("shaky").await;
    let _steady = routing.provider("steady").await;
    let hour = json!({"strategy": "fixed", "base_ms": 60_000, "max_ms": 600_000, "jitter": false});
    let rule = json!({"when": {"status": "5xx"}, "retry": 5, "backoff": hour, "to": "steady"});
    routing
        .gateway
        .policy(
            "chat",
            &json!({"providers": ["shaky"], "fallbacks": [rule]}),
        )
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        (decided(&answer).as_str(), shaky.calls()),
        ("steady fallback 25", 1),
        "{answer}"
    );

    let alone = json!({"providers": ["shaky"], "fallbacks": [{"when": {"status": "5xx"}, "retry": 5, "backoff": hour}]});
    routing.gateway.policy("alone", &alone).await;
    let answer = routing.gateway.route(&request("alone")).await;
    assert_eq!(
        (&answer["error"]["code"], shaky.calls()),
        (&json!("extension_error"), 2),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_that_is_wrong_here_is_not_tried_elsewhere() {
    let routing = Routing::start(&[]).await;
    let wrong = r#"{"error": {"code": "invalid_request", "message": "too long"}}"#;
    let _strict = routing
        .extension(Kind::Provider, "strict", json!({}), wrong)
        .await;
    let other = routing.provider("other").await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["strict", "other"]}))
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        (&answer["error"]["code"], other.calls()),
        (&json!("extension_error"), 0),
        "{answer}"
    );
    let rule = json!({"when": {"status": "4xx"}, "to": "other"});
    routing
        .gateway
        .policy(
            "chat",
            &json!({"providers": ["strict", "other"], "fallbacks": [rule]}),
        )
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        answer["response"]["output"], "other",
        "unless a rule wants it: {answer}"
    );
}

#[tokio::test]
async fn a_breaker_opens_after_as_many_failures_as_the_policy_says_and_others_take_over() {
    let routing = Routing::start(&[]).await;
    let shaky = routing.broken("shaky").await;
    let _steady = routing.provider("steady").await;
    let _spare = routing.provider("spare").await;
    let threshold = json!({"failure_threshold": 2});
    let alone = json!({"providers": [{"name": "shaky", "weight": 1}], "circuit_breaker": threshold,
        "fallbacks": [{"when": {"status": "circuit_breaker_open"}, "to": "spare"}]});
    let both =
        json!({"providers": [{"name": "shaky", "weight": 999}, {"name": "steady", "weight": 1}]});
    routing.gateway.policy("alone", &alone).await;
    routing.gateway.policy("both", &both).await;
    let state = async || {
        routing.admin("get_circuit_breaker_states", json!({})).await["states"]["shaky"].clone()
    };

    for failures in 1..=2 {
        assert_eq!(state().await["state"], "closed");
        let answer = routing.gateway.route(&request("alone")).await;
        assert_eq!(answer["error"]["code"], "extension_error", "{answer}");
        assert_eq!(state().await["failure_count"], failures);
    }
    assert_eq!(state().await["state"], "open");
    let answer = routing.gateway.route(&request("alone")).await;
    assert_eq!(decided(&answer), "spare fallback 25", "{answer}");
    assert!(
        steps(&answer)
            .contains("spare v1 as a fallback (fallback rule 1: on circuit_breaker_open)"),
        "{answer}"
    );
    let told = request_with("both", json!({"context": {"detail_level": "verbose"}}));
    for _ in 0..10 {
        let answer = routing.gateway.route(&told).await;
        assert_eq!(decided(&answer), "steady weighted 50", "{answer}");
        let chances = lines(
            &answer["decision"]["explanation"]["providers"],
            &["provider_id", "share", "excluded"],
        );
        assert_eq!(chances, ["shaky 0.0 circuit open", "steady 1.0 null"]);
        assert_eq!(report(&answer, "shaky")["status"], "skipped");
    }
    assert_eq!(shaky.calls(), 2, "nobody called it since");
}

//! Rules that help for good, lists that reach their end, and entries for some requests.

use beamline_extension::Kind;
use beamline_test_support::{BROKEN, Routing, Stub, lines, report, request, request_with};
use serde_json::{Value, json};

/// More requests than it takes to open a breaker.
const MANY: usize = 12;
const BUSY: &str = r#"{"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Please try again in 20s."}}"#;

async fn rule_to_spare(routing: &Routing, status: Value) {
    let policy = json!({"providers": [{"name": "p", "weight": 1}],
        "fallbacks": [{"when": {"status": status}, "to": "spare"}]});
    routing.gateway.policy("chat", &policy).await;
}

#[tokio::test]
async fn a_rule_helps_for_good_whatever_its_class_opens() {
    let cases = [
        ("5xx", Some(BROKEN)),
        ("429", Some(BUSY)),
        ("auth", Some(r#"{"error": {"code": "invalid_api_key"}}"#)),
        ("no_responders", None),
    ];
    for (status, answer) in cases {
        let routing = Routing::start(&[]).await;
        let spare = routing.provider("spare").await;
        routing.gateway.register("provider", "p", json!({})).await;
        let failing = match answer {
            Some(answer) => Some(Stub::saying(&routing.nats, Kind::Provider, "p", answer).await),
            None => None,
        };
        rule_to_spare(&routing, json!([status])).await;
        for number in 0..MANY {
            let answer = routing.gateway.route(&request("chat")).await;
            assert_eq!(
                answer["response"]["output"], "spare",
                "{status} {number}: {answer}"
            );
        }
        assert_eq!(spare.calls(), MANY);
        let calls = failing.map_or(0, |failing| failing.calls());
        assert!(calls < MANY, "{status}: it is left alone, {calls} calls");
    }
}

#[tokio::test]
async fn a_provider_that_never_answers_is_replaced_for_good() {
    let routing = Routing::start(&[]).await;
    let record = json!({"timeout_ms": 100});
    routing.gateway.register("provider", "p", record).await;
    let _silent = Stub::answering(&routing.nats, Kind::Provider, "p", |_| None).await;
    let _spare = routing.provider("spare").await;
    rule_to_spare(&routing, json!("timeout")).await;
    for number in 0..MANY {
        let answer = routing.gateway.route(&request("chat")).await;
        assert_eq!(answer["response"]["output"], "spare", "{number}: {answer}");
    }
}

#[tokio::test]
async fn switching_to_a_provider_that_answers_uses_nothing_up() {
    let routing = Routing::start(&[]).await;
    let quota = r#"{"error": {"code": 429, "message": "slow down"}}"#;
    routing.gateway.register("provider", "p", json!({})).await;
    let limited = Stub::saying(&routing.nats, Kind::Provider, "p", quota).await;
    let _spare = routing.provider("spare").await;
    rule_to_spare(&routing, json!("429")).await;
    // Three times what the budget of the router would pay for.
    for number in 0..300 {
        let answer = routing.gateway.route(&request("chat")).await;
        assert_eq!(answer["response"]["output"], "spare", "{number}: {answer}");
    }
    assert_eq!(limited.calls(), 300, "it asks for no wait");
}

#[tokio::test]
async fn a_list_with_four_dead_members_reaches_the_fifth() {
    let routing = Routing::start(&[]).await;
    let dead = ["d1", "d2", "d3", "d4"];
    for id in dead {
        let record = json!({"retry": 2});
        routing.gateway.register("provider", id, record).await;
    }
    let _alive = routing.provider("alive").await;
    let policy = json!({"providers": ["d1", "d2", "d3", "d4", "alive"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["response"]["output"], "alive", "{answer}");
    let tried = lines(&answer["attempts"], &["provider_id"]);
    assert_eq!(tried, ["d1", "d2", "d3", "d4", "alive"]);
}

#[tokio::test]
async fn a_provider_that_hangs_leaves_the_next_one_time() {
    let routing = Routing::start(&[]).await;
    let record = json!({"timeout_ms": 60_000});
    routing.gateway.register("provider", "hangs", record).await;
    let _hangs = Stub::answering(&routing.nats, Kind::Provider, "hangs", |_| None).await;
    let _spare = routing.provider("spare").await;
    let policy = json!({"providers": ["hangs", "spare"]});
    routing.gateway.policy("chat", &policy).await;
    let hurried = request_with("chat", json!({"timeout_ms": 2_000}));
    let answer = routing.gateway.route(&hurried).await;
    assert_eq!(answer["response"]["output"], "spare", "{answer}");
    let classes = lines(&answer["attempts"], &["provider_id", "class"]);
    assert_eq!(classes, ["hangs timeout", "spare null"]);
}

#[tokio::test]
async fn decide_says_what_comes_after_a_provider_that_the_caller_called() {
    let routing = Routing::start(&[]).await;
    for id in ["own", "spare"] {
        let record = json!({"metadata": {"external": true}});
        routing.gateway.register("provider", id, record).await;
    }
    let rule = json!({"when": {"status": "timeout"}, "retry": 1, "to": "spare",
        "backoff": {"strategy": "fixed", "base_ms": 30, "jitter": false}});
    let policy = json!({"providers": [{"name": "own", "weight": 1}], "fallbacks": [rule]});
    routing.gateway.policy("chat", &policy).await;
    let mut decided = Vec::new();
    for made in [0, 1] {
        let context =
            json!({"current_provider": "own", "status": "timeout", "retry_attempts": made});
        let body = request_with("chat", json!({"context": context}));
        let answer = routing.gateway.decide(&body).await;
        let decision = &answer["decision"];
        decided.push(lines(&json!([decision]), &["provider_id", "reason"]).concat());
        let wait = &decision["metadata"]["wait_ms"];
        assert_eq!(*wait, if made == 0 { json!(30.0) } else { json!(null) });
    }
    assert_eq!(decided, ["own retry", "spare fallback"]);
}

#[tokio::test]
async fn a_slip_in_a_condition_is_refused_with_what_was_meant() {
    let routing = Routing::start(&[]).await;
    let _p = routing.provider("p").await;
    let _q = routing.provider("q").await;
    for (key, meant) in [
        ("Status", "status"),
        ("stauts", "status"),
        ("status_code", "status"),
        ("error", "status"),
        ("Provider", "provider"),
        ("provider_id", "provider"),
    ] {
        let policy =
            json!({"providers": [{"name": "p"}], "fallbacks": [{"when": {key: "5xx"}, "to": "q"}]});
        let body = json!({"tenant_id": "acme", "policy_id": "chat", "policy": policy});
        let refused = routing.gateway.admin("put_policy", &body).await;
        let mistake = &refused["error"]["details"]["mistakes"][0];
        assert_eq!(
            mistake["pointer"],
            format!("/fallbacks/0/when/{key}"),
            "{refused}"
        );
        let message = mistake["message"].as_str().unwrap_or_default();
        assert!(
            message.ends_with(&format!("did you mean {meant}?")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn an_output_guard_keeps_an_answer_inside() {
    let routing = Routing::start(&[]).await;
    let reject = r#"{"status": "reject", "reason": "tone"}"#;
    let guard = routing
        .extension(Kind::Validator, "tone", json!({}), reject)
        .await;
    let model = routing.provider("model").await;
    for (on_fail, code) in [("block", json!("validator_blocked")), ("warn", json!(null))] {
        let policy = json!({"providers": ["model"], "output_validators": [{"id": "tone", "on_fail": on_fail}]});
        routing.gateway.policy("chat", &policy).await;
        let answer = routing.gateway.route(&request("chat")).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer.get("response").is_some(), on_fail == "warn");
    }
    assert_eq!((guard.calls(), model.calls()), (2, 2));
    assert_eq!(guard.last_body()["payload"]["payload"], "model");
    // decide has no output to judge.
    let decided = routing.gateway.decide(&request("chat")).await;
    assert_eq!(decided["ok"], true, "{decided}");
    assert_eq!(guard.calls(), 2);
}

#[tokio::test]
async fn an_entry_runs_for_the_requests_that_it_is_for() {
    let routing = Routing::start(&[]).await;
    let reject = r#"{"status": "reject", "reason": "no"}"#;
    let found = r#"{"metadata": {"lang": "de"}}"#;
    let _guess = routing
        .extension(Kind::Pre, "guess", json!({}), found)
        .await;
    let guard = routing
        .extension(Kind::Validator, "guard", json!({}), reject)
        .await;
    let _model = routing.provider("model").await;
    for (when, runs) in [
        (json!({"lang": "de"}), true),
        (json!({"lang": "en"}), false),
        (json!({"==": [{"var": "context.user.tier"}, "gold"]}), true),
        (
            json!({"!": {"==": [{"var": "context.user.tier"}, "gold"]}}),
            false,
        ),
        (json!({">": [{"var": "context.missing"}, 1]}), false),
    ] {
        let before = guard.calls();
        let policy = json!({"pre": [{"id": "guess"}], "validators": [{"id": "guard", "when": when}], "providers": ["model"]});
        routing.gateway.policy("chat", &policy).await;
        let context = json!({"lang": "en", "user": {"tier": "gold"}});
        let body = request_with("chat", json!({"context": context}));
        let answer = routing.gateway.route(&body).await;
        assert_eq!(answer["ok"], !runs, "{when} {answer}");
        assert_eq!(guard.calls() - before, usize::from(runs), "{when}");
        let status = &report(&answer, "guard")["status"];
        assert_eq!(*status, if runs { "rejected" } else { "skipped" }, "{when}");
    }
}

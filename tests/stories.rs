//! What happened to a request can be asked of any replica afterwards, and stands in one line of the
//! log.

use std::collections::BTreeSet;

use beamline_extension::{Kind, RawRequest};
use beamline_test_support::{
    Gateway, LIMIT, Nats, PostgresDatabase, RouterProcess, Routing, Stub, eventually, request,
    request_with,
};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FAILS: &str = r#"{"error": {"code": 503, "message": "the secret of the provider"}}"#;

/// Asks until it is told: whoever answers a request writes its story down just after that.
async fn told(gateway: &Gateway, question: Value) -> Value {
    eventually(LIMIT, "the story", async || {
        let answer = gateway.admin("get_request", &question).await;
        (answer["ok"] == true).then_some(answer)
    })
    .await
}

async fn chain(gateway: &Gateway, nats: &Nats) -> Vec<Stub> {
    let policy = json!({
        "pre": [{"id": "clean", "mode": "required"}],
        "validators": [{"id": "guard", "on_fail": "warn"}],
        "providers": [{"name": "first", "weight": 1}],
        "fallbacks": [{"when": {"status": "5xx"}, "to": "second"}],
    });
    let mut stubs = Vec::new();
    for (kind, id, answer) in [
        (Kind::Pre, "clean", "{}"),
        (
            Kind::Validator,
            "guard",
            r#"{"status": "reject", "reason": "words"}"#,
        ),
        (Kind::Provider, "first", FAILS),
        (Kind::Provider, "second", r#"{"output": "hello"}"#),
    ] {
        gateway.register(kind.as_str(), id, json!({})).await;
        stubs.push(Stub::saying(nats, kind, id, answer).await);
    }
    gateway.policy("chat", &policy).await;
    stubs
}

#[tokio::test]
async fn the_story_of_a_request_says_what_was_called_and_why() {
    let routing = Routing::start(&[]).await;
    let _stubs = chain(&routing.gateway, &routing.nats).await;
    let traced = request_with("chat", json!({"trace_id": TRACE}));
    let answer = routing.gateway.route(&traced).await;
    assert_eq!(answer["response"]["output"], "hello", "{answer}");

    let found = told(&routing.gateway, json!({"id": "req-123"})).await;
    let story = &found["requests"][0];
    assert_eq!(
        (
            &story["tenant_id"],
            &story["policy_id"],
            &story["kind"],
            &story["outcome"]
        ),
        (
            &json!("acme"),
            &json!("chat"),
            &json!("route"),
            &json!("ok")
        )
    );
    assert_eq!(
        story["provider"],
        json!({"id": "second", "reason": "fallback"})
    );
    assert_eq!(
        story["degraded"],
        json!([{"id": "guard", "reason": "rejected"}])
    );
    let calls = story["calls"].as_array().expect("calls");
    let called: Vec<String> = calls
        .iter()
        .map(|call| {
            let failure = call["failure"].as_str().unwrap_or("-");
            format!(
                "{} {} {} {failure}",
                call["stage"], call["extension_id"], call["status"]
            )
        })
        .collect();
    assert_eq!(
        called,
        [
            r#""pre" "clean" "success" -"#,
            r#""validate" "guard" "rejected" -"#,
            r#""provider" "first" "error" extension_error, class 5xx, code 503"#,
            r#""provider" "second" "success" -"#,
        ]
    );
    let stages: Vec<&Value> = story["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| &stage["name"])
        .collect();
    assert_eq!(stages, ["pre", "validate", "provider"]);
    // What an extension says is for its caller.
    assert!(
        !found.to_string().contains("secret of the provider"),
        "{found}"
    );
    // By its trace as well.
    let by_trace = told(&routing.gateway, json!({"id": TRACE})).await;
    assert_eq!(&by_trace["requests"][0], story);
}

#[tokio::test]
async fn one_line_of_the_log_tells_of_each_request() {
    let routing = Routing::start(&[("telemetry.log_format", "json")]).await;
    let _stubs = chain(&routing.gateway, &routing.nats).await;
    let traced = request_with("chat", json!({"trace_id": TRACE}));
    routing.gateway.route(&traced).await;
    let log = eventually(LIMIT, "the line", async || {
        let log = routing.router.log();
        log.contains("request answered").then_some(log)
    })
    .await;
    let mut lines = log.lines().filter(|line| line.contains("request answered"));
    let line: Value = serde_json::from_str(lines.next().expect("a line")).expect("JSON");
    assert!(lines.next().is_none(), "one line a request");
    let expected = json!({
        "level": "INFO", "message": "request answered", "tenant_id": "acme", "policy_id": "chat", "request_id": "req-123",
        "trace_id": TRACE, "edge": "nats", "kind": "route", "outcome": "ok", "provider_id": "second",
        "provider_reason": "fallback", "calls": 4, "attempts": 4, "provider_attempts": 2, "degraded": 1,
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[key], value, "{key} in {line}");
    }
    for key in ["latency_ms", "pre_ms", "validate_ms", "provider_ms"] {
        assert!(
            line[key].as_f64().is_some_and(|took| took > 0.0),
            "{key} in {line}"
        );
    }
    assert!(line.get("post_ms").is_none(), "{line}");
    assert!(line.get("span").is_none(), "{line}");
}

#[tokio::test]
async fn whichever_replica_served_it_tells_of_it() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
    let routers = tokio::join!(
        RouterProcess::start(&settings),
        RouterProcess::start(&settings)
    );
    let gateway = Gateway::connect(&nats).await;
    let _stubs = chain(&gateway, &nats).await;
    let mut served_by = BTreeSet::new();
    let mut asked = 0;
    while served_by.len() < 2 && asked < 40 {
        let id = format!("q-{asked}");
        gateway
            .route(&request_with("chat", json!({"request_id": id})))
            .await;
        let found = told(&gateway, json!({"id": id})).await;
        served_by.insert(found["requests"][0]["replica_id"].to_string());
        asked += 1;
    }
    assert_eq!(served_by.len(), 2, "both served, and both tell");
    let all = told(&gateway, json!({"limit": 100})).await;
    assert_eq!(all["requests"].as_array().map(Vec::len), Some(asked));
    assert_eq!(all["replicas"].as_array().map(Vec::len), Some(2));
    drop(routers);
}

#[tokio::test]
async fn the_newest_of_one_id_comes_first_and_failed_ones_can_be_asked_for() {
    let routing = Routing::start(&[]).await;
    let _stubs = chain(&routing.gateway, &routing.nats).await;
    routing.gateway.route(&request("chat")).await;
    routing.gateway.route(&request("no-such-policy")).await;
    let both = eventually(LIMIT, "both", async || {
        let answer = routing
            .gateway
            .admin("get_request", &json!({"id": "req-123", "limit": 5}))
            .await;
        (answer["requests"].as_array().map(Vec::len) == Some(2)).then_some(answer)
    })
    .await;
    assert_eq!(both["requests"][0]["outcome"], "policy_not_found");
    assert_eq!(both["requests"][1]["outcome"], "ok");
    let failed = told(&routing.gateway, json!({"failed": true, "limit": 5})).await;
    assert_eq!(
        failed["requests"].as_array().map(Vec::len),
        Some(1),
        "{failed}"
    );
    let unknown = routing
        .gateway
        .admin("get_request", &json!({"id": "nothing"}))
        .await;
    assert_eq!(unknown["error"]["code"], "not_found", "{unknown}");
}

#[tokio::test]
async fn a_key_of_one_tenant_is_told_of_no_other() {
    const KEY: &str = "the-key-of-the-operators";
    let routing = Routing::start(&[("admin.api_key", KEY), ("admin.anonymous", "none")]).await;
    let gateway = &routing.gateway;
    let ask = async |key: &str, operation: &str, body: Value| {
        gateway.admin_as(Some(key), operation, &body).await
    };
    for tenant in ["acme", "globex"] {
        let body = json!({"version": "1", "tenant_id": tenant, "request_id": format!("of-{tenant}"),
            "message": {"payload": "x"}});
        gateway.route(&body).await;
    }
    let made = ask(
        KEY,
        "create_key",
        json!({"role": "viewer", "tenant_id": "acme"}),
    )
    .await;
    let key = made["key"].as_str().expect("a key").to_owned();
    let own = eventually(LIMIT, "its own", async || {
        let answer = ask(&key, "get_request", json!({"limit": 10})).await;
        (answer["ok"] == true).then_some(answer)
    })
    .await;
    let told: Vec<&Value> = own["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|story| &story["request_id"])
        .collect();
    assert_eq!(told, ["of-acme"]);
    for question in [json!({"id": "of-globex"}), json!({"tenant_id": "globex"})] {
        let other = ask(&key, "get_request", question).await;
        assert_eq!(other["error"]["code"], "not_found", "{other}");
    }
    let all = ask(KEY, "get_request", json!({"limit": 10})).await;
    assert_eq!(all["requests"].as_array().map(Vec::len), Some(2), "{all}");
}

#[tokio::test]
async fn ids_that_are_refused_as_too_long_are_not_kept_whole() {
    let routing = Routing::start(&[("telemetry.tenant_label", "true")]).await;
    let long = "x".repeat(200_000);
    for body in [
        json!({"version": "1", "tenant_id": "acme", "request_id": long, "message": {"payload": "x"}}),
        json!({"version": "1", "tenant_id": long, "request_id": "q", "message": {"payload": "x"}}),
        json!({"version": "1", "tenant_id": "acme", "request_id": "q", "trace_id": long, "message": {"payload": "x"}}),
        json!({"version": "1", "tenant_id": "acme", "request_id": "q", "policy_id": long, "message": {"payload": "x"}}),
    ] {
        routing.gateway.route(&body).await;
    }
    let found = eventually(LIMIT, "all four", async || {
        let answer = routing
            .gateway
            .admin("get_request", &json!({"limit": 10}))
            .await;
        (answer["requests"].as_array().map(Vec::len) == Some(4)).then_some(answer)
    })
    .await;
    for text in [
        found.to_string(),
        routing.router.log(),
        routing.router.get("/metrics").await.expect("metrics").1,
    ] {
        assert!(!text.contains(&"x".repeat(300)), "{} bytes", text.len());
    }
}

#[tokio::test]
async fn a_call_that_is_cut_off_says_where_it_was() {
    let routing = Routing::start(&[]).await;
    let _quick = routing
        .extension(
            Kind::Validator,
            "quick",
            json!({}),
            r#"{"status": "reject", "reason": "no"}"#,
        )
        .await;
    routing
        .gateway
        .register("validator", "slow", json!({}))
        .await;
    let hangs = |_: RawRequest| async {
        tokio::time::sleep(LIMIT).await;
        None
    };
    let _slow = Stub::waiting(&routing.nats, Kind::Validator, "slow", hangs).await;
    let validators =
        json!([{"id": "quick", "on_fail": "block"}, {"id": "slow", "on_fail": "block"}]);
    let policy = json!({"validators": validators, "providers": ["model"]});
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    routing.gateway.policy("chat", &policy).await;
    routing.gateway.route(&request("chat")).await;
    let story = eventually(LIMIT, "both calls", async || {
        let found = told(&routing.gateway, json!({"id": "req-123"})).await;
        let story = found["requests"][0].clone();
        (story["calls"].as_array().map(Vec::len) == Some(2)).then_some(story)
    })
    .await;
    let calls = story["calls"].as_array().expect("calls").iter();
    let slow = calls
        .into_iter()
        .find(|call| call["extension_id"] == "slow")
        .expect("the slow one");
    let attempt = &slow["attempts"][0];
    assert_eq!(
        (&attempt["sent"], &attempt["subject"], &attempt["failure"]),
        (
            &json!(true),
            &json!("beamline.ext.validate.slow.v1"),
            &json!("cancelled")
        ),
        "{slow}"
    );
}

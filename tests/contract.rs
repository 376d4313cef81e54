//! What crosses the wire when everything goes well (contract sections 1 and 2): answers to
//! gateways, calls to extensions, and payloads that pass through byte for byte. What goes wrong is
//! in `failures`.

use async_nats::HeaderMap;
use beamline_extension::Kind;
use beamline_test_support::{Gateway, Nats, RouterProcess, Stub, request, request_with};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const COMPLETION: &str = r#"{"provider_id": "model", "output": "fine", "usage": {"prompt_tokens": 12, "completion_tokens": 0.5,
    "total_tokens": 12.50}, "metadata": {"finish": "stop"}}"#;

/// A router with one extension of each type under the policy `default`.
struct World {
    gateway: Gateway,
    pre: Stub,
    guard: Stub,
    model: Stub,
    post: Stub,
    _router: RouterProcess,
    _nats: Nats,
}

impl World {
    async fn start(pre: &str, completion: &str, post: &str) -> Self {
        let nats = Nats::start().await;
        let router =
            RouterProcess::start(&[("nats.url", nats.url()), ("router.environment", "prod")]).await;
        let gateway = Gateway::connect(&nats).await;
        gateway
            .register(
                "pre",
                "edit",
                json!({"config": {"lowercase": true, "limit": 1}, "version": "v1"}),
            )
            .await;
        gateway.register("validator", "guard", json!({})).await;
        let metadata = json!({"expected_latency_ms": 850, "expected_cost": 0.012});
        gateway
            .register(
                "provider",
                "model",
                json!({"metadata": metadata, "config": {"model": "m-large"}}),
            )
            .await;
        gateway.register("post", "polish", json!({})).await;
        let document = json!({
            "version": "1.7", "policy_id": "default",
            "pre": [{"id": "edit", "mode": "required", "config": {"limit": 2}}],
            "validators": [{"id": "guard", "on_fail": "block"}],
            "providers": [{"name": "model", "weight": 1, "config": {"temperature": 0.2}}],
            "post": [{"id": "polish", "mode": "required"}],
        });
        gateway.policy("default", &document).await;
        Self {
            pre: Stub::saying(&nats, Kind::Pre, "edit", pre).await,
            guard: Stub::saying(&nats, Kind::Validator, "guard", r#"{"status": "ok"}"#).await,
            model: Stub::saying(&nats, Kind::Provider, "model", completion).await,
            post: Stub::saying(&nats, Kind::Post, "polish", post).await,
            gateway,
            _router: router,
            _nats: nats,
        }
    }

    async fn unchanging() -> Self {
        Self::start("{}", COMPLETION, "{}").await
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.as_str())
}

/// The body of a request around a payload that must not be touched, not even by the test.
fn around(payload: &str) -> String {
    format!(
        r#"{{"version":"1","tenant_id":"acme","request_id":"r","message":{{"message_id":"m","message_type":"chat","payload":{payload}}}}}"#
    )
}

#[tokio::test]
async fn decide_answers_every_fixed_field_and_calls_no_provider() {
    let world = World::start(r#"{"payload": {"payload": "HELLO"}}"#, COMPLETION, "{}").await;
    let mut body = request_with("default", json!({"trace_id": TRACE, "unknown": {"a": [1]}}));
    body.as_object_mut().expect("an object").remove("policy_id");
    let answer = world.gateway.decide(&body).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let decision = &answer["decision"];
    let fixed = json!([
        decision["provider_id"],
        decision["reason"],
        decision["priority"],
        decision["policy_id"],
        decision["policy_version"],
        decision["expected_latency_ms"],
        decision["expected_cost"]
    ]);
    assert_eq!(
        fixed,
        json!(["model", "weighted", 50, "default", "1.7", 850.0, 0.012])
    );
    assert!(
        decision["metadata"].is_object() && decision["explanation"].is_object(),
        "{answer}"
    );
    assert_eq!(decision["explanation"]["reason"], "weighted");
    assert!(
        decision["explanation"]["steps"][0]
            .as_str()
            .is_some_and(|step| step.starts_with("1. ")),
        "{answer}"
    );
    let message = json!({"message_id": "m-1", "message_type": "chat", "payload": "HELLO", "metadata": {"channel": "web"}});
    assert_eq!(answer["message"], message, "as the pre-processors left it");
    assert_eq!(
        answer["context"],
        json!({"request_id": "req-123", "trace_id": TRACE})
    );
    let statuses: Vec<&Value> = answer["extensions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| &e["status"])
        .collect();
    assert_eq!(statuses, ["success", "success", "skipped", "skipped"]);
    assert_eq!(answer["degraded"], json!([]));
    assert!(answer.get("response").is_none(), "{answer}");
    assert_eq!((world.model.calls(), world.post.calls()), (0, 0));
}

#[tokio::test]
async fn route_answers_the_response_and_what_ran() {
    let world = World::start(
        "{}",
        COMPLETION,
        r#"{"payload": {"payload": {"polished": true}}}"#,
    )
    .await;
    let received = world
        .gateway
        .send("route", request("default").to_string(), &[])
        .await;
    let answer = &received.json;
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(
        answer["message"]["payload"], "hello",
        "the message, not the output"
    );
    let response = &answer["response"];
    assert_eq!(response["provider_id"], "model");
    assert_eq!(response["output"], json!({"polished": true}));
    assert!(
        received.text.contains(r#""total_tokens":12.50"#),
        "every digit of the usage: {}",
        received.text
    );
    assert_eq!(
        response["metadata"],
        json!({}),
        "the post-processor says nothing of it"
    );
    let shown: Vec<Value> = answer["extensions"]
        .as_array()
        .expect("a list")
        .iter()
        .inspect(|e| {
            assert!(
                e["latency_ms"]
                    .as_f64()
                    .is_some_and(|latency| latency > 0.0),
                "{e}"
            )
        })
        .map(|e| json!([e["id"], e["type"], e["version"], e["status"], e["attempts"]]))
        .collect();
    let want = json!([
        ["edit", "pre", "v1", "success", 1],
        ["guard", "validator", "v1", "success", 1],
        ["model", "provider", "v1", "success", 1],
        ["polish", "post", "v1", "success", 1]
    ]);
    assert_eq!(json!(shown), want);

    let call = world.post.last_body();
    assert_eq!(
        call["payload"]["payload"], "fine",
        "a post-processor sees the output"
    );
    assert_eq!(
        call["payload"]["metadata"],
        json!({"channel": "web", "finish": "stop", "provider_id": "model"})
    );
    assert_eq!(call["payload"]["message_id"], "m-1");
}

#[tokio::test]
async fn what_comes_with_a_trace_reaches_every_extension_unchanged() {
    let world = World::unchanging().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let state = "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE";
    let baggage = "userId=al%20ice;p=1,plan = gold";
    let body = request_with("default", json!({})).to_string();
    let headers = [
        ("traceparent", parent.as_str()),
        ("Tracestate", state),
        ("BAGGAGE", baggage),
    ];
    let answer = world.gateway.send("route", body.clone(), &headers).await;
    assert_eq!(answer.json["ok"], true, "{}", answer.text);
    for stub in [&world.pre, &world.guard, &world.model, &world.post] {
        let headers = stub.last().headers;
        assert_eq!(header(&headers, "tracestate"), state);
        assert_eq!(header(&headers, "baggage"), baggage);
    }

    // What no header may hold costs nobody the request, and goes nowhere.
    let long = "a".repeat(9_000);
    for odd in ["a=\u{1b}[31m", "a=\tb", &long] {
        let headers = [
            ("traceparent", parent.as_str()),
            ("tracestate", odd),
            ("baggage", odd),
        ];
        let answer = world.gateway.send("route", body.clone(), &headers).await;
        let is_served = answer.json["ok"] == true;
        assert!(
            is_served || answer.json["error"]["code"] == "invalid_request",
            "{}",
            answer.text
        );
        let headers = world.model.last().headers;
        let passed =
            is_served && (headers.get("tracestate").is_some() || headers.get("baggage").is_some());
        assert!(!passed, "{odd:?}");
    }
}

#[tokio::test]
async fn an_extension_gets_the_contracts_body_and_headers() {
    let world = World::unchanging().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let body = request_with(
        "default",
        json!({"context": {"user_id": "u-7", "lang": "en"}, "trace_id": TRACE}),
    );
    let answer = world
        .gateway
        .send("route", body.to_string(), &[("traceparent", &parent)])
        .await;
    assert_eq!(answer.json["ok"], true, "{}", answer.text);

    let want = json!({
        "trace_id": TRACE, "tenant_id": "acme", "request_id": "req-123", "extension_id": "edit",
        "payload": body["message"],
        "metadata": {"user_id": "u-7", "lang": "en", "policy_id": "default", "environment": "prod"},
        "config": {"lowercase": true, "limit": 2},
    });
    assert_eq!(
        world.pre.last_body(),
        want,
        "the policy's config lies over the registry's"
    );
    let subjects =
        [&world.pre, &world.guard, &world.model, &world.post].map(|stub| stub.last().subject);
    let want = [
        "ext.pre.edit",
        "ext.validate.guard",
        "provider.model",
        "ext.post.polish",
    ];
    assert_eq!(
        subjects,
        want.map(|subject| format!("beamline.{subject}.v1"))
    );

    for stub in [&world.pre, &world.guard, &world.model, &world.post] {
        let headers = stub.last().headers;
        let continued = header(&headers, "traceparent");
        assert!(
            continued.starts_with(&format!("00-{TRACE}-")) && continued.ends_with("-01"),
            "{continued}"
        );
        assert_ne!(continued, parent, "the router's own span");
        assert_eq!(
            (header(&headers, "trace_id"), header(&headers, "tenant_id")),
            (TRACE, "acme")
        );
        assert_eq!(header(&headers, "Router-Attempt"), "1");
        let left: u64 = header(&headers, "Router-Timeout-Ms")
            .parse()
            .expect("milliseconds");
        assert!(
            (1..=20_000).contains(&left),
            "no more than the extension's own time: {left}"
        );
    }
    assert!(header(&answer.headers, "traceparent").starts_with(&format!("00-{TRACE}-")));
    assert_eq!(
        (
            header(&answer.headers, "trace_id"),
            header(&answer.headers, "tenant_id")
        ),
        (TRACE, "acme")
    );
}

#[tokio::test]
async fn headers_win_over_the_body() {
    let world = World::unchanging().await;
    let mut body = request_with(
        "default",
        json!({"tenant_id": "nobody", "trace_id": "from-the-body"}),
    );
    let headers = [("Tenant_Id", "acme"), ("trace_id", "from-the-header")];
    let answer = world
        .gateway
        .send("route", body.to_string(), &headers)
        .await;
    assert_eq!(
        answer.json["context"]["trace_id"], "from-the-header",
        "{}",
        answer.text
    );
    assert_eq!(world.pre.last_body()["tenant_id"], "acme");
    assert_eq!(
        header(&world.pre.last().headers, "trace_id"),
        "from-the-header"
    );

    body.as_object_mut().expect("an object").remove("tenant_id");
    let answer = world
        .gateway
        .send("decide", body.to_string(), &[("tenant_id", "acme")])
        .await;
    assert_eq!(
        answer.json["ok"], true,
        "the tenant may come from the header alone: {}",
        answer.text
    );

    let body = request("default");
    let answer = world
        .gateway
        .send(
            "decide",
            body.to_string(),
            &[("traceparent", "00-nonsense")],
        )
        .await;
    let trace = answer.json["context"]["trace_id"]
        .as_str()
        .expect("a trace id");
    assert!(
        trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()),
        "a new trace starts: {trace}"
    );
}

#[tokio::test]
async fn the_older_task_form_is_a_message() {
    let world = World::unchanging().await;
    let task = json!({"version": "1", "tenant_id": "acme", "request_id": "r", "task": {"type": "summary", "payload": {"text": "a", "more": [1]}}, "message": {}});
    let answer = world.gateway.route(&task).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["message"]["message_type"], "summary");
    assert_eq!(
        answer["message"]["payload"],
        json!({"text": "a", "more": [1]})
    );
    assert_eq!(world.pre.last_body()["payload"]["message_type"], "summary");
}

#[tokio::test]
async fn payloads_pass_through_byte_for_byte() {
    let world = World::unchanging().await;
    // A provider can answer texts only.
    let route: &[&str] = &["decide", "route"];
    let decide: &[&str] = &["decide"];
    let payloads = [
        ("123456789012345678901234567890", decide),
        ("-0.10000000000000000000000000001e-7", decide),
        ("1e400", decide),
        (r#""caf\u00e9 \ud83d\ude00 \/ \u0000 \n""#, route),
        (
            r#"{"z": 1, "text": "hi", "a": 2, "z": 3,  "nested": {"b": 1.50, "a": [1.0, 1.00, 1E2]}}"#,
            route,
        ),
        ("null", decide),
        ("[]", decide),
        ("\"caf\u{e9} \u{1f600} \u{202e}\"", route),
    ];
    for (payload, operations) in payloads {
        for operation in operations {
            let answer = world.gateway.send(operation, around(payload), &[]).await;
            assert!(
                answer.text.contains(&format!(r#""payload":{payload}"#)),
                "{payload}: {}",
                answer.text
            );
            assert!(
                answer.text.starts_with(r#"{"ok":true"#),
                "{payload}: {}",
                answer.text
            );
        }
        for stub in [&world.pre, &world.guard] {
            assert!(
                stub.last_text()
                    .contains(&format!(r#""payload":{payload}"#)),
                "{payload}: {}",
                stub.last_text()
            );
        }
    }
}

#[tokio::test]
async fn outputs_edits_and_metadata_pass_through_byte_for_byte() {
    let odd = r#"{"z": 123456789012345678901234567890, "text": "hi", "a": 1e400, "z": 1.50}"#;
    let pre = format!(
        r#"{{"payload": {{"payload": {odd}, "metadata": {{"n": 1.10}}}}, "metadata": {{"big": 98765432109876543210}}}}"#
    );
    let completion = format!(
        r#"{{"output": {odd}, "usage": {{"prompt_tokens": 0.1}}, "metadata": {{"cost": 1.2300}}}}"#
    );
    let world = World::start(&pre, &completion, "{}").await;
    let answer = world
        .gateway
        .send("route", request("default").to_string(), &[])
        .await;
    for part in [
        format!(r#""payload":{odd}"#),
        format!(r#""output":{odd}"#),
        r#""usage":{"prompt_tokens":0.1}"#.to_owned(),
        r#""metadata":{"cost":1.2300}"#.to_owned(),
        r#""metadata":{"n":1.10}"#.to_owned(),
    ] {
        assert!(answer.text.contains(&part), "{part} in {}", answer.text);
    }
    assert!(
        world
            .guard
            .last_text()
            .contains(r#""big":98765432109876543210"#),
        "{}",
        world.guard.last_text()
    );
    assert!(
        world
            .post
            .last_text()
            .contains(&format!(r#""payload":{odd}"#)),
        "{}",
        world.post.last_text()
    );
}

#[tokio::test]
async fn metadata_of_an_answer_reaches_every_later_stage() {
    let pre = r#"{"payload": {"message_id": "forged", "message_type": "question", "payload": "hi"}, "metadata": {"lang": "de", "score": 1}}"#;
    let world = World::start(pre, COMPLETION, "{}").await;
    let body = request_with(
        "default",
        json!({"context": {"lang": "en", "user_id": "u-7"}}),
    );
    let answer = world.gateway.route(&body).await;
    assert_eq!(
        answer["message"]["message_id"], "m-1",
        "the id is the request's: {answer}"
    );
    assert_eq!(answer["message"]["message_type"], "question");
    let want = json!({"lang": "de", "score": 1, "user_id": "u-7", "policy_id": "default", "environment": "prod"});
    assert_eq!(world.guard.last_body()["metadata"], want);
    assert_eq!(world.model.last_body()["context"], want);
    assert_eq!(world.post.last_body()["metadata"], want);
    assert_eq!(world.guard.last_body()["payload"]["message_id"], "m-1");
}

#[tokio::test]
async fn a_provider_gets_a_prompt_and_what_else_the_message_has() {
    let world = World::unchanging().await;
    let messages = r#"[{"role": "user", "content": 1.0}]"#;
    let cases = [
        (r#""plain""#.to_owned(), "plain"),
        (
            r#"{"text": "t", "prompt": "p", "content": "c"}"#.to_owned(),
            "t",
        ),
        (r#"{"prompt": "p", "content": "c"}"#.to_owned(), "p"),
        (r#"{"content": "c", "text": 7}"#.to_owned(), "c"),
        (format!(r#"{{"messages": {messages}}}"#), ""),
        (r#"[{"role": "user", "content": "u"}]"#.to_owned(), "u"),
        (r#"{"input": "i", "temperature": 0.50}"#.to_owned(), "i"),
    ];
    for (payload, prompt) in cases {
        let answer = world.gateway.send("route", around(&payload), &[]).await;
        assert_eq!(answer.json["ok"], true, "{}", answer.text);
        let call = world.model.last_body();
        assert_eq!(call["prompt"], prompt, "{payload}");
        assert_eq!(
            call.get("messages").is_some(),
            payload.contains("role"),
            "{call}"
        );
    }
    let asked = json!({"text": "t", "messages": [{"role": "user"}], "parameters": {"max_tokens": 5, "model": "mine"}});
    let body = request_with(
        "default",
        json!({"message": {"payload": asked}, "context": {"lang": "en"}, "trace_id": TRACE}),
    );
    world.gateway.route(&body).await;
    let want = json!({
        "trace_id": TRACE, "tenant_id": "acme", "request_id": "req-123", "provider_id": "model",
        "message_type": "chat", "prompt": "t", "messages": [{"role": "user"}],
        "parameters": {"max_tokens": 5, "model": "m-large", "temperature": 0.2},
        "context": {"lang": "en", "policy_id": "default", "environment": "prod"},
    });
    assert_eq!(world.model.last_body(), want);
    world
        .gateway
        .send(
            "route",
            around(&format!(r#"{{"messages": {messages}}}"#)),
            &[],
        )
        .await;
    assert!(
        world
            .model
            .last_text()
            .contains(&format!(r#""messages":{messages}"#)),
        "{}",
        world.model.last_text()
    );
}

#[tokio::test]
async fn the_shorter_time_of_body_and_header_counts() {
    let world = World::unchanging().await;
    for (body, header_ms) in [(9_000, "500000"), (500_000, "9000")] {
        let body = request_with("default", json!({"timeout_ms": body}));
        let answer = world
            .gateway
            .send(
                "route",
                body.to_string(),
                &[("Router-Timeout-Ms", header_ms)],
            )
            .await;
        assert_eq!(answer.json["ok"], true, "{}", answer.text);
        let left: u64 = header(&world.pre.last().headers, "Router-Timeout-Ms")
            .parse()
            .expect("milliseconds");
        assert!((1..9_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn an_external_provider_is_chosen_and_never_called() {
    let world = World::unchanging().await;
    world
        .gateway
        .register(
            "provider",
            "elsewhere",
            json!({"metadata": {"external": true}}),
        )
        .await;
    world
        .gateway
        .policy("outside", &json!({"providers": [{"name": "elsewhere"}]}))
        .await;
    let decided = world.gateway.decide(&request("outside")).await;
    assert_eq!(decided["decision"]["provider_id"], "elsewhere", "{decided}");
    assert_eq!(decided["decision"]["metadata"]["external"], true);
    let routed = world.gateway.route(&request("outside")).await;
    assert_eq!(routed["error"]["code"], "extension_not_found", "{routed}");
}

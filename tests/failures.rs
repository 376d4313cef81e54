//! What the answer says when an extension fails (contract sections 1 and 2): every form of failure
//! in every role.

use std::sync::Arc;

use beamline_extension::{Kind, RawAnswer, RawRequest};
use beamline_test_support::{Gateway, Nats, RouterProcess, Stub, request, request_with};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// An answer that can be changed while the extension runs; `None` is silence.
type Script = Arc<Mutex<Option<RawAnswer>>>;

struct Scripted {
    script: Script,
    stub: Stub,
    good: &'static str,
}

impl Scripted {
    async fn start(nats: &Nats, kind: Kind, id: &str) -> Self {
        let good = match kind {
            Kind::Provider => r#"{"output": "fine"}"#,
            Kind::Validator => r#"{"status": "ok"}"#,
            Kind::Pre | Kind::Post => "{}",
        };
        let script: Script = Arc::new(Mutex::new(Some(good.into())));
        let read = Arc::clone(&script);
        let stub = Stub::answering(nats, kind, id, move |_| read.lock().clone()).await;
        Self { script, stub, good }
    }

    fn says(&self, answer: Option<RawAnswer>) {
        *self.script.lock() = answer;
    }

    fn works(&self) {
        self.says(Some(self.good.into()));
    }
}

/// A role, the policy in which the extension plays it, and the code of the answer when it fails;
/// none: it goes on.
const ROLES: [(&str, &str, Option<&str>); 8] = [
    ("edit", "pre_required", Some("pre_processor_failed")),
    ("edit", "pre_optional", None),
    ("guard", "validator_block", Some("validator_blocked")),
    ("guard", "validator_warn", None),
    ("guard", "validator_ignore", None),
    ("model", "provider", Some("extension_error")),
    ("polish", "post_required", Some("post_processor_failed")),
    ("polish", "post_optional", None),
];

/// A router, one extension of each type, and a provider that always works.
struct World {
    nats: Nats,
    router: RouterProcess,
    gateway: Gateway,
    edit: Scripted,
    guard: Scripted,
    model: Scripted,
    polish: Scripted,
    _good: Stub,
}

impl World {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("provider", "good", json!({})).await;
        register_roles(&gateway, "", json!({"breaker": {"failure_rate": 100}})).await;
        Self {
            edit: Scripted::start(&nats, Kind::Pre, "edit").await,
            guard: Scripted::start(&nats, Kind::Validator, "guard").await,
            model: Scripted::start(&nats, Kind::Provider, "model").await,
            polish: Scripted::start(&nats, Kind::Post, "polish").await,
            _good: Stub::saying(&nats, Kind::Provider, "good", r#"{"output": "good"}"#).await,
            nats,
            router,
            gateway,
        }
    }

    fn of(&self, id: &str) -> &Scripted {
        match id {
            "edit" => &self.edit,
            "guard" => &self.guard,
            "model" => &self.model,
            _ => &self.polish,
        }
    }

    /// Fails once in one role, and works again, so that no breaker opens.
    async fn failing(&self, id: &str, policy: &str, answer: Option<RawAnswer>) -> Value {
        self.of(id).says(answer);
        let failed = self.gateway.route(&request(policy)).await;
        self.of(id).works();
        let worked = self.gateway.route(&request(policy)).await;
        assert_eq!(worked["ok"], true, "{worked}");
        failed
    }
}

/// Extensions of each type and a policy for each role, with `prefix` before all their ids.
async fn register_roles(gateway: &Gateway, prefix: &str, more: Value) {
    for (kind, id) in [
        ("pre", "edit"),
        ("validator", "guard"),
        ("provider", "model"),
        ("post", "polish"),
    ] {
        gateway
            .register(kind, &format!("{prefix}{id}"), more.clone())
            .await;
    }
    for (id, policy, _) in ROLES {
        let id = format!("{prefix}{id}");
        let good = json!([{"name": "good"}]);
        let (role, rule) = policy.split_once('_').unwrap_or((policy, ""));
        let document = match role {
            "pre" => json!({"pre": [{"id": id, "mode": rule}], "providers": good}),
            "validator" => json!({"validators": [{"id": id, "on_fail": rule}], "providers": good}),
            "post" => json!({"post": [{"id": id, "mode": rule}], "providers": good}),
            _ => json!({"providers": [{"name": id}]}),
        };
        gateway
            .policy(&format!("{prefix}{policy}"), &document)
            .await;
    }
}

fn report<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let reports = answer["extensions"]
        .as_array()
        .expect("a list of extensions");
    reports
        .iter()
        .find(|report| report["id"] == id)
        .expect("the extension is listed")
}

fn service_error() -> RawAnswer {
    let mut answer = RawAnswer::from("{}");
    answer.headers.insert("Nats-Service-Error", "it broke");
    answer.headers.insert("Nats-Service-Error-Code", "500");
    answer
}

/// What the answer must say about a failure of `id` in a role.
fn check(answer: &Value, id: &str, policy: &str, code: Option<&str>, reason: &str, status: &str) {
    let what = format!("{policy}: {answer}");
    assert_eq!(report(answer, id)["status"], status, "{what}");
    let Some(code) = code else {
        assert_eq!(answer["ok"], true, "{what}");
        assert_eq!(
            answer["degraded"],
            json!([{"id": id, "reason": reason}]),
            "{what}"
        );
        return;
    };
    assert_eq!(
        (&answer["ok"], &answer["error"]["code"]),
        (&json!(false), &json!(code)),
        "{what}"
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .is_some_and(|sentence| sentence.contains(id)),
        "{what}"
    );
    let details = &answer["error"]["details"];
    assert_eq!(
        (&details["extension_id"], &details["error_type"]),
        (&json!(id), &json!(reason)),
        "{what}"
    );
    assert_eq!(
        (&details["tenant_id"], &details["policy_id"]),
        (&json!("acme"), &json!(policy)),
        "{what}"
    );
    let timestamp = details["timestamp"].as_str().expect("a time");
    humantime::parse_rfc3339(timestamp).expect("RFC 3339");
    assert_eq!(answer["context"]["request_id"], "req-123", "{what}");
    assert!(
        answer["context"]["trace_id"]
            .as_str()
            .is_some_and(|trace| trace.len() == 32),
        "{what}"
    );
}

#[tokio::test]
async fn every_form_of_failure_is_understood_in_every_role() {
    let world = World::start().await;
    let answered: [RawAnswer; 4] = [
        r#"{"error": {"code": "boom", "message": "it broke"}}"#.into(),
        r#"{"status": "error", "error_code": "boom", "error_message": "it broke"}"#.into(),
        r#"{"error": {"code": 500, "message": null, "retryable": false, "retry_after_ms": 70}, "output": 1}"#.into(),
        service_error(),
    ];
    let malformed: [RawAnswer; 10] = [
        "".into(),
        "nonsense".into(),
        "[]".into(),
        "\"ok\"".into(),
        "7".into(),
        "null".into(),
        r#"{"output": 1"#.into(),
        r#"{"output": 1} {"#.into(),
        vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'].into(),
        format!(
            r#"{{"output": {}1{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        )
        .into_bytes()
        .into(),
    ];
    for (id, policy, code) in ROLES {
        for answer in &answered {
            let failed = world.failing(id, policy, Some(answer.clone())).await;
            check(&failed, id, policy, code, "extension_error", "error");
        }
        for answer in &malformed {
            let failed = world.failing(id, policy, Some(answer.clone())).await;
            check(&failed, id, policy, code, "malformed_answer", "error");
        }
    }
    let health = world
        .gateway
        .admin("get_extension_health", &json!({}))
        .await;
    assert_eq!(health["health"]["model"]["status"], "unhealthy", "{health}");
    assert!(
        !world.router.log().contains("panicked"),
        "{}",
        world.router.log()
    );
}

#[tokio::test]
async fn an_answer_of_another_role_is_no_answer() {
    let world = World::start().await;
    for (id, policy, code) in ROLES {
        let wrong: &[&str] = match id {
            "guard" => &["{}", r#"{"allowed": false}"#, r#"{"status": "maybe"}"#],
            "model" => &["{}", r#"{"output": 1, "metadata": []}"#],
            _ => &[
                r#"{"masked": "x"}"#,
                r#"{"payload": {"text": "x"}}"#,
                r#"{"metadata": "x"}"#,
                r#"{"payload": {"message_type": {}}}"#,
            ],
        };
        for answer in wrong {
            let failed = world.failing(id, policy, Some((*answer).into())).await;
            check(&failed, id, policy, code, "malformed_answer", "error");
        }
    }
}

#[tokio::test]
async fn nobody_on_the_subject_is_said_at_once() {
    let world = World::start().await;
    register_roles(&world.gateway, "absent_", json!({})).await;
    for (id, policy, code) in ROLES {
        let id = format!("absent_{id}");
        let policy = format!("absent_{policy}");
        let answer = world.gateway.route(&request(&policy)).await;
        let blocked = code.map(|code| {
            if code == "validator_blocked" {
                code
            } else {
                "extension_unavailable"
            }
        });
        check(&answer, &id, &policy, blocked, "no_responders", "error");
        if code.is_some() {
            assert!(
                answer["error"]["details"]["retry_after_ms"].is_u64(),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn silence_ends_with_the_extensions_own_time() {
    let world = World::start().await;
    for id in ["edit", "guard", "model", "polish"] {
        world
            .gateway
            .admin("update_extension", &json!({"id": id, "timeout_ms": 200}))
            .await;
    }
    for (id, policy, code) in ROLES {
        let failed = world.failing(id, policy, None).await;
        let blocked = code.map(|code| {
            if code == "validator_blocked" {
                code
            } else {
                "extension_timeout"
            }
        });
        check(&failed, id, policy, blocked, "extension_timeout", "timeout");
    }
}

#[tokio::test]
async fn silence_ends_with_the_requests_time_in_every_role() {
    let world = World::start().await;
    for (id, policy, _) in ROLES {
        world.of(id).says(None);
        let answer = world
            .gateway
            .route(&request_with(policy, json!({"timeout_ms": 250})))
            .await;
        world.of(id).works();
        assert_eq!(
            answer["error"]["code"], "deadline_exceeded",
            "{policy}: {answer}"
        );
        assert_eq!(answer["context"]["request_id"], "req-123");
    }
    let states = world
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(
        states["states"]["edit"]["failure_count"], 0,
        "the caller was short of time: {states}"
    );
}

#[tokio::test]
async fn a_rejection_blocks_warns_or_is_ignored() {
    let world = World::start().await;
    let reject: RawAnswer =
        r#"{"status": "reject", "reason": "pii_detected", "details": {"kinds": ["email"]}}"#.into();
    let blocked = world
        .failing("guard", "validator_block", Some(reject.clone()))
        .await;
    assert_eq!(blocked["error"]["code"], "validator_blocked", "{blocked}");
    assert_eq!(blocked["error"]["details"]["extension_id"], "guard");
    assert_eq!(blocked["error"]["details"]["reason"], "pii_detected");
    assert_eq!(
        blocked["error"]["details"]["validator_details"],
        json!({"kinds": ["email"]})
    );
    assert_eq!(report(&blocked, "guard")["status"], "rejected");
    assert_eq!(report(&blocked, "good")["status"], "skipped");

    let warned = world
        .failing("guard", "validator_warn", Some(reject.clone()))
        .await;
    assert_eq!(
        warned["degraded"],
        json!([{"id": "guard", "reason": "pii_detected"}]),
        "{warned}"
    );
    assert_eq!(report(&warned, "guard")["status"], "warned");

    let ignored = world
        .failing("guard", "validator_ignore", Some(reject))
        .await;
    assert_eq!(
        (&ignored["ok"], &ignored["degraded"]),
        (&json!(true), &json!([])),
        "{ignored}"
    );
    assert_eq!(report(&ignored, "guard")["status"], "rejected");
    let health = world
        .gateway
        .admin("get_extension_health", &json!({}))
        .await;
    assert_eq!(
        health["health"]["guard"]["status"], "healthy",
        "a rejection is work well done: {health}"
    );
}

#[tokio::test]
async fn a_call_is_repeated_as_registered() {
    let world = World::start().await;
    let busy = r#"{"error": {"code": "busy", "message": "later", "retryable": true, "retry_after_ms": 1}}"#;
    let once_busy = move |request: &RawRequest| {
        let first = request
            .headers
            .get("Router-Attempt")
            .is_some_and(|attempt| attempt.as_str() == "1");
        Some(RawAnswer::from(if first { busy } else { "{}" }))
    };
    let shy = Stub::answering(&world.nats, Kind::Pre, "shy", once_busy).await;
    let stubborn = Stub::saying(&world.nats, Kind::Pre, "stubborn", busy).await;
    let broken = Stub::saying(
        &world.nats,
        Kind::Pre,
        "broken",
        r#"{"error": {"code": "bad", "message": "no"}}"#,
    )
    .await;
    for id in ["shy", "stubborn", "broken"] {
        world.gateway.register("pre", id, json!({"retry": 2})).await;
        world
            .gateway
            .policy(
                id,
                &json!({"pre": [{"id": id}], "providers": [{"name": "good"}]}),
            )
            .await;
    }
    for (stub, id, attempts, status) in [
        (&shy, "shy", 2, "success"),
        (&stubborn, "stubborn", 3, "error"),
        (&broken, "broken", 1, "error"),
    ] {
        let answer = world.gateway.route(&request(id)).await;
        let shown = report(&answer, id);
        assert_eq!(
            (&shown["attempts"], &shown["status"]),
            (&json!(attempts), &json!(status)),
            "{answer}"
        );
        assert_eq!(stub.calls(), attempts);
        let last = stub
            .last()
            .headers
            .get("Router-Attempt")
            .map(|attempt| attempt.as_str().to_owned());
        assert_eq!(last, Some(attempts.to_string()));
    }
}

#[tokio::test]
async fn an_open_breaker_answers_for_the_extension() {
    let world = World::start().await;
    for (id, policy, code) in ROLES
        .into_iter()
        .filter(|(_, policy, _)| !policy.ends_with("warn"))
    {
        world.of(id).says(Some("nonsense".into()));
        for _ in 0..5 {
            world.gateway.route(&request(policy)).await;
        }
        let calls = world.of(id).stub.calls();
        let answer = world.gateway.route(&request(policy)).await;
        assert_eq!(
            world.of(id).stub.calls(),
            calls,
            "nobody is called: {answer}"
        );
        match code {
            Some("validator_blocked" | "extension_error") | None => {}
            Some(_) => check(
                &answer,
                id,
                policy,
                Some("extension_unavailable"),
                "circuit_open",
                "circuit_open",
            ),
        }
        if id == "model" {
            assert_eq!(answer["error"]["code"], "extension_unavailable", "{answer}");
        }
        if id == "guard" && code.is_some() {
            check(&answer, id, policy, code, "circuit_open", "circuit_open");
        }
        if code.is_some() {
            let wait = answer["error"]["details"]["retry_after_ms"]
                .as_u64()
                .expect("when to come back");
            assert!((1..=6_250).contains(&wait), "{answer}");
        } else {
            check(&answer, id, policy, None, "circuit_open", "circuit_open");
        }
    }
    let states = world
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(states["states"]["good"]["state"], "closed", "{states}");
    let model = &states["states"]["model"];
    assert_eq!(
        (&model["state"], &model["failure_count"]),
        (&json!("open"), &json!(5)),
        "{states}"
    );
    humantime::parse_rfc3339(model["opened_at"].as_str().expect("a time")).expect("RFC 3339");
    assert_eq!(model["error_rate"], 1.0, "{states}");
}

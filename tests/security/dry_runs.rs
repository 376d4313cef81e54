//! Dry runs that call extensions: who may have them, and what they do to those whose requests are
//! no rehearsal.

use beamline_extension::{Kind, RawAnswer, RawRequest};
use beamline_test_support::{Gateway, LIMIT, Nats, RouterProcess, Stub, eventually, request_with};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

const CONFIGURED: &str = "a-key-of-enough-length";
const OK: &str = r#"{"output": "hello"}"#;
const FINE: &str = r#"{"status": "ok"}"#;
const POISON: &str = r#"{"error": {"code": "500", "message": "poison"}}"#;

/// A router as it comes, but for its own key, with a guard and a model under a policy of a tenant.
struct World {
    nats: Nats,
    gateway: Gateway,
    _model: Stub,
    _router: RouterProcess,
}

impl World {
    async fn start(guard: Value) -> Self {
        let nats = Nats::start().await;
        let settings = [("nats.url", nats.url()), ("admin.api_key", CONFIGURED)];
        let router = RouterProcess::start(&settings).await;
        let world = Self {
            gateway: Gateway::connect(&nats).await,
            _model: Stub::saying(&nats, Kind::Provider, "model", OK).await,
            nats,
            _router: router,
        };
        let mut record = json!({"id": "guard", "type": "validator"});
        for (key, value) in guard.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        world.write("create_extension", record).await;
        let model = json!({"id": "model", "type": "provider"});
        world.write("create_extension", model).await;
        let body = json!({"tenant_id": "acme", "policy_id": "default", "policy": policy()});
        world.write("put_policy", body).await;
        world
    }

    async fn ask(&self, key: Option<&str>, operation: &str, body: Value) -> Value {
        self.gateway.admin_as(key, operation, &body).await
    }

    async fn write(&self, operation: &str, body: Value) -> Value {
        let answer = self.ask(Some(CONFIGURED), operation, body).await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer
    }

    async fn key(&self, body: Value) -> String {
        let made = self.write("create_key", body).await;
        made["key"].as_str().expect("a text").to_owned()
    }

    /// What is said to a dry run that calls the guard.
    async fn dry_run(&self, key: Option<&str>, tenant: &str) -> Value {
        let body = json!({
            "tenant_id": tenant, "payload": "poison", "policy": policy(), "call_extensions": true
        });
        self.ask(key, "dry_run_pipeline", body).await
    }

    async fn route(&self) -> String {
        let body = request_with("default", json!({"tenant_id": "acme"}));
        code(&self.gateway.route(&body).await)
    }
}

fn policy() -> Value {
    json!({"validators": [{"id": "guard", "on_fail": "block"}], "providers": ["model"]})
}

fn code(answer: &Value) -> String {
    let code = answer["error"]["code"].as_str();
    code.unwrap_or("ok").to_owned()
}

fn is_poison(call: &RawRequest) -> bool {
    let body: Value = serde_json::from_slice(&call.payload).unwrap_or_default();
    body["payload"]["payload"] == "poison"
}

#[tokio::test]
async fn somebody_without_the_right_key_has_extensions_called() {
    let world = World::start(json!({})).await;
    let guard = Stub::saying(&world.nats, Kind::Validator, "guard", FINE).await;
    let viewer = world.key(json!({"role": "viewer"})).await;
    let of_acme = json!({"role": "operator", "tenant_id": "acme"});
    let of_acme = world.key(of_acme).await;
    let of_other = json!({"role": "editor", "tenant_id": "other"});
    let of_other = world.key(of_other).await;
    for (key, refused) in [
        (None, "unauthorized"),
        (Some(&viewer), "forbidden"),
        (Some(&of_acme), "forbidden"),
        (Some(&of_other), "not_found"),
    ] {
        let answer = world.dry_run(key.map(String::as_str), "acme").await;
        assert_eq!(code(&answer), refused, "{answer}");
        let sentence = answer["error"]["message"].as_str().unwrap_or_default();
        let says_what = sentence.ends_with("Without call_extensions the role viewer is enough.");
        assert!(says_what || refused == "not_found", "{sentence}");
    }
    assert_eq!(guard.calls(), 0);
    let look = json!({"tenant_id": "acme", "payload": 1});
    let looked = world.ask(None, "dry_run_pipeline", look).await;
    assert_eq!(code(&looked), "ok", "{looked}");
    let operator = world.key(json!({"role": "operator"})).await;
    let editor = json!({"role": "editor", "tenant_id": "acme"});
    let editor = world.key(editor).await;
    for (calls, key) in [operator, editor].iter().enumerate() {
        let answer = world.dry_run(Some(key), "acme").await;
        assert_eq!((code(&answer).as_str(), guard.calls()), ("ok", calls + 1));
    }
}

#[tokio::test]
async fn dry_runs_that_fail_keep_requests_from_a_guard() {
    let world = World::start(json!({"retry": 2})).await;
    let answer = |call: &RawRequest| {
        let answer = if is_poison(call) { POISON } else { FINE };
        Some(RawAnswer::from(answer.to_owned()))
    };
    let guard = Stub::answering(&world.nats, Kind::Validator, "guard", answer).await;
    for tenant in ["acme", "ghost"] {
        for _ in 0..12 {
            let answer = world.dry_run(Some(CONFIGURED), tenant).await;
            let error = &answer["result"]["error"]["code"];
            assert_eq!(error, "validator_blocked", "{answer}");
        }
    }
    assert!(guard.calls() >= 24, "{} calls", guard.calls());
    let health = world.ask(None, "get_extension_health", json!({})).await;
    assert!(!health.to_string().contains("\"open\""), "{health}");
    for _ in 0..10 {
        assert_eq!(world.route().await, "ok");
    }
}

#[tokio::test]
async fn a_dry_run_of_a_tenant_that_nobody_is_takes_places_from_one() {
    let world = World::start(json!({"max_in_flight": 4, "timeout_ms": 20_000})).await;
    let answer = |call: RawRequest| async move {
        if !is_poison(&call) {
            sleep(LIMIT).await;
        }
        Some(RawAnswer::from(FINE.to_owned()))
    };
    let guard = Stub::waiting(&world.nats, Kind::Validator, "guard", answer).await;
    let answer = world.dry_run(Some(CONFIGURED), "ghost").await;
    assert_eq!(code(&answer), "ok", "{answer}");
    let requests = join_all((0..4).map(|_| world.route()));
    let all_run = eventually(LIMIT, "all four are at the guard", async || {
        (guard.calls() == 5).then_some(())
    });
    tokio::select! {
        codes = requests => panic!("{codes:?}"),
        () = all_run => {}
    }
}

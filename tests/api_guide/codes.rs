//! The page has an answer for each code, and each is what a router answers when that happens.

use beamline_contract::error::ErrorCode;
use beamline_extension::Kind;
use beamline_test_support::{
    FailPoints, Gateway, LIMIT, Nats, RouterProcess, Routing, Stub, TcpProxy, eventually, request,
    request_with, until,
};
use serde_json::{Value, json};

use super::alike::assert_shown;
use super::block;

/// A validator that finds something, as pii_guard does.
const REJECTION: &str =
    r#"{"status": "reject", "reason": "pii_detected", "details": {"kinds": {"email": 1}}}"#;
const NO_DICTIONARY: &str = r#"{"error": {"code": "E_17", "message": "no dictionary"}}"#;

#[tokio::test]
async fn every_code_has_an_answer_that_a_router_gives() {
    let plain = Plain::start().await;
    for (word, code) in ErrorCode::WORDS {
        let answer = plain.answer(*code).await;
        let shown = block(&format!("json code={word}"));
        assert_eq!(answer["error"]["code"], *word, "{answer}");
        assert_shown(&shown.text, &answer, word);
    }
}

/// A router with its usual settings, and a policy for each thing that may happen there.
struct Plain {
    routing: Routing,
    _stubs: Vec<Stub>,
}

impl Plain {
    async fn start() -> Self {
        let routing = Routing::start(&[]).await;
        let silent = r#"{"status": "ok"}"#;
        let mut stubs = vec![
            routing.provider("model").await,
            routing.broken("broken").await,
        ];
        for (kind, id, answer) in [
            (Kind::Validator, "guard", REJECTION),
            (Kind::Pre, "edit", NO_DICTIONARY),
            (Kind::Post, "polish", NO_DICTIONARY),
            (Kind::Provider, "off", silent),
        ] {
            stubs.push(routing.extension(kind, id, json!({}), answer).await);
        }
        let slow = json!({"timeout_ms": 100});
        for (id, record) in [("slow", slow), ("silent", json!({})), ("absent", json!({}))] {
            routing.gateway.register("provider", id, record).await;
        }
        for id in ["slow", "silent"] {
            stubs.push(Stub::answering(&routing.nats, Kind::Provider, id, |_| None).await);
        }
        for (id, policy) in [
            (
                "guarded",
                json!({"validators": [{"id": "guard"}], "providers": ["model"]}),
            ),
            (
                "edited",
                json!({"pre": [{"id": "edit", "mode": "required"}], "providers": ["model"]}),
            ),
            (
                "polished",
                json!({"post": [{"id": "polish", "mode": "required"}], "providers": ["model"]}),
            ),
            ("broken", json!({"providers": ["broken"]})),
            ("off", json!({"providers": ["off"]})),
            (
                "idle",
                json!({"providers": [{"name": "model", "weight": 0}]}),
            ),
            ("absent", json!({"providers": ["absent"]})),
            ("slow", json!({"providers": ["slow"]})),
            ("silent", json!({"providers": ["silent"]})),
        ] {
            routing.gateway.policy(id, &policy).await;
        }
        routing
            .admin("disable_extension", json!({"id": "off"}))
            .await;
        Self {
            routing,
            _stubs: stubs,
        }
    }

    /// Brings about one of each.
    async fn answer(&self, code: ErrorCode) -> Value {
        let gateway = &self.routing.gateway;
        let policy = match code {
            ErrorCode::InvalidRequest => {
                return gateway
                    .route(&json!({"version": "1", "tenant_id": "acme"}))
                    .await;
            }
            ErrorCode::ValidatorBlocked => "guarded",
            ErrorCode::PolicyNotFound => "unknown",
            ErrorCode::ExtensionNotFound => "off",
            ErrorCode::PreProcessorFailed => "edited",
            ErrorCode::PostProcessorFailed => "polished",
            ErrorCode::ExtensionError => "broken",
            ErrorCode::DecisionFailed => "idle",
            ErrorCode::ExtensionUnavailable => "absent",
            ErrorCode::ExtensionTimeout => "slow",
            ErrorCode::DeadlineExceeded => {
                let hurried = request_with("silent", json!({"timeout_ms": 200}));
                return gateway.route(&hurried).await;
            }
            ErrorCode::Unauthorized => return unauthorized().await,
            ErrorCode::RateLimited => return rate_limited().await,
            ErrorCode::Overloaded => return overloaded().await,
            ErrorCode::Internal => return internal().await,
            ErrorCode::BusUnavailable => return bus_unavailable().await,
            ErrorCode::ShuttingDown => return shutting_down().await,
        };
        gateway.route(&request(policy)).await
    }
}

async fn unauthorized() -> Value {
    let routing = Routing::start(&[("router.allowed_tenants", "globex")]).await;
    routing.gateway.route(&request("default")).await
}

async fn rate_limited() -> Value {
    let routing = Routing::start(&[("router.tenant_rate", "1")]).await;
    let body = request("default");
    eventually(LIMIT, "it was too much", async || {
        let answer = routing.gateway.route(&body).await;
        (answer["error"]["code"] != "policy_not_found").then_some(answer)
    })
    .await
}

/// A router whose provider has a request and does not answer it.
struct Busy {
    routing: Routing,
    first: tokio::task::JoinHandle<Value>,
    _silent: Stub,
}

impl Busy {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let routing = Routing::start(settings).await;
        let gateway = routing.gateway.clone();
        let (silent, first) = ask_nobody(gateway, &routing.nats).await;
        Self {
            routing,
            first,
            _silent: silent,
        }
    }
}

/// A request that is on its way at a provider that says nothing.
async fn ask_nobody(gateway: Gateway, nats: &Nats) -> (Stub, tokio::task::JoinHandle<Value>) {
    gateway.register("provider", "silent", json!({})).await;
    let policy = json!({"providers": ["silent"]});
    gateway.policy("default", &policy).await;
    let silent = Stub::answering(nats, Kind::Provider, "silent", |_| None).await;
    let asked = tokio::spawn(async move { gateway.route(&request("default")).await });
    until("the provider has it", || silent.calls() == 1).await;
    (silent, asked)
}

async fn overloaded() -> Value {
    let busy = Busy::start(&[("router.max_in_flight", "1")]).await;
    let answer = busy.routing.gateway.route(&request("default")).await;
    busy.first.abort();
    answer
}

async fn shutting_down() -> Value {
    let busy = Busy::start(&[("router.drain_timeout", "100ms")]).await;
    busy.routing.router.sigterm();
    busy.first.await.expect("an answer")
}

/// A router that cannot begin with any request.
async fn internal() -> Value {
    let nats = Nats::start().await;
    let points = FailPoints::new();
    points.set("pipeline panic 1");
    let (name, file) = points.variable();
    let mut router = RouterProcess::spawn_with(&[("nats.url", nats.url())], &[(name, &file)]);
    router.until_ready().await;
    let gateway = Gateway::connect(&nats).await;
    gateway.route(&request("default")).await
}

/// A router that loses NATS while its provider works.
async fn bus_unavailable() -> Value {
    let nats = Nats::start().await;
    let mut proxy = TcpProxy::start(nats.address()).await;
    let router = RouterProcess::start(&[("nats.url", &proxy.nats_url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let (_silent, asked) = ask_nobody(gateway, &nats).await;
    proxy.cut().await;
    eventually(LIMIT, "the router misses NATS", async || {
        router
            .readiness()
            .await
            .filter(|said| said["nats"] == false)
    })
    .await;
    proxy.restore();
    asked.await.expect("an answer")
}

//! What one tenant does to a target that others use as well, on a real router.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use beamline_extension::{Kind, RawAnswer, RawRequest};
use beamline_test_support::{LIMIT, Routing, Stub, eventually, request_with};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const ATTACKER: &str = "attacker";
const OTHER: &str = "other";
const OK: &str = r#"{"output": "hello"}"#;
const POISON: &str = r#"{"error": {"code": "500", "message": "poison"}}"#;

/// A router with one provider, under a policy of two tenants.
struct World {
    routing: Routing,
}

impl World {
    async fn start(record: Value, settings: &[(&str, &str)]) -> Self {
        let routing = Routing::start(settings).await;
        routing.gateway.register("provider", "model", record).await;
        let world = Self { routing };
        world.policy(&json!({"providers": ["model"]})).await;
        world
    }

    async fn policy(&self, policy: &Value) {
        for tenant in [ATTACKER, OTHER] {
            let body = json!({"tenant_id": tenant, "policy_id": "default", "policy": policy});
            self.routing.admin("put_policy", body).await;
        }
    }

    /// The same policy for more tenants.
    async fn policies(&self, tenants: &[&str]) {
        for tenant in tenants {
            let policy = json!({"providers": ["model"]});
            let body = json!({"tenant_id": tenant, "policy_id": "default", "policy": policy});
            self.routing.admin("put_policy", body).await;
        }
    }

    /// So many requests of a tenant at any time, until the task is ended.
    fn flood(&self, tenant: &str, at_a_time: usize) -> Attack {
        let gateway = self.routing.gateway.clone();
        let body = of(tenant, json!({}));
        Attack(tokio::spawn(async move {
            let one = || async {
                loop {
                    gateway.route(&body).await;
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let _: Vec<()> = join_all((0..at_a_time).map(|_| one())).await;
        }))
    }

    async fn model(
        &self,
        answer: impl Fn(&RawRequest) -> &'static str + Send + Sync + 'static,
    ) -> Stub {
        let answer = move |call: &RawRequest| Some(RawAnswer::from(answer(call).to_owned()));
        Stub::answering(&self.routing.nats, Kind::Provider, "model", answer).await
    }

    async fn route(&self, tenant: &str, more: Value) -> Value {
        let body = of(tenant, more);
        self.routing.gateway.route(&body).await
    }

    /// Prompts of the attacker, so many at a time, until the task is ended.
    fn attack(&self, at_a_time: usize, pause: Duration, more: Value) -> Attack {
        let gateway = self.routing.gateway.clone();
        Attack(tokio::spawn(async move {
            loop {
                let body = of(ATTACKER, more.clone());
                join_all((0..at_a_time).map(|_| gateway.route(&body))).await;
                sleep(pause).await;
            }
        }))
    }

    /// So many requests of the other tenant, and what their answers say.
    async fn others(&self, count: usize, apart: Duration) -> Vec<String> {
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(code(&self.route(OTHER, json!({})).await));
            sleep(apart).await;
        }
        codes
    }
}

struct Attack(JoinHandle<()>);

impl Drop for Attack {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn of(tenant: &str, more: Value) -> Value {
    let mut body = request_with("default", json!({"tenant_id": tenant}));
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

fn code(answer: &Value) -> String {
    let code = answer["error"]["code"].as_str();
    code.unwrap_or("ok").to_owned()
}

fn is_attackers(call: &RawRequest) -> bool {
    is_of(ATTACKER, call)
}

fn is_of(tenant: &str, call: &RawRequest) -> bool {
    let body: Value = serde_json::from_slice(&call.payload).unwrap_or_default();
    body["tenant_id"] == tenant
}

fn not_ok(codes: &[String]) -> Vec<&String> {
    codes.iter().filter(|code| *code != "ok").collect()
}

#[tokio::test]
async fn a_prompt_answered_429_keeps_others_from_the_target() {
    const LATER: &str =
        r#"{"error": {"code": "429", "message": "used up", "retry_after_ms": 60000}}"#;
    let world = World::start(json!({}), &[]).await;
    let model = world
        .model(|call| if is_attackers(call) { LATER } else { OK })
        .await;
    world.route(ATTACKER, json!({})).await;
    let told = world
        .route(ATTACKER, json!({"message": {"payload": "another prompt"}}))
        .await;
    assert_eq!(code(&told), "extension_unavailable", "{told}");
    let wait = told["error"]["details"]["retry_after_ms"].as_u64();
    assert!(wait.is_some_and(|wait| wait > 50_000), "{told}");
    let codes = world.others(44, Duration::ZERO).await;
    assert_eq!(not_ok(&codes), Vec::<&String>::new());
    assert_eq!(model.calls(), 45);
}

#[tokio::test]
async fn prompts_answered_500_keep_others_from_the_target() {
    let world = World::start(json!({}), &[]).await;
    let unlucky = AtomicUsize::new(0);
    let _model = world
        .model(move |call| {
            let is_unlucky = !is_attackers(call) && unlucky.fetch_add(1, Ordering::Relaxed) == 5;
            if is_unlucky || is_attackers(call) {
                POISON
            } else {
                OK
            }
        })
        .await;
    world.others(3, Duration::ZERO).await;
    let attack = world.attack(8, Duration::from_millis(200), json!({}));
    // One of them fails by chance, as one of the last half minute does anywhere.
    let codes = world.others(60, Duration::from_millis(50)).await;
    drop(attack);
    assert_eq!(not_ok(&codes), ["extension_error"], "{codes:?}");
}

#[tokio::test]
async fn prompts_answered_500_keep_a_breaker_open_after_an_outage() {
    let record = json!({"breaker": {"open_base_ms": 500, "jitter": 0}});
    let world = World::start(record, &[]).await;
    let is_out = Arc::new(AtomicBool::new(true));
    let out = Arc::clone(&is_out);
    let _model = world
        .model(move |call| {
            let fails = out.load(Ordering::Relaxed) || is_attackers(call);
            if fails { POISON } else { OK }
        })
        .await;
    let _attack = world.attack(8, Duration::from_millis(20), json!({}));
    eventually(LIMIT, "the breaker is open for both", async || {
        let answer = world.route(OTHER, json!({})).await;
        (code(&answer) == "extension_unavailable").then_some(())
    })
    .await;
    is_out.store(false, Ordering::Relaxed);
    let recovered = Instant::now();
    eventually(LIMIT, "the others are served again", async || {
        let codes = world.others(20, Duration::from_millis(10)).await;
        not_ok(&codes).is_empty().then_some(())
    })
    .await;
    assert!(
        recovered.elapsed() < Duration::from_secs(5),
        "{:?}",
        recovered.elapsed()
    );
}

#[tokio::test]
async fn prompts_with_too_short_deadlines_open_the_breaker() {
    const TAKES: Duration = Duration::from_millis(3_200);
    let world = World::start(json!({"timeout_ms": 4_000}), &[]).await;
    let answer = |_: RawRequest| async {
        sleep(TAKES).await;
        Some(RawAnswer::from(OK.to_owned()))
    };
    let nats = &world.routing.nats;
    let _model = Stub::waiting(nats, Kind::Provider, "model", answer).await;
    assert_eq!(code(&world.route(OTHER, json!({})).await), "ok");
    // More than half of the timeout.
    for percent in [55, 57, 59, 61, 63, 65] {
        let ms = TAKES.as_millis() * percent / 100;
        let answer = world
            .route(ATTACKER, json!({"timeout_ms": ms as u64}))
            .await;
        assert_eq!(code(&answer), "deadline_exceeded", "{answer}");
    }
    let others = (0..30).map(|_| world.route(OTHER, json!({})));
    let codes: Vec<String> = join_all(others).await.iter().map(code).collect();
    assert_eq!(not_ok(&codes), Vec::<&String>::new());
}

#[tokio::test]
async fn sixty_slow_prompts_take_all_places_of_a_target() {
    let world = World::start(json!({"max_in_flight": 20}), &[]).await;
    let answer = |call: RawRequest| async move {
        if is_attackers(&call) {
            sleep(LIMIT).await;
        }
        Some(RawAnswer::from(OK.to_owned()))
    };
    let nats = &world.routing.nats;
    let model = Stub::waiting(nats, Kind::Provider, "model", answer).await;
    assert_eq!(code(&world.route(OTHER, json!({})).await), "ok");
    let _attack = world.attack(60, Duration::ZERO, json!({}));
    eventually(LIMIT, "the slow prompts run", async || {
        (model.calls() > 10).then_some(())
    })
    .await;
    for _ in 0..10 {
        let others = (0..10).map(|_| world.route(OTHER, json!({})));
        let codes: Vec<String> = join_all(others).await.iter().map(code).collect();
        assert_eq!(not_ok(&codes), Vec::<&String>::new());
    }
}

#[tokio::test]
async fn two_tenants_fill_the_places_and_the_queue_of_a_target() {
    let record = json!({"max_in_flight": 20});
    let world = World::start(record, &[]).await;
    world.policies(&["accomplice"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let answer = move |call: RawRequest| {
        // Not all at the same time.
        let number = calls.fetch_add(1, Ordering::Relaxed) as u64;
        async move {
            if !is_of(OTHER, &call) {
                sleep(Duration::from_millis(60 + number * 37 % 120)).await;
            }
            Some(RawAnswer::from(OK.to_owned()))
        }
    };
    let nats = &world.routing.nats;
    let model = Stub::waiting(nats, Kind::Provider, "model", answer).await;
    let _attack = [ATTACKER, "accomplice"].map(|tenant| world.flood(tenant, 30));
    eventually(LIMIT, "both fill their part", async || {
        (model.calls() >= 60).then_some(())
    })
    .await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        let others = (0..7).map(|_| world.route(OTHER, json!({})));
        codes.extend(join_all(others).await.iter().map(code));
    }
    // A place comes free every 6 ms, and nobody waits for more than 100 ms.
    let served = codes.iter().filter(|code| *code == "ok").count();
    assert!(served >= 21, "{codes:?}");
}

#[tokio::test]
async fn sixty_slow_requests_take_all_places_of_the_router() {
    let world = World::start(json!({}), &[("router.max_in_flight", "50")]).await;
    let gateway = &world.routing.gateway;
    gateway.register("provider", "slow", json!({})).await;
    let policy = json!({"providers": ["slow"]});
    let body = json!({"tenant_id": ATTACKER, "policy_id": "default", "policy": policy});
    world.routing.admin("put_policy", body).await;
    let _model = world.model(|_| OK).await;
    let answer = |_: RawRequest| async {
        sleep(Duration::from_secs(4)).await;
        Some(RawAnswer::from(OK.to_owned()))
    };
    let nats = &world.routing.nats;
    let slow = Stub::waiting(nats, Kind::Provider, "slow", answer).await;
    assert_eq!(code(&world.route(OTHER, json!({})).await), "ok");
    let _attack = world.attack(60, Duration::ZERO, json!({}));
    eventually(LIMIT, "half of the places are in use", async || {
        (slow.calls() >= 25).then_some(())
    })
    .await;
    let codes = world.others(55, Duration::from_millis(10)).await;
    assert_eq!(not_ok(&codes), Vec::<&String>::new());
    assert!(slow.calls() <= 50, "{}", slow.calls());
}

/// A guard that looks at one text at a time, and takes a second for 400 KB of it.
async fn slow_guard(world: &World, record: Value) -> Stub {
    let gateway = &world.routing.gateway;
    gateway.register("validator", "guard", record).await;
    let validators = json!([{"id": "guard", "on_fail": "block"}]);
    let policy = json!({"validators": validators, "providers": ["model"]});
    world.policy(&policy).await;
    let busy = Arc::new(Mutex::new(()));
    let answer = move |call: RawRequest| {
        let busy = Arc::clone(&busy);
        async move {
            let _one = busy.lock().await;
            sleep(Duration::from_micros(call.payload.len() as u64 * 5 / 2)).await;
            Some(RawAnswer::from(r#"{"status": "ok"}"#.to_owned()))
        }
    };
    Stub::waiting(&world.routing.nats, Kind::Validator, "guard", answer).await
}

fn text_of(bytes: usize) -> Value {
    json!({"message": {"payload": "x".repeat(bytes)}})
}

#[tokio::test]
async fn sixteen_large_texts_keep_a_shared_guard_busy() {
    let world = World::start(json!({}), &[]).await;
    let _model = world.model(|_| OK).await;
    let record = json!({"timeout_ms": 5_000, "max_payload_bytes": 100_000});
    let guard = slow_guard(&world, record).await;
    let large = world.route(ATTACKER, text_of(800_000)).await;
    assert_eq!(code(&large), "invalid_request", "{large}");
    assert_eq!(large["error"]["details"]["extension_id"], "guard");
    assert_eq!(large["error"]["details"]["error_type"], "payload_too_large");
    assert_eq!(guard.calls(), 0, "it never saw it");
    let attack = world.attack(16, Duration::from_millis(500), text_of(800_000));
    let codes = world.others(67, Duration::from_millis(10)).await;
    drop(attack);
    assert_eq!(not_ok(&codes), Vec::<&String>::new());
    let states = world
        .routing
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(states["states"]["guard"]["state"], "closed", "{states}");
}

#[tokio::test]
async fn a_large_text_has_the_time_of_its_record() {
    let world = World::start(json!({}), &[]).await;
    let _model = world.model(|_| OK).await;
    let record = json!({"timeout_ms": 500, "timeout_per_mib_ms": 5_000});
    let _guard = slow_guard(&world, record).await;
    let answer = world.route(OTHER, text_of(800_000)).await;
    assert_eq!(code(&answer), "ok", "{answer}");
    let back = json!({"id": "guard", "timeout_per_mib_ms": null});
    world.routing.admin("update_extension", back).await;
    let answer = world.route(OTHER, text_of(800_000)).await;
    assert_eq!(code(&answer), "validator_blocked", "{answer}");
}

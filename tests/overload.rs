//! More than a router can carry: who is turned away is told so, once, and the rest is served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use beamline_extension::{CallContext, Completion, Extension, Kind, Prompt, Running};
use beamline_test_support::{
    Gateway, LIMIT, Nats, RouterProcess, Stub, eventually, request, request_with, serve,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A router whose model answers when the gate is opened.
struct World {
    gateway: Gateway,
    model: Running,
    gate: Arc<Semaphore>,
    router: RouterProcess,
    nats: Nats,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        // The limits here are exact, however busy the machine is with other tests.
        let own = [("nats.url", nats.url()), ("router.adaptive_limit", "false")];
        let settings: Vec<_> = settings.iter().copied().chain(own).collect();
        let router = RouterProcess::start(&settings).await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("provider", "model", json!({})).await;
        gateway
            .policy("default", &json!({"providers": [{"name": "model"}]}))
            .await;
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        let answer = move |prompt: Prompt, _call: CallContext| {
            let gate = Arc::clone(&waits);
            async move {
                drop(gate.acquire().await);
                Completion::new(&prompt.text)
            }
        };
        let model = serve(&nats, Extension::provider("model", answer)).await;
        Self {
            gateway,
            model,
            gate,
            router,
            nats,
        }
    }

    /// Requests that the model has and keeps.
    async fn hold(&self, count: usize, body: &Value) -> Vec<JoinHandle<Value>> {
        let before = self.model.in_flight();
        let one = || {
            let gateway = self.gateway.clone();
            let body = body.clone();
            tokio::spawn(async move { gateway.route(&body).await })
        };
        let held = (0..count).map(|_| one()).collect();
        eventually(LIMIT, "the model has them", async || {
            (self.model.in_flight() == before + count).then_some(())
        })
        .await;
        held
    }

    async fn release(&self, held: Vec<JoinHandle<Value>>) {
        self.gate.add_permits(1_000);
        for request in held {
            let answer = request.await.expect("no panic");
            assert_eq!(answer["ok"], true, "{answer}");
        }
    }

    async fn metric(&self, line: &str) -> bool {
        let (_, metrics) = self.router.get("/metrics").await.expect("metrics");
        metrics.lines().any(|known| known == line)
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or("ok")
}

#[tokio::test]
async fn a_flood_is_answered_to_the_last_request_and_each_once() {
    const REQUESTS: usize = 500;
    const QUIET: Duration = Duration::from_millis(300);
    let world = World::start(&[("router.max_in_flight", "4")]).await;
    world.gate.add_permits(1_000);
    let client = world.gateway.client().clone();
    let inbox = client.new_inbox();
    let mut answers = client
        .subscribe(format!("{inbox}.*"))
        .await
        .expect("a subscription");
    client.flush().await.expect("flushed");
    for number in 0..REQUESTS {
        let reply = format!("{inbox}.{number}");
        let body = request("default").to_string();
        client
            .publish_with_reply("beamline.router.v1.route", reply, body.into())
            .await
            .expect("published");
    }
    let mut by_number: HashMap<String, Vec<String>> = HashMap::new();
    while by_number.len() < REQUESTS {
        let message = timeout(LIMIT, answers.next())
            .await
            .expect("every request is answered")
            .expect("open");
        let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
        by_number
            .entry(message.subject.to_string())
            .or_default()
            .push(code(&answer).to_owned());
    }
    assert!(
        timeout(QUIET, answers.next()).await.is_err(),
        "none is answered twice"
    );
    let count = |code: &str| by_number.values().filter(|given| *given == &[code]).count();
    assert_eq!(count("ok") + count("overloaded"), REQUESTS);
    assert!(
        count("ok") >= 8 && count("overloaded") > 0,
        "{} served",
        count("ok")
    );
    for line in [
        format!("router_requests_received_total {REQUESTS}"),
        format!(
            "router_requests_answered_total{{edge=\"nats\",kind=\"route\",outcome=\"overloaded\"}} {}",
            count("overloaded")
        ),
        "router_requests_in_flight 0".to_owned(),
        "router_requests_queued 0".to_owned(),
        "router_requests_limit 4".to_owned(),
        "router_request_bytes 0".to_owned(),
    ] {
        assert!(world.metric(&line).await, "{line}");
    }
}

#[tokio::test]
async fn batch_work_is_turned_away_before_requests_that_somebody_waits_for() {
    let world = World::start(&[("router.max_in_flight", "10")]).await;
    let mut held = world.hold(7, &request("default")).await;
    let by_header = world
        .gateway
        .send(
            "route",
            request("default").to_string(),
            &[("Router-Priority", "batch")],
        )
        .await
        .json;
    let by_context = world
        .gateway
        .route(&request_with(
            "default",
            json!({"context": {"priority": "batch"}}),
        ))
        .await;
    for refused in [by_header, by_context] {
        assert_eq!(code(&refused), "overloaded", "{refused}");
        assert!(
            refused["error"]["details"]["retry_after_ms"]
                .as_u64()
                .is_some_and(|wait| wait > 0)
        );
    }
    held.extend(world.hold(3, &request("default")).await);
    assert!(
        world
            .metric("router_requests_shed_total{reason=\"batch\",priority=\"batch\"} 2")
            .await
    );

    let tree = world.gateway.admin("supervision_tree", &json!({})).await;
    let children = tree["tree"]["children"].as_array().expect("children");
    let pipelines = children
        .iter()
        .find(|child| child["name"] == "pipelines")
        .expect("pipelines");
    assert_eq!(
        [
            &pipelines["in_flight"],
            &pipelines["limit"],
            &pipelines["waiting"]
        ],
        [10, 10, 0]
    );
    world.release(held).await;
}

#[tokio::test]
async fn large_requests_are_counted_by_their_bytes() {
    let world = World::start(&[("router.max_bytes_in_flight", "4000")]).await;
    let large = request_with(
        "default",
        json!({"message": {"payload": "x".repeat(3_000)}}),
    );
    let held = world.hold(1, &large).await;
    let refused = world.gateway.route(&large).await;
    assert_eq!(code(&refused), "overloaded", "{refused}");
    assert!(
        refused["error"]["message"]
            .as_str()
            .is_some_and(|sentence| sentence.contains("bytes")),
        "{refused}"
    );
    let small = world.hold(1, &request("default")).await;
    world.release(held.into_iter().chain(small).collect()).await;
    assert_eq!(
        world.gateway.route(&large).await["ok"],
        true,
        "there is room again"
    );
}

#[tokio::test]
async fn a_tenant_over_its_rate_is_told_when_to_come_back_and_others_are_served() {
    let world = World::start(&[("router.tenant_rate", "1"), ("router.tenant_burst", "3")]).await;
    world.gate.add_permits(1_000);
    let mut refused = Vec::new();
    for _ in 0..30 {
        let answer = world.gateway.route(&request("default")).await;
        if answer["ok"] != true {
            refused.push(answer);
        }
    }
    let first = refused
        .first()
        .expect("thirty are more than three and one a second");
    assert_eq!(code(first), "rate_limited", "{first}");
    let wait = first["error"]["details"]["retry_after_ms"]
        .as_u64()
        .expect("a wait");
    assert!((1..=1_250).contains(&wait), "{wait} ms");
    let other = request_with("default", json!({"tenant_id": "other"}));
    assert_eq!(
        code(&world.gateway.route(&other).await),
        "policy_not_found",
        "it got through the door"
    );
}

#[tokio::test]
async fn calls_beyond_the_limit_of_an_extension_end_as_overloaded_and_open_no_breaker() {
    let world = World::start(&[("router.max_in_flight_per_extension", "1")]).await;
    let held = world.hold(1, &request("default")).await;
    for _ in 0..6 {
        let refused = world.gateway.route(&request("default")).await;
        assert_eq!(code(&refused), "overloaded", "{refused}");
        assert_eq!(refused["error"]["details"]["extension_id"], "model");
    }
    assert_eq!(
        world.model.in_flight(),
        1,
        "nothing was sent beyond the limit"
    );
    let states = world
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(states["states"]["model"]["state"], "closed", "{states}");
    world.release(held).await;
    assert_eq!(world.gateway.route(&request("default")).await["ok"], true);
}

#[tokio::test]
async fn an_extension_has_a_limit_of_its_own_that_changes_while_calls_run() {
    let world = World::start(&[]).await;
    let limit = async |calls: Value| {
        let answer = world
            .gateway
            .admin(
                "update_extension",
                &json!({"id": "model", "max_in_flight": calls}),
            )
            .await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer["extension"]["max_in_flight"].clone()
    };
    let refused = async || code(&world.gateway.route(&request("default")).await) == "overloaded";
    assert_eq!(limit(json!(2)).await, 2);
    let mut held = world.hold(2, &request("default")).await;
    assert!(refused().await);
    limit(json!(3)).await;
    held.extend(world.hold(1, &request("default")).await);
    assert!(refused().await);
    limit(json!(1)).await;
    assert_eq!(world.model.in_flight(), 3, "what runs goes on");
    assert_eq!(limit(Value::Null).await, Value::Null);
    held.extend(world.hold(5, &request("default")).await);
    world.release(held).await;

    let wrong = world
        .gateway
        .admin(
            "update_extension",
            &json!({"id": "model", "max_in_flight": 10_001}),
        )
        .await;
    assert_eq!(
        wrong["error"]["details"]["mistakes"][0]["pointer"], "/max_in_flight",
        "{wrong}"
    );
}

#[tokio::test]
async fn an_extension_that_has_too_much_to_do_gets_fewer_calls_and_everybody_can_see_it() {
    let world = World::start(&[]).await;
    world
        .gateway
        .register("provider", "busy", json!({"max_in_flight": 40}))
        .await;
    world
        .gateway
        .policy("busy", &json!({"providers": ["busy"]}))
        .await;
    let too_much = r#"{"error": {"code": "429", "message": "too many requests"}}"#;
    let busy = Stub::saying(&world.nats, Kind::Provider, "busy", too_much).await;
    world.gateway.route(&request("busy")).await;
    assert_eq!(busy.calls(), 1);
    let shown = world
        .gateway
        .admin("get_extension_health", &json!({}))
        .await["health"]["busy"]
        .clone();
    assert_eq!(
        [
            &shown["limit"],
            &shown["ceiling"],
            &shown["in_flight"],
            &shown["waiting"]
        ],
        [36, 40, 0, 0],
        "{shown}"
    );
    let tree = world.gateway.admin("supervision_tree", &json!({})).await;
    let invokers = tree["tree"]["children"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|child| child["name"] == "invokers");
    let busy = &invokers.expect("invokers")["children"][0];
    assert_eq!(
        [&busy["name"], &busy["limit"], &busy["ceiling"]],
        [&json!("invoker:busy"), &json!(36), &json!(40)]
    );
    assert!(
        world
            .metric("extension_limit{extension_id=\"busy\"} 36")
            .await
    );
    let states = world
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(
        [
            &states["states"]["busy"]["state"],
            &states["states"]["busy"]["failure_count"]
        ],
        [&json!("closed"), &json!(0)]
    );
}

#[tokio::test]
async fn a_router_without_memory_refuses_requests_and_can_still_be_administered() {
    let world = World::start(&[("router.memory_limit_mib", "1")]).await;
    world.gate.add_permits(1_000);
    let refused = eventually(LIMIT, "requests are refused", async || {
        let answer = world.gateway.route(&request("default")).await;
        (code(&answer) == "overloaded").then_some(answer)
    })
    .await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .is_some_and(|sentence| sentence.contains("memory")),
        "{refused}"
    );
    assert!(
        refused["error"]["details"]["retry_after_ms"]
            .as_u64()
            .is_some_and(|wait| wait > 0),
        "{refused}"
    );
    let (_, metrics) = world.router.get("/metrics").await.expect("metrics");
    assert!(
        metrics
            .contains("router_requests_shed_total{reason=\"pressure\",priority=\"interactive\"}"),
        "{metrics}"
    );
    assert!(
        metrics.lines().any(|line| line == "router_pressure 3"),
        "{metrics}"
    );
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("router_memory_ratio ")),
        "{metrics}"
    );
    assert_eq!(
        world.router.get("/healthz").await.map(|(status, _)| status),
        Some(200)
    );
    let tree = world.gateway.admin("supervision_tree", &json!({})).await;
    assert_eq!(tree["router"]["pressure"], "critical", "{tree}");
    assert!(
        tree["router"]["memory_used"]
            .as_f64()
            .is_some_and(|share| share > 1.0),
        "{tree}"
    );
}

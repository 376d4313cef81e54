//! The time of a request, and who may use it: what calls carry of it, what is cut, and who retries.

use std::time::{Duration, SystemTime};

use beamline_extension::{Kind, RawRequest};
use beamline_test_support::{Gateway, Nats, RouterProcess, Stub, request, request_with};
use serde_json::{Value, json};

/// Busy, and says that it may be asked again. No breaker counts that.
const BUSY: &str = r#"{"error": {"code": 429, "message": "busy", "retryable": true}}"#;
const FINE: &str = r#"{"output": "fine"}"#;

struct World {
    gateway: Gateway,
    _router: RouterProcess,
    nats: Nats,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let settings: Vec<_> = settings
            .iter()
            .copied()
            .chain([("nats.url", nats.url())])
            .collect();
        let router = RouterProcess::start(&settings).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            _router: router,
            nats,
        }
    }

    async fn extension(&self, kind: Kind, id: &str, retry: u32, answer: &str) -> Stub {
        self.gateway
            .register(kind.as_str(), id, json!({"retry": retry}))
            .await;
        Stub::saying(&self.nats, kind, id, answer).await
    }
}

fn header(call: &RawRequest, name: &str) -> String {
    call.headers
        .get(name)
        .map(ToString::to_string)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn every_call_carries_the_time_that_is_left() {
    let world = World::start(&[]).await;
    let stubs = [
        world.extension(Kind::Pre, "edit", 0, "{}").await,
        world
            .extension(Kind::Validator, "guard", 0, r#"{"status": "ok"}"#)
            .await,
        world.extension(Kind::Provider, "model", 0, FINE).await,
        world.extension(Kind::Post, "polish", 0, "{}").await,
    ];
    let policy = json!({"pre": [{"id": "edit"}], "validators": [{"id": "guard"}], "providers": ["model"],
        "post": [{"id": "polish"}]});
    world.gateway.policy("all", &policy).await;
    let sent_at = SystemTime::now();
    let answer = world
        .gateway
        .route(&request_with("all", json!({"timeout_ms": 10_000})))
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    let mut left_before = 10_000;
    for stub in stubs {
        let call = stub.last();
        let left: u64 = header(&call, "Router-Timeout-Ms")
            .parse()
            .expect("a number");
        // A fiftieth is kept back for the answer.
        assert!(
            left <= left_before && left <= 9_800,
            "{left} after {left_before}"
        );
        left_before = left;
        let deadline =
            humantime::parse_rfc3339(&header(&call, "Router-Deadline")).expect("RFC 3339");
        let latest = SystemTime::now() + Duration::from_millis(9_800);
        assert!(deadline > sent_at && deadline <= latest, "{deadline:?}");
        assert_eq!(header(&call, "Router-Attempt"), "1");
    }
}

#[tokio::test]
async fn more_time_than_there_is_is_cut_and_the_answer_says_so() {
    let world = World::start(&[
        ("router.max_timeout", "10s"),
        ("router.default_timeout", "5s"),
    ])
    .await;
    let model = world.extension(Kind::Provider, "model", 0, FINE).await;
    world
        .gateway
        .policy("one", &json!({"providers": ["model"]}))
        .await;
    let clamped = async |policy: &str, timeout: Value| {
        let body = request_with(policy, json!({"timeout_ms": timeout})).to_string();
        let answer = world.gateway.send("route", body, &[]).await;
        answer
            .headers
            .get("Router-Timeout-Clamped")
            .map(ToString::to_string)
    };
    assert_eq!(
        clamped("one", json!(60_000)).await.as_deref(),
        Some("10000")
    );
    assert!(
        header(&model.last(), "Router-Timeout-Ms")
            .parse::<u64>()
            .expect("a number")
            <= 10_000
    );
    assert_eq!(
        clamped("none", json!(60_000)).await.as_deref(),
        Some("10000"),
        "an error answer says it, too"
    );
    assert_eq!(clamped("one", json!(10_000)).await, None);
}

#[tokio::test]
async fn what_is_read_after_its_callers_deadline_is_not_executed() {
    let world = World::start(&[]).await;
    let model = world.extension(Kind::Provider, "model", 0, FINE).await;
    world
        .gateway
        .policy("one", &json!({"providers": ["model"]}))
        .await;
    let sent = async |deadline: &str| {
        let body = request_with("one", json!({})).to_string();
        world
            .gateway
            .send("route", body, &[("Router-Deadline", deadline)])
            .await
            .json
    };
    let ago = |age: Duration| humantime::format_rfc3339_millis(SystemTime::now() - age).to_string();
    let late = sent(&ago(Duration::from_secs(5))).await;
    assert_eq!(
        (&late["error"]["code"], model.calls()),
        (&json!("deadline_exceeded"), 0),
        "{late}"
    );
    for fine in [
        ago(Duration::ZERO),
        "2999-01-01T00:00:00Z".to_owned(),
        "soon".to_owned(),
    ] {
        assert_eq!(
            sent(&fine).await["ok"],
            true,
            "clocks differ a little: {fine}"
        );
    }
}

#[tokio::test]
async fn a_deadline_names_the_stage_where_it_was_reached() {
    let world = World::start(&[]).await;
    world.gateway.register("pre", "edit", json!({})).await;
    let _silent = Stub::answering(&world.nats, Kind::Pre, "edit", |_| None).await;
    let _model = world.extension(Kind::Provider, "model", 0, FINE).await;
    world
        .gateway
        .policy(
            "slow",
            &json!({"pre": [{"id": "edit"}], "providers": ["model"]}),
        )
        .await;
    let answer = world
        .gateway
        .route(&request_with("slow", json!({"timeout_ms": 300})))
        .await;
    let error = &answer["error"];
    assert_eq!(
        (
            &error["code"],
            &error["details"]["stage"],
            &error["details"]["extension_id"]
        ),
        (&json!("deadline_exceeded"), &json!("pre"), &json!("edit")),
        "{answer}"
    );
}

#[tokio::test]
async fn what_attempt_it_is_of_its_caller_changes_nothing() {
    let world = World::start(&[]).await;
    let edit = world.extension(Kind::Pre, "edit", 2, BUSY).await;
    let model = world.extension(Kind::Provider, "model", 1, BUSY).await;
    let spare = world.extension(Kind::Provider, "spare", 0, FINE).await;
    let policy = json!({"pre": [{"id": "edit"}], "providers": [{"name": "model"}],
        "fallbacks": [{"when": {"status": "429"}, "to": "spare"}]});
    world.gateway.policy("both", &policy).await;
    let calls = || [edit.calls(), model.calls(), spare.calls()];

    let first = world
        .gateway
        .send(
            "route",
            request("both").to_string(),
            &[("Router-Attempt", "1")],
        )
        .await;
    assert_eq!(
        first.json["response"]["provider_id"], "spare",
        "{}",
        first.text
    );
    assert_eq!(calls(), [3, 1, 1]);
    let again = world
        .gateway
        .send(
            "route",
            request("both").to_string(),
            &[("Router-Attempt", "2")],
        )
        .await;
    assert_eq!(
        again.json["response"]["provider_id"], "spare",
        "{}",
        again.text
    );
    assert_eq!(calls(), [6, 2, 2]);
}

#[tokio::test]
async fn an_extension_that_always_fails_gets_no_storm_of_retries() {
    const REQUESTS: usize = 200;
    let world = World::start(&[]).await;
    let edit = world.extension(Kind::Pre, "edit", 1, BUSY).await;
    let _model = world.extension(Kind::Provider, "model", 0, FINE).await;
    let policy = json!({"pre": [{"id": "edit", "mode": "required"}], "providers": ["model"]});
    world.gateway.policy("strict", &policy).await;
    let mut exhausted = 0;
    for _ in 0..REQUESTS {
        let answer = world.gateway.route(&request("strict")).await;
        assert_eq!(answer["error"]["code"], "pre_processor_failed", "{answer}");
        exhausted += usize::from(answer["error"]["details"]["retry_budget_exhausted"] == true);
    }
    let retries = edit.calls() - REQUESTS;
    assert!(exhausted > 0 && retries > 0, "{retries} retries");
    assert_eq!(
        retries + exhausted,
        REQUESTS,
        "each was tried again, or says why not"
    );
}

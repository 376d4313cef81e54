//! One tenant takes up more than its part of the router itself.

use beamline_extension::{Kind, RawAnswer, RawRequest};
use beamline_test_support::{LIMIT, Routing, Stub, eventually, request_with};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::time::sleep;

const OK: &str = r#"{"output": "hello"}"#;

fn of(tenant: &str, bytes: usize) -> Value {
    let payload = "x".repeat(bytes);
    let more = json!({"tenant_id": tenant, "message": {"payload": payload}});
    request_with("default", more)
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or("ok")
}

async fn policy_of(routing: &Routing, tenant: &str, id: &str, policy: &Value) -> Value {
    let body = json!({"tenant_id": tenant, "policy_id": id, "policy": policy});
    routing.gateway.admin("put_policy", &body).await
}

/// A provider under the default policy of two tenants.
async fn start(settings: &[(&str, &str)]) -> Routing {
    let routing = Routing::start(settings).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    for tenant in ["attacker", "other"] {
        let saved = policy_of(
            &routing,
            tenant,
            "default",
            &json!({"providers": ["model"]}),
        )
        .await;
        assert_eq!(saved["ok"], true, "{saved}");
    }
    routing
}

#[tokio::test]
async fn large_bodies_are_counted_as_one_nameless_tenant() {
    let limits = [("router.tenant_rate", "1"), ("router.tenant_burst", "3")];
    let routing = start(&limits).await;
    let _model = Stub::saying(&routing.nats, Kind::Provider, "model", OK).await;
    let attack = (0..10).map(|_| async {
        let answer = routing.gateway.route(&of("attacker", 100_000)).await;
        code(&answer).to_owned()
    });
    let codes = join_all(attack).await;
    assert!(codes.iter().any(|code| code == "rate_limited"), "{codes:?}");
    for _ in 0..3 {
        // The tenant is the last of its fields.
        let mut body = of("other", 900_000);
        if let Some(fields) = body.as_object_mut() {
            fields.remove("tenant_id");
        }
        let body = body.to_string();
        let body = body.strip_suffix('}').expect("an object");
        let body = format!(r#"{body},"tenant_id":"other"}}"#);
        let answer = routing.gateway.send("route", body, &[]).await.json;
        assert_eq!(code(&answer), "ok", "{answer}");
    }
}

#[tokio::test]
async fn one_tenant_keeps_all_places_of_the_router() {
    let routing = start(&[("quotas.requests_in_flight_per_tenant", "3")]).await;
    let answer = |call: RawRequest| async move {
        let body: Value = serde_json::from_slice(&call.payload).unwrap_or_default();
        if body["tenant_id"] == "attacker" {
            sleep(LIMIT).await;
        }
        Some(RawAnswer::from(OK.to_owned()))
    };
    let model = Stub::waiting(&routing.nats, Kind::Provider, "model", answer).await;
    let gateway = routing.gateway.clone();
    let attack = tokio::spawn(async move {
        let body = of("attacker", 1);
        join_all((0..3).map(|_| gateway.route(&body))).await;
    });
    eventually(LIMIT, "three are in flight", async || {
        (model.calls() == 3).then_some(())
    })
    .await;
    let refused = routing.gateway.route(&of("attacker", 1)).await;
    assert_eq!(code(&refused), "rate_limited", "{refused}");
    let details = &refused["error"]["details"];
    assert_eq!(details["quota"], "requests_in_flight_per_tenant");
    assert!(
        details["retry_after_ms"]
            .as_u64()
            .is_some_and(|wait| wait > 0)
    );
    assert_eq!(code(&routing.gateway.route(&of("other", 1)).await), "ok");
    attack.abort();
}

#[tokio::test]
async fn one_tenant_fills_the_registry_with_policies() {
    let limits = [
        ("quotas.policies_per_tenant", "2"),
        ("quotas.policy_bytes_per_tenant", "2000"),
    ];
    let routing = start(&limits).await;
    let small = json!({"providers": ["model"]});
    let large = json!({"providers": ["model"], "metadata": {"note": "x".repeat(2_000)}});
    assert_eq!(
        policy_of(&routing, "attacker", "two", &small).await["ok"],
        true
    );
    for (id, policy, quota) in [
        ("three", &small, "policies_per_tenant"),
        ("two", &large, "policy_bytes_per_tenant"),
    ] {
        let refused = policy_of(&routing, "attacker", id, policy).await;
        assert_eq!(code(&refused), "conflict", "{refused}");
        assert_eq!(refused["error"]["details"]["quota"], quota, "{refused}");
    }
    let many = (0..6).map(|n| {
        let id = format!("p{n}");
        let routing = &routing;
        let small = &small;
        async move { policy_of(routing, "other", &id, small).await["ok"] == true }
    });
    let saved = join_all(many).await;
    let saved = saved.into_iter().filter(|saved| *saved).count();
    assert_eq!(saved, 1, "also of those that come together");
}

#[tokio::test]
async fn large_policies_that_come_together_pass_the_quota() {
    let routing = start(&[("quotas.policy_bytes_per_tenant", "100000")]).await;
    let large = json!({"providers": ["model"], "metadata": {"note": "x".repeat(60_000)}});
    let routing = &routing;
    let large = &large;
    let many = (0..4).map(|n| async move {
        let saved = policy_of(routing, "attacker", &format!("p{n}"), large).await;
        code(&saved).to_owned()
    });
    // What others write meanwhile is written all the same.
    let others = (0..24).map(|n| async move {
        let small = json!({"providers": ["model"]});
        let saved = policy_of(routing, &format!("tenant{n}"), "default", &small).await;
        code(&saved).to_owned()
    });
    let (many, others) = join(join_all(many), join_all(others)).await;
    let saved = many.iter().filter(|code| *code == "ok").count();
    assert_eq!(saved, 1, "{many:?}");
    assert!(others.iter().all(|code| code == "ok"), "{others:?}");
}

#[tokio::test]
async fn the_registry_is_filled_with_extensions() {
    let routing = start(&[("quotas.extensions", "9")]).await;
    let create = async |id: &str| {
        let record = json!({"id": id, "type": "pre"});
        routing.gateway.admin("create_extension", &record).await
    };
    let mut refused = create("more0").await;
    for n in 1..9 {
        if refused["ok"] != true {
            break;
        }
        refused = create(&format!("more{n}")).await;
    }
    assert_eq!(code(&refused), "conflict", "{refused}");
    assert_eq!(refused["error"]["details"]["quota"], "extensions");
    let all = routing.admin("list_extensions", json!({})).await;
    assert_eq!(all["extensions"].as_array().map(Vec::len), Some(9), "{all}");
}

#[tokio::test]
async fn small_requests_that_grow_fill_the_memory() {
    let routing = start(&[("router.max_bytes_in_flight", "400000")]).await;
    routing.gateway.register("pre", "grow", json!({})).await;
    let policy = json!({"pre": [{"id": "grow", "mode": "required"}], "providers": ["model"]});
    policy_of(&routing, "attacker", "default", &policy).await;
    let grown = json!({"payload": {"payload": "x".repeat(300_000)}}).to_string();
    let _grow = Stub::saying(&routing.nats, Kind::Pre, "grow", &grown).await;
    let answer = |_: RawRequest| async {
        sleep(LIMIT).await;
        None
    };
    let model = Stub::waiting(&routing.nats, Kind::Provider, "model", answer).await;
    let gateway = routing.gateway.clone();
    let held = tokio::spawn(async move { gateway.route(&of("attacker", 1)).await });
    eventually(LIMIT, "the model has it", async || {
        (model.calls() == 1).then_some(())
    })
    .await;
    let refused = routing.gateway.route(&of("other", 1_000)).await;
    assert_eq!(code(&refused), "overloaded", "{refused}");
    let sentence = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(sentence.contains("bytes"), "{sentence}");
    held.abort();
}

#[tokio::test]
async fn one_tenant_begins_sessions_without_end() {
    let routing = start(&[("quotas.sessions_per_tenant", "6")]).await;
    let _model = Stub::saying(&routing.nats, Kind::Provider, "model", OK).await;
    let sticky = json!({"enabled": true, "session_key": "user", "ttl": "10m"});
    let policy = json!({"providers": ["model"], "sticky": sticky});
    for tenant in ["attacker", "other"] {
        assert_eq!(
            policy_of(&routing, tenant, "default", &policy).await["ok"],
            true
        );
    }
    let ask = async |tenant: &str, user: usize| {
        let more = json!({"tenant_id": tenant, "context": {"user": format!("u{user}")}});
        let answer = routing.gateway.route(&request_with("default", more)).await;
        let quota = answer["error"]["details"]["quota"]
            .as_str()
            .map(str::to_owned);
        (code(&answer).to_owned(), quota)
    };
    let ok = ("ok".to_owned(), None);
    for user in 0..3 {
        assert_eq!(ask("attacker", user).await, ok);
    }
    let refused = (
        "rate_limited".to_owned(),
        Some("sessions_per_tenant".to_owned()),
    );
    assert_eq!(ask("attacker", 3).await, refused);
    assert_eq!(ask("attacker", 0).await, ok, "what it has goes on");
    assert_eq!(ask("other", 3).await, ok);
}

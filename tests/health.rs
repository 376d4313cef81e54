//! How extensions do: who is back is found before its open time is over, and the figures are
//! written down.

use beamline_extension::Kind;
use beamline_test_support::{
    LIMIT, PostgresDatabase, Routing, Stub, eventually, lines, request, request_with,
};
use serde_json::{Value, json};

async fn alive(routing: &Routing, id: &str) -> Value {
    routing.admin("get_extension_health", json!({})).await["health"][id]["alive"].clone()
}

async fn state(routing: &Routing, id: &str) -> Value {
    routing.admin("get_circuit_breaker_states", json!({})).await["states"][id]["state"].clone()
}

#[tokio::test]
async fn an_extension_that_is_back_is_used_before_its_open_time_is_over() {
    let routing = Routing::start(&[]).await;
    // Ten times longer than this test may take.
    let breaker =
        json!({"consecutive_failures": 2, "open_base_ms": 600_000, "open_cap_ms": 600_000});
    routing
        .gateway
        .register("provider", "model", json!({"breaker": breaker}))
        .await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    eventually(LIMIT, "it opens", async || {
        routing.gateway.route(&request("chat")).await;
        (state(&routing, "model").await == "open").then_some(())
    })
    .await;
    eventually(LIMIT, "its silence is noticed", async || {
        (alive(&routing, "model").await == false).then_some(())
    })
    .await;
    assert_eq!(state(&routing, "model").await, "open");

    let model = Stub::saying(
        &routing.nats,
        Kind::Provider,
        "model",
        r#"{"output": "hello"}"#,
    )
    .await;
    eventually(LIMIT, "its return is noticed", async || {
        (state(&routing, "model").await == "half_open").then_some(())
    })
    .await;
    assert_eq!(model.calls(), 0, "a ping is no call");
    for _ in 0..3 {
        assert_eq!(
            state(&routing, "model").await,
            "half_open",
            "only calls close"
        );
        assert_eq!(routing.gateway.route(&request("chat")).await["ok"], true);
    }
    assert_eq!(
        (state(&routing, "model").await, model.calls()),
        (json!("closed"), 3)
    );
}

#[tokio::test]
async fn the_database_has_a_line_for_each_extension_and_replica() {
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let routing = Routing::start(&[
        ("database.url", &url),
        ("database.health_interval", "100ms"),
    ])
    .await;
    let _good = routing.provider("good").await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["good"]}))
        .await;
    assert_eq!(routing.gateway.route(&request("chat")).await["ok"], true);

    let mut connection = database.connect().await;
    let line = eventually(LIMIT, "a line is written", async || {
        let sql = "SELECT replica, status, success_rate, latency_ms > 0 AND last_failure_at IS NULL \
                   AND last_success_at > now() - interval '10 minutes' FROM extension_health WHERE extension_id = 'good'";
        sqlx::query_as::<_, (String, String, f64, bool)>(sql).fetch_optional(&mut connection).await.expect("an answer")
    })
    .await;
    let target = eventually(LIMIT, "one for its version, too", async || {
        let sql = "SELECT version, instance, status, requests, latency_p50_ms > 0 AND latency_p99_ms >= latency_p95_ms \
                   FROM extension_target_health WHERE extension_id = 'good' AND subject = 'beamline.provider.good.v1'";
        sqlx::query_as::<_, (String, Option<String>, String, i64, bool)>(sql)
            .fetch_optional(&mut connection)
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(
        target,
        ("v1".to_owned(), None, "healthy".to_owned(), 1, true)
    );
    let tree = routing.admin("supervision_tree", json!({})).await;
    let replica = tree["router"]["instance_id"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert_eq!(line, (replica, "healthy".to_owned(), 1.0, true));
}

#[tokio::test]
async fn figures_are_told_by_version_and_instance() {
    let routing = Routing::start(&[]).await;
    let _good = routing.provider("good").await;
    let subject = "beamline.ext.pre.clean.eu";
    let record = json!({"instances": [{"instance_id": "eu", "subject": subject}],
        "versions": [{"version": "v2", "routing_rules": {"lang": "de"}}]});
    routing.gateway.register("pre", "clean", record).await;
    let _eu = Stub::at(&routing.nats, subject, Kind::Pre, "clean", "{}").await;
    let _next = Stub::at(
        &routing.nats,
        "beamline.ext.pre.clean.v2",
        Kind::Pre,
        "clean",
        "{}",
    )
    .await;
    routing
        .gateway
        .policy(
            "chat",
            &json!({"pre": [{"id": "clean"}], "providers": ["good"]}),
        )
        .await;
    for lang in ["en", "en", "de"] {
        let answer = routing
            .gateway
            .route(&request_with("chat", json!({"context": {"lang": lang}})))
            .await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let lines = eventually(LIMIT, "the figures are published", async || {
        let health =
            routing.admin("get_extension_health", json!({})).await["health"]["clean"].clone();
        (health["requests"] == 3).then(|| {
            lines(
                &health["targets"],
                &["version", "instance", "status", "requests"],
            )
        })
    })
    .await;
    assert_eq!(lines, ["v1 eu healthy 2", "v2 null healthy 1"]);
}

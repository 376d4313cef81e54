//! How extensions do: who is back is found before its open time is over, and the figures are written down.

use beamline_extension::Kind;
use serde_json::{Value, json};

use crate::support::{LIMIT, PostgresDatabase, Routing, Stub, eventually, request};

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
    let breaker = json!({"consecutive_failures": 2, "open_base_ms": 600_000, "open_cap_ms": 600_000});
    routing.gateway.register("provider", "model", json!({"breaker": breaker})).await;
    routing.gateway.policy("chat", &json!({"providers": ["model"]})).await;
    eventually(LIMIT, "it opens", async || {
        routing.gateway.route(&request("chat")).await;
        (state(&routing, "model").await == "open").then_some(())
    })
    .await;
    eventually(LIMIT, "its silence is noticed", async || (alive(&routing, "model").await == false).then_some(())).await;
    assert_eq!(state(&routing, "model").await, "open");

    let model = Stub::saying(&routing.nats, Kind::Provider, "model", r#"{"output": "hello"}"#).await;
    eventually(LIMIT, "its return is noticed", async || (state(&routing, "model").await == "half_open").then_some(()))
        .await;
    assert_eq!(model.calls(), 0, "a ping is no call");
    for _ in 0..3 {
        assert_eq!(state(&routing, "model").await, "half_open", "only calls close");
        assert_eq!(routing.gateway.route(&request("chat")).await["ok"], true);
    }
    assert_eq!((state(&routing, "model").await, model.calls()), (json!("closed"), 3));
}

#[tokio::test]
async fn the_database_has_a_line_for_each_extension_and_replica() {
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let routing = Routing::start(&[("database.url", &url), ("database.health_interval", "100ms")]).await;
    let _good = routing.provider("good").await;
    routing.gateway.policy("chat", &json!({"providers": ["good"]})).await;
    assert_eq!(routing.gateway.route(&request("chat")).await["ok"], true);

    let mut connection = database.connect().await;
    let line = eventually(LIMIT, "a line is written", async || {
        let sql = "SELECT replica, status, success_rate, latency_ms > 0 AND last_failure_at IS NULL \
                   AND last_success_at > now() - interval '10 minutes' FROM extension_health WHERE extension_id = 'good'";
        sqlx::query_as::<_, (String, String, f64, bool)>(sql).fetch_optional(&mut connection).await.expect("an answer")
    })
    .await;
    let tree = routing.admin("supervision_tree", json!({})).await;
    let replica = tree["router"]["instance_id"].as_str().expect("a name").to_owned();
    assert_eq!(line, (replica, "healthy".to_owned(), 1.0, true));
}

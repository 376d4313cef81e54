//! What somebody who may write has the administration do.

use beamline_extension::Kind;
use beamline_test_support::{PostgresDatabase, RouterProcess, Routing, Stub, request};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use sqlx::Executor;

const OK: &str = r#"{"output": "hello"}"#;
const POLICY: &str = r#"{"providers": ["model"]}"#;

async fn start(settings: &[(&str, &str)]) -> (Routing, Stub) {
    let routing = Routing::start(settings).await;
    let gateway = &routing.gateway;
    gateway.register("provider", "model", json!({})).await;
    let model = Stub::saying(&routing.nats, Kind::Provider, "model", OK).await;
    (routing, model)
}

async fn put(routing: &Routing, tenant: &str) -> Value {
    let policy: Value = serde_json::from_str(POLICY).expect("a policy");
    let body = json!({"tenant_id": tenant, "policy_id": "default", "policy": policy});
    routing.gateway.admin("put_policy", &body).await
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_tenant_is_named_so_that_it_looks_like_another() {
    let database = PostgresDatabase::create().await;
    let (mut routing, _model) = start(&[("database.url", &database.url())]).await;
    assert_eq!(put(&routing, "acme").await["ok"], true);
    for name in [
        "ac\u{200b}me",
        "acme ",
        "\u{202e}emca",
        "acme\u{3164}",
        "ac me",
    ] {
        let refused = put(&routing, name).await;
        assert!(message(&refused).starts_with("/tenant_id "), "{refused}");
        let key = json!({"role": "viewer", "tenant_id": name});
        let refused = routing.gateway.admin("create_key", &key).await;
        assert!(message(&refused).contains("/tenant_id "), "{refused}");
    }

    // Whom an earlier release has let in may go on.
    let renamed = "UPDATE policies SET tenant_id = 'Acme GmbH' WHERE tenant_id = 'acme'";
    routing.router.kill();
    let mut connection = database.connect().await;
    connection.execute(renamed).await.expect("renamed");
    let database = database.url();
    let settings = [
        ("nats.url", routing.nats.url()),
        ("database.url", &database),
    ];
    let _next = RouterProcess::start(&settings).await;
    assert_eq!(put(&routing, "Acme GmbH").await["ok"], true);
    assert_eq!(put(&routing, "Acme AG").await["ok"], false);
}

#[tokio::test]
async fn large_documents_keep_requests_waiting() {
    let (routing, _model) = start(&[]).await;
    assert_eq!(put(&routing, "acme").await["ok"], true);
    let keys = (0..30_000).map(|number| (format!("unknown_key_{number}"), json!(number)));
    let policy = Value::Object(keys.collect());
    let body = json!({"tenant_id": "acme", "policy_id": "default", "policy": policy});
    let writes = (0..20).map(|_| routing.gateway.admin("put_policy", &body));
    let question = request("default");
    let asks = (0..50).map(|_| routing.gateway.route(&question));
    let (refused, answered) = join(join_all(writes), join_all(asks)).await;
    for answer in answered {
        assert_eq!(answer["ok"], true, "{answer}");
    }
    for answer in refused {
        let code = answer["error"]["code"].as_str();
        let known = ["invalid_request", "overloaded"];
        assert!(code.is_some_and(|code| known.contains(&code)), "{answer}");
    }
    // A large document that is right is saved.
    let config = json!({"words": vec!["word"; 20_000]});
    let record = json!({"config": config});
    routing.gateway.register("pre", "large", record).await;
}

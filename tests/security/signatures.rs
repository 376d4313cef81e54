//! What somebody can do who reads every message on the bus, and sends some of them again.

use std::time::{Duration, SystemTime};

use beamline_router::keys::{Signed, Signer, nonce};
use beamline_test_support::{Gateway, Nats, PostgresDatabase, RouterProcess};
use serde_json::{Value, json};

const KEY: &str = "a-key-of-enough-length";

/// A request as it stands on the bus.
#[derive(Clone)]
struct Seen {
    operation: String,
    body: String,
    headers: Vec<(&'static str, String)>,
}

impl Seen {
    fn signed(operation: &str, body: &Value) -> Self {
        Self::signed_at(operation, body, SystemTime::now())
    }

    fn signed_at(operation: &str, body: &Value, at: SystemTime) -> Self {
        let body = body.to_string();
        let date = humantime::format_rfc3339_millis(at).to_string();
        let nonce = nonce().expect("random numbers");
        let authorization = Signer::new(KEY).authorization(&Signed {
            subject: &format!("beamline.router.v1.admin.{operation}"),
            date: &date,
            nonce: &nonce,
            body: body.as_bytes(),
        });
        Self {
            operation: operation.to_owned(),
            body,
            headers: vec![
                ("Authorization", authorization),
                ("Router-Date", date),
                ("Router-Nonce", nonce),
            ],
        }
    }

    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(known, _)| *known == name);
        &mut found.expect("a header").1
    }

    /// `ok`, or the code of its refusal.
    async fn send(&self, gateway: &Gateway) -> String {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let operation = format!("admin.{}", self.operation);
        let answer = gateway.send(&operation, self.body.clone(), &headers);
        let answer = answer.await.json;
        let code = answer["error"]["code"].as_str();
        code.unwrap_or("ok").to_owned()
    }
}

struct World {
    gateway: Gateway,
    _routers: Vec<RouterProcess>,
    _nats: Nats,
    _database: Option<PostgresDatabase>,
}

impl World {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let settings = [("nats.url", nats.url()), ("admin.api_key", KEY)];
        let router = RouterProcess::start(&settings).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            _routers: vec![router],
            _nats: nats,
            _database: None,
        }
    }

    async fn with_two_replicas() -> Self {
        let nats = Nats::start().await;
        let database = PostgresDatabase::create().await;
        let url = database.url();
        let settings = [
            ("nats.url", nats.url()),
            ("admin.api_key", KEY),
            ("database.url", &url),
        ];
        let (one, other) = tokio::join!(
            RouterProcess::start(&settings),
            RouterProcess::start(&settings)
        );
        Self {
            gateway: Gateway::connect(&nats).await,
            _routers: vec![one, other],
            _nats: nats,
            _database: Some(database),
        }
    }
}

fn policy() -> Value {
    json!({"tenant_id": "acme", "policy_id": "p", "policy": {"version": "1.0", "providers": ["mock_provider"]}})
}

#[tokio::test]
async fn a_write_that_was_read_on_the_bus_is_sent_again() {
    let world = World::with_two_replicas().await;
    let seen = Seen::signed("put_policy", &policy());
    assert_eq!(seen.send(&world.gateway).await, "ok");
    for _ in 0..12 {
        assert_eq!(seen.send(&world.gateway).await, "unauthorized");
    }
    let look = Seen::signed("list_keys", &json!({}));
    assert_eq!(look.send(&world.gateway).await, "ok");
}

#[tokio::test]
async fn a_write_that_changed_nothing_is_sent_again_when_it_would() {
    let world = World::with_two_replicas().await;
    let own = async |operation: &str, body: Value| {
        Seen::signed(operation, &body).send(&world.gateway).await
    };
    let guard = json!({"id": "pii_guard"});
    // It is enabled already.
    let enable = Seen::signed("enable_extension", &guard);
    assert_eq!(enable.send(&world.gateway).await, "ok");
    assert_eq!(own("disable_extension", guard.clone()).await, "ok");
    // Refused, and possible later.
    let create = Seen::signed(
        "create_extension",
        &json!({"id": "pii_guard", "type": "pre"}),
    );
    assert_eq!(create.send(&world.gateway).await, "conflict");
    assert_eq!(own("delete_extension", guard).await, "ok");
    for _ in 0..8 {
        assert_eq!(enable.send(&world.gateway).await, "unauthorized");
        assert_eq!(create.send(&world.gateway).await, "unauthorized");
    }
}

#[tokio::test]
async fn a_signature_is_put_under_something_else() {
    let world = World::start().await;
    let seen = Seen::signed("put_policy", &policy());
    let refused = async |change: &dyn Fn(&mut Seen)| {
        let mut forged = seen.clone();
        change(&mut forged);
        assert_eq!(forged.send(&world.gateway).await, "unauthorized");
    };
    refused(&|forged| forged.body = forged.body.replace("acme", "globex")).await;
    refused(&|forged| forged.body.push(' ')).await;
    refused(&|forged| forged.operation = "delete_policy".into()).await;
    refused(&|forged| *forged.header("Router-Nonce") = nonce().expect("random numbers")).await;
    refused(&|forged| {
        let now = humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_secs(1));
        *forged.header("Router-Date") = now.to_string();
    })
    .await;
    refused(&|forged| {
        let header = forged.header("Authorization");
        let last = if header.ends_with('A') { "B" } else { "A" };
        header.replace_range(header.len() - 1.., last);
    })
    .await;
    refused(&|forged| {
        let header = forged.header("Authorization");
        *header = header.replace("config:", "abcd0123:");
    })
    .await;
    refused(&|forged| forged.headers.truncate(1)).await;
    assert_eq!(seen.send(&world.gateway).await, "ok", "the true one");
}

#[tokio::test]
async fn a_write_is_kept_back_and_sent_much_later() {
    let world = World::start().await;
    let minute = Duration::from_secs(62);
    for at in [SystemTime::now() - minute, SystemTime::now() + minute] {
        let seen = Seen::signed_at("put_policy", &policy(), at);
        assert_eq!(seen.send(&world.gateway).await, "unauthorized");
    }
}

//! Who may administrate: with no key, with a key of another role or tenant, with one that is over.

use std::process::Command;
use std::time::{Duration, Instant};

use beamline_test_support::{Gateway, Nats, RouterProcess, program};
use serde_json::{Value, json};

const CONFIGURED: &str = "a-key-of-enough-length";

struct World {
    nats: Nats,
    gateway: Gateway,
    router: RouterProcess,
}

impl World {
    /// A router as it comes, but for its own key.
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let own = [("nats.url", nats.url()), ("admin.api_key", CONFIGURED)];
        let settings: Vec<_> = own.into_iter().chain(settings.iter().copied()).collect();
        let router = RouterProcess::start(&settings).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            nats,
            router,
        }
    }

    async fn ask(&self, key: Option<&str>, operation: &str, body: Value) -> Value {
        self.gateway.admin_as(key, operation, &body).await
    }

    async fn code(&self, key: Option<&str>, operation: &str, body: Value) -> String {
        let answer = self.ask(key, operation, body).await;
        let code = answer["error"]["code"].as_str();
        code.unwrap_or("ok").to_owned()
    }

    /// Id and text of a new key.
    async fn key(&self, body: Value) -> (String, String) {
        let made = self.ask(Some(CONFIGURED), "create_key", body).await;
        assert_eq!(made["ok"], true, "{made}");
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        (text("id"), text("key"))
    }

    fn command(&self, key: Option<&str>, arguments: &[&str]) -> Value {
        let mut command = Command::new(program("beamline-router"));
        let directory = tempfile::tempdir().expect("a directory");
        command
            .args(["--nats-url", self.nats.url(), "--output", "json"])
            .args(arguments)
            .current_dir(directory.path());
        if let Some(key) = key {
            command.env("BEAMLINE__ADMIN__API_KEY", key);
        }
        let output = command.output().expect("it runs");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn upper() -> Value {
    json!({"id": "upper", "type": "pre"})
}

fn policy(tenant_id: &str) -> Value {
    json!({"tenant_id": tenant_id, "policy_id": "p", "policy": {"version": "1.0", "providers": ["mock_provider"]}})
}

#[tokio::test]
async fn a_write_without_a_key_is_refused_unless_the_router_is_open() {
    let world = World::start(&[]).await;
    assert_eq!(
        world.code(None, "create_extension", upper()).await,
        "unauthorized"
    );
    assert_eq!(world.code(None, "list_extensions", json!({})).await, "ok");
    assert_eq!(
        world.code(None, "list_keys", json!({})).await,
        "unauthorized"
    );
    assert_eq!(
        world
            .code(Some(CONFIGURED), "create_extension", upper())
            .await,
        "ok"
    );
    let said = world.router.log();
    assert!(
        said.contains("open: every program on this machine"),
        "{said}"
    );

    let closed = World::start(&[("admin.anonymous", "none")]).await;
    for operation in ["list_extensions", "no_operation"] {
        let code = closed.code(None, operation, json!({})).await;
        assert_eq!(code, "unauthorized", "{operation}");
    }

    let open = World::start(&[("admin.open", "true")]).await;
    assert_eq!(open.code(None, "create_extension", upper()).await, "ok");
    let wrong = open.code(Some("wrong"), "list_extensions", json!({})).await;
    assert_eq!(wrong, "unauthorized", "a wrong key is no key");
    let said = open.router.log();
    assert!(said.contains("admin.open: every program"), "{said}");
}

#[tokio::test]
async fn a_key_does_no_more_than_its_role_says() {
    let world = World::start(&[]).await;
    let tries = [
        ("viewer", ["ok", "forbidden", "forbidden", "forbidden"]),
        ("operator", ["ok", "ok", "forbidden", "forbidden"]),
        ("editor", ["ok", "ok", "ok", "forbidden"]),
        ("admin", ["ok", "ok", "ok", "ok"]),
        ("auditor", ["forbidden"; 4]),
    ];
    for (role, want) in tries {
        let (_, key) = world.key(json!({"role": role})).await;
        let asked = [
            ("get_extension", json!({"id": "pii_guard"})),
            ("disable_extension", json!({"id": "pii_guard"})),
            ("put_policy", policy("acme")),
            ("list_keys", json!({})),
        ];
        for ((operation, body), want) in asked.into_iter().zip(want) {
            let code = world.code(Some(&key), operation, body).await;
            assert_eq!(code, want, "{role} {operation}");
        }
    }
}

#[tokio::test]
async fn a_tenants_key_meets_nothing_of_other_tenants() {
    let world = World::start(&[]).await;
    let config = json!({"id": "upper", "type": "pre", "config": {"secret": "of the house"},
        "versions": [{"version": "v2", "config": {"secret": "of the house"}, "routing_rules": {"tenant_id": "globex"}}]});
    for (operation, body) in [
        ("create_extension", config),
        ("put_policy", policy("globex")),
    ] {
        let code = world.code(Some(CONFIGURED), operation, body).await;
        assert_eq!(code, "ok", "{operation}");
    }
    let (_, key) = world
        .key(json!({"role": "admin", "tenant_id": "acme"}))
        .await;
    let key = Some(key.as_str());
    assert_eq!(world.code(key, "put_policy", policy("acme")).await, "ok");
    let theirs = json!({"tenant_id": "globex", "policy_id": "p"});
    let payload = json!({"tenant_id": "globex", "policy_id": "p", "payload": "x"});
    for (operation, body) in [
        ("get_policy", theirs.clone()),
        ("put_policy", policy("globex")),
        ("delete_policy", theirs.clone()),
        ("get_pipeline_complexity", theirs.clone()),
        ("dry_run_pipeline", payload),
        ("list_policies", json!({"tenant_id": "globex"})),
    ] {
        let code = world.code(key, operation, body).await;
        assert_eq!(code, "not_found", "{operation}");
    }
    for (operation, body) in [
        ("create_extension", json!({"id": "mine", "type": "pre"})),
        ("disable_extension", json!({"id": "upper"})),
        (
            "set_breaker",
            json!({"id": "upper", "state": "disabled", "reason": "x"}),
        ),
        ("supervision_tree", json!({})),
        ("create_key", json!({"role": "admin"})),
        ("list_keys", json!({})),
    ] {
        let code = world.code(key, operation, body).await;
        assert_eq!(code, "forbidden", "{operation}");
    }
    let listed = world.ask(key, "list_policies", json!({})).await;
    let tenants: Vec<&Value> = listed["policies"]
        .as_array()
        .expect("policies")
        .iter()
        .map(|policy| &policy["tenant_id"])
        .collect();
    assert_eq!(tenants, ["acme"]);
    for (operation, body) in [
        ("list_extensions", json!({})),
        ("get_extension", json!({"id": "upper"})),
    ] {
        let shown = world.ask(key, operation, body).await.to_string();
        assert!(shown.contains("upper"), "{shown}");
        assert!(
            !shown.contains("of the house") && !shown.contains("globex"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_over_opens_nothing() {
    let world = World::start(&[("admin.anonymous", "none")]).await;
    let look = async |key: &str| world.code(Some(key), "list_extensions", json!({})).await;
    let created = world.command(
        Some(CONFIGURED),
        &["key", "create", "--role", "viewer", "--expires", "1h"],
    );
    let id = created["id"].as_str().expect("an id");
    let key = created["key"].as_str().expect("a key");
    assert!(key.starts_with("blr_dev_") && key.contains(id), "{created}");
    assert_eq!(look(key).await, "ok");

    let rotated = world.command(Some(CONFIGURED), &["key", "rotate", id, "--overlap", "0s"]);
    let successor = rotated["key"].as_str().expect("a key");
    assert_eq!(rotated["replaces"]["id"], id);
    assert_eq!(
        [look(key).await, look(successor).await],
        ["unauthorized", "ok"]
    );

    let successor_id = rotated["id"].as_str().expect("an id");
    let overlapping = world.command(Some(CONFIGURED), &["key", "rotate", successor_id]);
    assert_eq!(look(successor).await, "ok", "for a day");
    let last = overlapping["key"].as_str().expect("a key");
    assert_eq!(look(last).await, "ok");
    let last_id = overlapping["id"].as_str().expect("an id");
    for id in [successor_id, last_id] {
        let revoked = world.command(Some(CONFIGURED), &["key", "revoke", id]);
        assert_eq!(revoked["id"], id, "{revoked}");
    }
    assert_eq!(
        [look(successor).await, look(last).await],
        ["unauthorized", "unauthorized"]
    );
    let listed = world.command(Some(CONFIGURED), &["key", "list"]);
    let ids: Vec<&Value> = listed["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["id"])
        .collect();
    assert_eq!(ids, ["config", id], "{listed}");
    let said = world.router.log();
    for key in [key, successor, last] {
        assert!(!said.contains(key) && !listed.to_string().contains(key));
    }
}

#[tokio::test]
async fn a_key_of_the_edge_administrates_nothing() {
    let world = World::start(&[]).await;
    let (_, key) = world.key(json!({"edge": true, "tenant_id": "acme"})).await;
    assert!(key.starts_with("sk-bl-"), "{key}");
    let code = world.code(Some(&key), "list_extensions", json!({})).await;
    assert_eq!(code, "unauthorized");
    for body in [
        json!({}),
        json!({"role": "admin", "edge": true, "tenant_id": "acme"}),
        json!({"role": "emperor"}),
        json!({"edge": true}),
        json!({"role": "viewer", "tenant_id": ""}),
        json!({"role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"role": "viewer", "expires_at": "soon"}),
        json!({"role": "viewer", "name": "a\nb"}),
        json!({"role": "viewer", "rpm": 5}),
    ] {
        let code = world
            .code(Some(CONFIGURED), "create_key", body.clone())
            .await;
        assert_eq!(code, "invalid_request", "{body}");
    }
}

#[tokio::test]
async fn the_words_of_a_header_make_nobody_somebody_else() {
    let world = World::start(&[]).await;
    let (_, viewer) = world.key(json!({"role": "viewer"})).await;
    let viewer = format!("Bearer {viewer}");
    let admin = format!("Bearer {CONFIGURED}");
    for headers in [
        [
            ("Authorization", viewer.as_str()),
            ("Authorization", &admin),
        ],
        [("Authorization", &admin), ("authorization", &viewer)],
    ] {
        let body = upper().to_string();
        let answer = world.gateway.send("admin.create_extension", body, &headers);
        assert_eq!(answer.await.json["error"]["code"], "invalid_request");
    }
    let headers = [
        ("Authorization", viewer.as_str()),
        ("Router-Actor", "config"),
        ("role", "admin"),
    ];
    let body = upper().to_string();
    let answer = world.gateway.send("admin.create_extension", body, &headers);
    assert_eq!(answer.await.json["error"]["code"], "forbidden");
}

#[tokio::test]
async fn keys_are_tried_out_and_the_right_one_is_not_kept_waiting() {
    let world = World::start(&[]).await;
    let (id, right) = world.key(json!({"role": "viewer"})).await;
    let (start, _) = right.rsplit_once('_').expect("a key");
    let look = async |key: &str| {
        let begun = Instant::now();
        let code = world.code(Some(key), "list_extensions", json!({})).await;
        (code, begun.elapsed())
    };
    let mut slowest = Duration::ZERO;
    for number in 0..8 {
        let (code, took) = look(&format!("{start}_wrong{number}")).await;
        assert_eq!(code, "unauthorized");
        slowest = slowest.max(took);
    }
    assert!(slowest > Duration::from_millis(900), "{slowest:?}");
    let tries = (0..20).map(|number| {
        let key = format!("{start}_other{number}");
        async move { look(&key).await }
    });
    let tried = futures_util::future::join_all(tries);
    let rightly = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let (code, took) = look(&right).await;
            assert_eq!(code, "ok");
            slowest = slowest.max(took);
        }
        slowest
    };
    let (_, right_took) = tokio::join!(tried, rightly);
    assert!(right_took < Duration::from_millis(900), "{right_took:?}");
    let (_, other) = world.key(json!({"role": "viewer"})).await;
    let (start, _) = other.rsplit_once('_').expect("a key");
    let (_, took) = look(&format!("{start}_wrong")).await;
    assert!(took < Duration::from_millis(900), "another key's: {took:?}");

    let (_, metrics) = world.router.get("/metrics").await.expect("metrics");
    assert!(metrics.contains("admin_wrong_keys_total 29"), "{metrics}");
    let said = world.router.log();
    let lines = said.lines().filter(|line| line.contains("wrong keys"));
    let lines: Vec<&str> = lines.filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 1, "{said}");
}

//! Who has done what: nobody can say that it was somebody else, and nothing is done unseen.

use std::process::Command;

use beamline_test_support::{Gateway, LIMIT, Nats, RouterProcess, eventually, program};
use serde_json::{Value, json};

const KEY: &str = "a-key-of-enough-length";

struct World {
    nats: Nats,
    gateway: Gateway,
    _router: RouterProcess,
}

impl World {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let settings = [("nats.url", nats.url()), ("admin.api_key", KEY)];
        let router = RouterProcess::start(&settings).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            nats,
            _router: router,
        }
    }

    async fn ask(&self, key: &str, operation: &str, body: Value) -> Value {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Router-Actor", "ceo")];
        let operation = format!("admin.{operation}");
        let answer = self.gateway.send(&operation, body.to_string(), &headers);
        answer.await.json
    }

    fn command(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let directory = tempfile::tempdir().expect("a directory");
        let output = Command::new(program("beamline-router"))
            .args(["--nats-url", self.nats.url(), "--output", "json"])
            .args(arguments)
            .env("BEAMLINE__ADMIN__API_KEY", KEY)
            .current_dir(directory.path())
            .output()
            .expect("it runs");
        let said = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), said)
    }
}

#[tokio::test]
async fn somebody_says_that_it_was_somebody_else() {
    let world = World::start().await;
    let made = world
        .ask(KEY, "create_key", json!({"role": "viewer"}))
        .await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let viewer = made["key"].as_str().expect("a key").to_owned();
    let body =
        json!({"tenant_id": "acme", "policy_id": "p", "policy": {}, "reason": "x".repeat(5_000)});
    let refused = world.ask(&viewer, "put_policy", body).await;
    assert_eq!(refused["error"]["code"], "forbidden");
    for _ in 0..5 {
        world.ask("wrong", "list_extensions", json!({})).await;
    }
    let rows = eventually(LIMIT, "all of it is written", async || {
        let (_, listed) = world.command(&["audit", "list"]);
        let rows = listed["records"].as_array().cloned()?;
        let has = |action: &str| rows.iter().any(|row| row["action"] == action);
        (has("create") && has("put_policy") && has("authenticate")).then_some(rows)
    })
    .await;
    let row = |action: &str| {
        let found = rows.iter().find(|row| row["action"] == action);
        found.expect("a row").clone()
    };
    let created = row("create");
    assert_eq!(
        (&created["actor"], &created["outcome"], &created["role"]),
        (&json!("config"), &json!("done"), &json!("admin"))
    );
    assert_eq!(
        (&created["object_kind"], &created["object_id"]),
        (&json!("key"), &json!(id))
    );
    let refused = row("put_policy");
    assert_eq!(
        (&refused["actor"], &refused["key_id"]),
        (&json!(id), &json!(id))
    );
    assert_eq!(refused["error_code"], "forbidden");
    assert_eq!(refused["object_id"], "acme/p");
    assert_eq!(refused["reason"].as_str().map(str::len), Some(500));
    assert!(
        !json!(rows).to_string().contains("ceo"),
        "a header is nobody's word"
    );
    let tried: Vec<_> = rows
        .iter()
        .filter(|row| row["action"] == "authenticate")
        .collect();
    assert_eq!(tried.len(), 1, "one row a minute: {tried:?}");
}

#[tokio::test]
async fn the_log_is_checked_and_kept_from_those_who_may_not_read_it() {
    let world = World::start().await;
    for role in ["editor", "auditor"] {
        let made = world.ask(KEY, "create_key", json!({"role": role})).await;
        let key = made["key"].as_str().expect("a key");
        let listed = world.ask(key, "list_audit", json!({"limit": 5})).await;
        assert_eq!(listed["ok"], role == "auditor", "{listed}");
    }
    let head = eventually(LIMIT, "the chain has three rows", async || {
        let (code, said) = world.command(&["audit", "verify"]);
        assert_eq!(code, Some(0), "{said}");
        (said["rows"] == 3).then(|| said["head"].clone())
    })
    .await;
    let seq = head["seq"].as_u64().expect("a number");
    let hash = head["hash"].as_str().expect("a hash");
    let kept = format!("{seq}:{hash}");
    let (code, said) = world.command(&["audit", "verify", "--head", &kept]);
    assert_eq!(code, Some(0), "{said}");
    let other = format!("{seq}:{}", hash.replace(|c: char| c.is_ascii_digit(), "0"));
    let (code, said) = world.command(&["audit", "verify", "--head", &other]);
    assert_eq!((code, &said["ok"]), (Some(1), &json!(false)), "{said}");
    let (code, said) = world.command(&["audit", "prune", "--yes", "--before", "2999-01"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = world.command(&["audit", "prune", "--yes", "--before", "2020-01"]);
    assert_eq!(
        (code, &said["pruned_to"]),
        (Some(0), &Value::Null),
        "{said}"
    );
}

#[tokio::test]
async fn a_key_hides_the_attempts_of_another() {
    let world = World::start().await;
    let mut keys = Vec::new();
    for body in [
        json!({"role": "viewer", "tenant_id": "acme"}),
        json!({"role": "operator"}),
    ] {
        let made = world.ask(KEY, "create_key", body).await;
        keys.push((
            made["id"].as_str().expect("an id").to_owned(),
            made["key"].as_str().expect("a key").to_owned(),
        ));
    }
    let [(loud_id, loud), (quiet_id, quiet)] = keys.as_slice() else {
        panic!("two keys");
    };
    let flood = async {
        for _ in 0..600 {
            world
                .ask(loud, "delete_extension", json!({"id": "pii_guard"}))
                .await;
        }
    };
    let attempts = async {
        for _ in 0..40 {
            let refused = world
                .ask(quiet, "create_key", json!({"role": "admin"}))
                .await;
            assert_eq!(refused["error"]["code"], "forbidden");
        }
    };
    tokio::join!(flood, attempts);
    let count = |id: &str| {
        let arguments = ["audit", "list", "--limit", "500", "--actor", id];
        let (code, listed) = world.command(&arguments);
        assert_eq!(code, Some(0), "{listed}");
        listed["records"].as_array().map_or(0, Vec::len)
    };
    eventually(LIMIT, "every attempt is written", async || {
        (count(quiet_id) == 40).then_some(())
    })
    .await;
    // A minute may have ended in between: two shares, and a sum.
    let loud = count(loud_id);
    assert!((50..=101).contains(&loud), "{loud} rows of the flood");
}

#[tokio::test]
async fn a_filter_holds_what_no_database_keeps() {
    let world = World::start().await;
    for field in [
        "actor",
        "action",
        "object_kind",
        "object_id",
        "outcome",
        "tenant_id",
    ] {
        let refused = world.ask(KEY, "list_audit", json!({field: "a\0b"})).await;
        assert_eq!(refused["error"]["code"], "invalid_request", "{refused}");
        let message = refused["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains(&format!("/{field} ")), "{message}");
    }
}

#[tokio::test]
async fn who_has_no_key_is_counted_twice() {
    let world = World::start().await;
    let body = json!({"tenant_id": "acme", "policy_id": "p", "policy": {}});
    let refused = world
        .gateway
        .send("admin.put_policy", body.to_string(), &[]);
    assert_eq!(refused.await.json["error"]["code"], "unauthorized");
    let told = eventually(LIMIT, "it is written", async || {
        let arguments = ["audit", "list", "--images", "--action", "authenticate"];
        let (_, listed) = world.command(&arguments);
        listed["records"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(told["after"], json!({"count": 1}), "{told}");
}

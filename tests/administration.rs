//! Administration over NATS (contract section 5): every operation, what it refuses, and that a
//! write is served when it is answered. The command line on top of it is in `command_line`.

use beamline_extension::Kind;
use beamline_test_support::{Gateway, LIMIT, Nats, RouterProcess, Stub, eventually, request};
use serde_json::{Value, json};

struct World {
    nats: Nats,
    gateway: Gateway,
    router: RouterProcess,
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
            nats,
            router,
        }
    }

    async fn ok(&self, operation: &str, body: Value) -> Value {
        let answer = self.gateway.admin(operation, &body).await;
        assert_eq!(answer["ok"], true, "{operation} {body}: {answer}");
        answer
    }

    /// Code and message of a refusal.
    async fn refused(&self, operation: &str, body: Value) -> (String, String) {
        let answer = self.gateway.admin(operation, &body).await;
        assert_eq!(answer["ok"], false, "{operation} {body}: {answer}");
        assert!(answer["error"]["details"].is_object(), "{answer}");
        let text = |key: &str| answer["error"][key].as_str().expect("a text").to_owned();
        (text("code"), text("message"))
    }

    /// The JSON pointers of all mistakes in a refusal.
    async fn pointers(&self, operation: &str, body: Value) -> Vec<String> {
        let answer = self.gateway.admin(operation, &body).await;
        assert_eq!(answer["error"]["code"], "invalid_request", "{answer}");
        let mistakes = answer["error"]["details"]["mistakes"]
            .as_array()
            .expect("mistakes");
        assert!(
            mistakes
                .iter()
                .all(|mistake| mistake["message"].as_str().is_some_and(|m| !m.is_empty())),
            "{answer}"
        );
        mistakes
            .iter()
            .map(|mistake| mistake["pointer"].as_str().expect("a pointer").to_owned())
            .collect()
    }
}

fn whole_record() -> Value {
    json!({
        "id": "upper", "type": "pre", "subject": "beamline.ext.pre.upper.blue", "timeout_ms": 80, "retry": 1,
        "enabled": true, "version": "v1", "config": {"limit": 1}, "metadata": {"owner": "text"},
        "versions": [{"version": "v2", "subject": "beamline.ext.pre.upper.v2", "timeout_ms": 90, "retry": 0,
            "config": {"limit": 2}, "routing_rules": {"tenant": ["acme", "globex"]}, "enabled": true}],
        "instances": [{"instance_id": "a", "subject": "beamline.ext.pre.upper.a", "weight": 70, "enabled": true},
            {"instance_id": "b", "subject": "beamline.ext.pre.upper.b", "weight": 30, "enabled": false}],
    })
}

#[tokio::test]
async fn a_record_is_created_changed_and_deleted() {
    let world = World::start(&[]).await;
    let created = world.ok("create_extension", whole_record()).await;
    let revision = created["revision"].as_u64().expect("a revision");
    let mut want = whole_record();
    want["revision"] = json!(revision);
    assert_eq!(
        created["extension"], want,
        "the stored object, versions and instances inside"
    );
    let got = world.ok("get_extension", json!({"id": "upper"})).await;
    assert_eq!(
        (&got["extension"], &got["revision"]),
        (&want, &json!(revision))
    );

    let updated = world
        .ok(
            "update_extension",
            json!({"id": "upper", "retry": 2, "config": {"new": 1.5}}),
        )
        .await;
    assert_eq!(updated["revision"], revision + 1);
    want["revision"] = json!(revision + 1);
    want["retry"] = json!(2);
    want["config"] = json!({"new": 1.5});
    assert_eq!(updated["extension"], want, "only what was given is changed");
    let emptied = world
        .ok(
            "update_extension",
            json!({"id": "upper", "versions": [], "instances": []}),
        )
        .await;
    assert_eq!(
        (
            &emptied["extension"]["versions"],
            &emptied["extension"]["instances"]
        ),
        (&json!([]), &json!([]))
    );

    for (operation, enabled) in [("disable_extension", false), ("enable_extension", true)] {
        let answer = world.ok(operation, json!({"id": "upper"})).await;
        assert_eq!(answer["extension"]["enabled"], enabled, "{answer}");
        assert_eq!(
            answer["used_by_policies"],
            if enabled { Value::Null } else { json!([]) }
        );
        let again = world.ok(operation, json!({"id": "upper"})).await;
        assert_eq!(
            again["revision"], answer["revision"],
            "nothing changes twice"
        );
    }
    let all = world.ok("list_extensions", json!({})).await;
    let ids: Vec<&Value> = all["extensions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|extension| &extension["id"])
        .collect();
    assert!(
        ids.contains(&&json!("upper")) && ids.is_sorted_by_key(|id| id.as_str()),
        "{ids:?}"
    );
    let providers = world
        .ok("list_extensions", json!({"type": "provider"}))
        .await;
    let kinds = providers["extensions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|extension| &extension["type"]);
    assert!(
        kinds.clone().count() == 3 && kinds.clone().all(|kind| kind == "provider"),
        "{providers}"
    );

    let deleted = world.ok("delete_extension", json!({"id": "upper"})).await;
    assert_eq!(
        (&deleted["revision"], &deleted["used_by_policies"]),
        (&json!(revision + 5), &json!([]))
    );
    for operation in [
        "get_extension",
        "update_extension",
        "delete_extension",
        "enable_extension",
        "disable_extension",
    ] {
        assert_eq!(
            world.refused(operation, json!({"id": "upper"})).await.0,
            "not_found",
            "{operation}"
        );
    }
    world
        .ok("create_extension", json!({"id": "upper", "type": "post"}))
        .await;
}

#[tokio::test]
async fn taken_ids_and_subjects_are_conflicts() {
    let world = World::start(&[]).await;
    world.ok("create_extension", whole_record()).await;
    assert_eq!(
        world.refused("create_extension", whole_record()).await.0,
        "conflict"
    );
    for subject in ["blue", "v2", "a", "b"] {
        let subject = format!("beamline.ext.pre.upper.{subject}");
        let (code, message) = world
            .refused(
                "create_extension",
                json!({"id": "lower", "type": "pre", "subject": subject}),
            )
            .await;
        assert_eq!(code, "conflict", "{message}");
        assert!(
            message.contains(&subject) && message.contains("upper"),
            "{message}"
        );
    }
    world
        .ok("create_extension", json!({"id": "lower", "type": "pre"}))
        .await;
    let change = json!({"id": "lower", "instances": [{"instance_id": "x", "subject": "beamline.ext.pre.upper.a"}]});
    assert_eq!(
        world.refused("update_extension", change).await.0,
        "conflict"
    );
}

#[tokio::test]
async fn mistakes_in_a_record_are_all_listed_with_their_places() {
    let world = World::start(&[]).await;
    let record = json!({
        "id": "Not An Id", "type": "filter", "subject": "beamline.router.v1.route", "timeout_ms": 0, "retry": 4,
        "enabled": "yes", "version": "", "config": [], "metadata": 1, "timout_ms": 5,
        "versions": [{"subject": "beamline.ext.*.x"}, {"version": "v2"}, {"version": "v2"}],
        "instances": [{"instance_id": "a", "subject": "x", "weight": 101, "wieght": 1}, 7],
    });
    let mut found = world.pointers("create_extension", record).await;
    found.sort();
    let want = [
        "/config",
        "/enabled",
        "/id",
        "/instances/0/subject",
        "/instances/0/weight",
        "/instances/0/wieght",
        "/instances/1",
        "/metadata",
        "/retry",
        "/subject",
        "/timeout_ms",
        "/timout_ms",
        "/type",
        "/version",
        "/versions/0/subject",
        "/versions/0/version",
        "/versions/2/version",
    ];
    assert_eq!(found, want);
    assert_eq!(
        world.pointers("create_extension", json!({})).await,
        ["/id", "/type"]
    );
    world
        .ok("create_extension", json!({"id": "upper", "type": "pre"}))
        .await;
    assert_eq!(
        world
            .pointers(
                "update_extension",
                json!({"id": "upper", "timeout_ms": -1, "colour": 1})
            )
            .await,
        ["/timeout_ms", "/colour"]
    );
    let kept = world.ok("get_extension", json!({"id": "upper"})).await;
    assert_eq!(
        kept["extension"]["timeout_ms"], 1_000,
        "nothing was changed: {kept}"
    );
}

#[tokio::test]
async fn a_policy_with_wrong_references_is_not_saved() {
    let world = World::start(&[]).await;
    let document = json!({
        "policy_id": "other",
        "pre": [{"id": "nobody"}, {"id": "mask_pii"}], "validators": [{"id": "normalize_text", "on_fail": "panic"}],
        "providers": [{"name": "pii_guard"}, {"name": "mock_provider", "weight": -1}], "post": [{"id": "mask_pii", "depends_on": ["x"]}],
        "wat": 1,
    });
    let put = |document: Value| json!({"tenant_id": "acme", "policy_id": "p", "policy": document});
    let found = world.pointers("put_policy", put(document)).await;
    assert_eq!(
        found,
        [
            "/validators/0/on_fail",
            "/providers/1/weight",
            "/post/0/depends_on/0",
            "/wat"
        ]
    );
    let document = json!({
        "policy_id": "other",
        "pre": [{"id": "nobody"}, {"id": "mask_pii"}], "validators": [{"id": "normalize_text"}],
        "providers": [{"name": "pii_guard"}, {"name": "mock_provider"}], "post": [{"id": "mask_pii"}],
    });
    let found = world.pointers("put_policy", put(document)).await;
    assert_eq!(
        found,
        [
            "/policy_id",
            "/pre/0/id",
            "/pre/1/id",
            "/validators/0/id",
            "/providers/0/name"
        ]
    );
    for bad in [
        json!({"providers": []}),
        json!([]),
        json!("x"),
        json!({"providers": [{"name": "mock_provider"}, {"name": "mock_provider"}]}),
    ] {
        assert!(!world.pointers("put_policy", put(bad)).await.is_empty());
    }
    assert_eq!(
        world
            .refused("put_policy", json!({"tenant_id": "acme", "policy_id": "p"}))
            .await
            .0,
        "invalid_request"
    );
    let mut only_checked = put(json!({"providers": ["mock_provider"]}));
    for (word, code) in [
        (json!("true"), Some("invalid_request")),
        (json!(1), Some("invalid_request")),
        (json!(true), None),
    ] {
        only_checked["check_only"] = word;
        let answer = world.gateway.admin("put_policy", &only_checked).await;
        assert_eq!(answer["error"]["code"].as_str(), code, "{answer}");
    }
    assert_eq!(
        world
            .refused("get_policy", json!({"tenant_id": "acme", "policy_id": "p"}))
            .await
            .0,
        "not_found"
    );
}

#[tokio::test]
async fn a_policy_comes_back_byte_for_byte() {
    let world = World::start(&[]).await;
    let document = "{ \"providers\" : [ {\"weight\":7.0e1, \"name\":\"mock_provider\"} ],\n\t\"metadata\":{\"z\":123456789012345678901234567890,\"a\":\"\\u00e9\"} , \"version\":\"2.50\"}";
    let body = format!(r#"{{"tenant_id": "acme", "policy_id": "p", "policy": {document}}}"#);
    let names = r#"{"tenant_id": "acme", "policy_id": "p"}"#;
    for (operation, body) in [
        ("put_policy", body.as_str()),
        ("get_policy", names),
        ("list_policies", r#"{"tenant_id": "acme"}"#),
    ] {
        let answer = world
            .gateway
            .send(&format!("admin.{operation}"), body.to_owned(), &[])
            .await;
        assert_eq!(answer.json["ok"], true, "{}", answer.text);
        assert!(
            answer.text.contains(&format!(r#""policy":{document}"#)),
            "{operation}: {}",
            answer.text
        );
    }
    let listed = world.ok("list_policies", json!({})).await;
    let names: Vec<Value> = listed["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| json!([p["tenant_id"], p["policy_id"], p["version"]]))
        .collect();
    assert_eq!(
        json!(names),
        json!([["acme", "p", "2.50"], ["demo", "default", "1.0"]])
    );
    world
        .ok(
            "delete_policy",
            json!({"tenant_id": "acme", "policy_id": "p"}),
        )
        .await;
    for operation in ["get_policy", "delete_policy"] {
        assert_eq!(
            world
                .refused(operation, json!({"tenant_id": "acme", "policy_id": "p"}))
                .await
                .0,
            "not_found"
        );
    }
}

#[tokio::test]
async fn who_uses_an_extension_is_told_when_it_goes() {
    let world = World::start(&[]).await;
    let gateway = &world.gateway;
    gateway
        .policy(
            "mine",
            &json!({"pre": [{"id": "normalize_text"}], "providers": [{"name": "mock_provider"}]}),
        )
        .await;
    for operation in ["disable_extension", "delete_extension"] {
        let answer = world.ok(operation, json!({"id": "normalize_text"})).await;
        assert_eq!(
            answer["used_by_policies"],
            json!(["acme/mine", "demo/default"]),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn a_write_is_served_when_it_is_answered() {
    let world = World::start(&[("database.poll_interval", "1h")]).await;
    let _one = Stub::saying(&world.nats, Kind::Provider, "one", r#"{"output": 1}"#).await;
    let _two = Stub::saying(&world.nats, Kind::Provider, "two", r#"{"output": 2}"#).await;
    for id in ["one", "two"] {
        world.gateway.register("provider", id, json!({})).await;
    }
    for round in 0..20 {
        let id = ["one", "two"][round % 2];
        world
            .gateway
            .policy("flip", &json!({"providers": [{"name": id}]}))
            .await;
        assert_eq!(
            world.gateway.route(&request("flip")).await["response"]["provider_id"],
            id
        );
        world.ok("disable_extension", json!({"id": id})).await;
        assert_eq!(
            world.gateway.route(&request("flip")).await["error"]["code"],
            "extension_not_found"
        );
        world.ok("enable_extension", json!({"id": id})).await;
        assert_eq!(world.gateway.route(&request("flip")).await["ok"], true);
        world
            .ok(
                "delete_policy",
                json!({"tenant_id": "acme", "policy_id": "flip"}),
            )
            .await;
        assert_eq!(
            world.gateway.route(&request("flip")).await["error"]["code"],
            "policy_not_found"
        );
    }
}

#[tokio::test]
async fn health_breakers_and_the_tree_show_what_runs() {
    let world = World::start(&[("router.environment", "prod")]).await;
    let _model = Stub::saying(&world.nats, Kind::Provider, "model", r#"{"output": 1}"#).await;
    world.gateway.register("provider", "model", json!({})).await;
    world
        .gateway
        .policy("default", &json!({"providers": [{"name": "model"}]}))
        .await;
    let health = world.ok("get_extension_health", json!({})).await;
    assert_eq!(
        health["health"]["model"],
        json!({"status": "unknown", "success_rate": null, "requests": 0,
        "latency_p50_ms": null, "latency_p95_ms": null, "latency_p99_ms": null})
    );
    let mut states = world.ok("get_circuit_breaker_states", json!({})).await;
    let shown = states["states"]["model"].as_object_mut().expect("a state");
    assert_eq!(
        shown.remove("settings").expect("what it goes by")["consecutive_failures"],
        5
    );
    let closed = json!({"state": "closed", "opened_at": null, "failure_count": 0, "error_rate": 0.0,
        "versions": {}, "tenants": {}});
    assert_eq!(states["states"]["model"], closed);

    world.gateway.route(&request("default")).await;
    let health = eventually(LIMIT, "the call is counted", async || {
        let health = world.ok("get_extension_health", json!({})).await;
        (health["health"]["model"]["requests"] == 1).then_some(health)
    })
    .await;
    assert_eq!(
        (
            &health["health"]["model"]["status"],
            &health["health"]["model"]["success_rate"]
        ),
        (&json!("healthy"), &json!(1.0))
    );
    assert!(
        health["health"]["model"]["latency_p95_ms"]
            .as_f64()
            .is_some_and(|p95| p95 > 0.0),
        "{health}"
    );
    for (operation, key) in [
        ("get_extension_health", "health"),
        ("get_circuit_breaker_states", "states"),
    ] {
        let one = world.ok(operation, json!({"id": "model"})).await;
        assert_eq!(
            one[key]
                .as_object()
                .expect("a line")
                .keys()
                .collect::<Vec<_>>(),
            ["model"],
            "{one}"
        );
        let none = world
            .gateway
            .admin(operation, &json!({"id": "nobody"}))
            .await;
        assert_eq!(none["error"]["code"], "not_found", "{none}");
    }

    let shown = world.ok("supervision_tree", json!({})).await;
    let router = &shown["router"];
    assert_eq!(
        (
            &router["environment"],
            &router["status"],
            &router["registry_source"]
        ),
        (&json!("prod"), &json!("running"), &json!("store"))
    );
    let root = &shown["tree"];
    let fields = [
        "name",
        "type",
        "status",
        "uptime_ms",
        "restarts",
        "restarts_in_window",
        "last_exit",
        "queue_depth",
        "handled",
        "children",
    ];
    assert!(
        fields.iter().all(|field| root.get(field).is_some()),
        "{root}"
    );
    let names: Vec<&Value> = root["children"]
        .as_array()
        .expect("children")
        .iter()
        .map(|child| &child["name"])
        .collect();
    assert_eq!(
        names,
        [
            "nats",
            "answers",
            "calls_apart",
            "registry",
            "invokers",
            "pipelines",
            "sessions",
            "watch",
            "fleet_keys",
            "monitor",
            "audit",
            "requests",
            "log_levels",
            "intake",
            "fleet",
            "admin",
            "http",
            "probes"
        ]
    );
    let mut nodes = root["children"].as_array().expect("children").iter();
    let invokers = nodes.find(|node| node["name"] == "invokers");
    let invoker = &invokers.expect("invokers")["children"][0];
    assert_eq!(
        (&invoker["name"], &invoker["breaker"]["state"]),
        (&json!("invoker:model"), &json!("closed")),
        "{shown}"
    );
    let reloaded = world.ok("reload", json!({})).await;
    assert_eq!(reloaded["revision"], router["revision"]);
}

#[tokio::test]
async fn only_the_key_opens_the_administration() {
    let key = "a-key-of-enough-length";
    let world = World::start(&[("admin.api_key", key), ("admin.anonymous", "none")]).await;
    let ask = async |body: Value, header: Option<&str>| {
        let headers: Vec<(&'static str, &str)> = header
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        let answer = world
            .gateway
            .send("admin.list_extensions", body.to_string(), &headers)
            .await
            .json;
        (
            answer["ok"] == true,
            answer["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let bearer = format!("Bearer {key}");
    assert!(ask(json!({}), Some(&bearer)).await.0);
    assert!(ask(json!({"api_key": key}), None).await.0);
    let refused = (false, "unauthorized".to_owned());
    for header in [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some(key),
        Some("Basic a-key-of-enough-length"),
    ] {
        assert_eq!(ask(json!({}), header).await, refused, "{header:?}");
    }
    for body in [
        json!({"api_key": "wrong"}),
        json!({"api_key": null}),
        json!({"api_key": [key]}),
    ] {
        assert_eq!(ask(body.clone(), None).await, refused, "{body}");
    }
    assert_eq!(
        ask(json!({"api_key": key}), Some("Bearer wrong")).await,
        refused,
        "the header is what counts"
    );
    let record = json!({"id": "upper", "type": "pre", "api_key": key});
    let created = world.ok("create_extension", record).await;
    assert!(
        !created.to_string().contains(key),
        "the key is no part of the record: {created}"
    );
    assert!(!world.router.log().contains(key), "nor of the log");
}

#[tokio::test]
async fn what_is_no_operation_is_refused_in_words() {
    let world = World::start(&[]).await;
    for operation in ["list_extension", "drop_tables", "LIST_EXTENSIONS"] {
        let (code, message) = world.refused(operation, json!({})).await;
        assert_eq!(code, "invalid_request");
        assert!(
            message.contains(operation) && message.contains("list_extensions"),
            "{message}"
        );
    }
    assert_eq!(
        world
            .refused("list_extensions", json!({"type": "filter"}))
            .await
            .0,
        "invalid_request"
    );
    assert_eq!(
        world.refused("get_extension", json!({"id": 7})).await.0,
        "invalid_request"
    );
    for body in [
        "{",
        "[]",
        "null",
        "\"x\"",
        "\u{feff}{}",
        &"[".repeat(100_000),
    ] {
        let answer = world
            .gateway
            .send("admin.list_extensions", body.to_owned(), &[])
            .await;
        assert_eq!(
            answer.json["error"]["code"], "invalid_request",
            "{}",
            answer.text
        );
    }
    let answer = world.gateway.send("admin.list_extensions", "", &[]).await;
    assert_eq!(
        answer.json["ok"], true,
        "an empty body asks for nothing special: {}",
        answer.text
    );
    assert!(
        !world.router.log().contains("panicked"),
        "{}",
        world.router.log()
    );
}

//! Circuit breakers: when they open and recover, whom they protect, and what an operator decides
//! about them.

use std::process::{Command, Stdio};

use beamline_extension::Kind;
use beamline_test_support::{
    BROKEN, Gateway, LIMIT, Nats, PostgresDatabase, RouterProcess, Routing, Stub, eventually,
    program, report, request, request_with,
};
use serde_json::{Map, Value, json};

/// A breaker that opens soon and for a short time.
fn quick() -> Value {
    json!({"breaker": {"consecutive_failures": 2, "open_base_ms": 100, "jitter": 0}})
}

/// A provider that works, and a policy named after one extension that is used in one way.
async fn used(routing: &Routing, id: &str, stage: &str, how: Value) {
    let mut entry = json!({"id": id});
    entry
        .as_object_mut()
        .expect("an object")
        .extend(how.as_object().expect("an object").clone());
    routing
        .gateway
        .policy(
            id,
            &json!({stage: [entry], "providers": [{"name": "good"}]}),
        )
        .await;
}

async fn state(gateway: &Gateway, id: &str) -> Value {
    gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await["states"][id]
        .clone()
}

async fn decide(gateway: &Gateway, id: &str, state: &str) -> Value {
    let body = json!({"id": id, "state": state, "for_ms": 600_000, "reason": "a trial"});
    let answer = gateway.admin("set_breaker", &body).await;
    assert_eq!(
        (&answer["ok"], &answer["state"]),
        (&json!(true), &json!(state)),
        "{answer}"
    );
    answer
}

#[tokio::test]
async fn an_extension_has_settings_of_its_own_and_recovers_by_three_successes() {
    let routing = Routing::start(&[]).await;
    let _good = routing.provider("good").await;
    routing.gateway.register("pre", "shaky", quick()).await;
    used(&routing, "shaky", "pre", json!({"mode": "required"})).await;
    let broken = Stub::saying(&routing.nats, Kind::Pre, "shaky", BROKEN).await;
    for _ in 0..2 {
        routing.gateway.route(&request("shaky")).await;
    }
    let shown = state(&routing.gateway, "shaky").await;
    assert_eq!(
        (&shown["reason"], &shown["reason_code"]),
        (
            &json!("2 failures in a row"),
            &json!("consecutive_failures")
        )
    );
    assert_eq!(shown["settings"]["open_base_ms"], 100, "{shown}");
    assert_eq!(shown["settings"]["half_open_successes"], 3, "{shown}");
    broken.stop().await;

    let works = Stub::saying(&routing.nats, Kind::Pre, "shaky", "{}").await;
    eventually(LIMIT, "three successes close it", async || {
        let answer = routing.gateway.route(&request("shaky")).await;
        let closed = state(&routing.gateway, "shaky").await["state"] == "closed";
        assert!(
            answer["ok"] == true || answer["error"]["details"]["error_type"] == "circuit_open",
            "{answer}"
        );
        assert_eq!(closed, works.calls() >= 3, "not sooner, and not later");
        closed.then_some(())
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_their_places() {
    let routing = Routing::start(&[]).await;
    let record = json!({"id": "wrong", "type": "pre",
        "breaker": {"consecutive_failures": 0, "jitter": 51, "failure_rate": 0.5, "open_base": 5}});
    let refused = routing.gateway.admin("create_extension", &record).await;
    let mistakes = refused["error"]["details"]["mistakes"]
        .as_array()
        .expect("mistakes");
    let places: Vec<&str> = mistakes
        .iter()
        .filter_map(|mistake| mistake["pointer"].as_str())
        .collect();
    let want = [
        "/breaker/failure_rate",
        "/breaker/consecutive_failures",
        "/breaker/jitter",
        "/breaker/open_base",
    ];
    assert_eq!(places, want, "{refused}");
}

#[tokio::test]
async fn a_policy_has_its_say_over_its_providers() {
    let routing = Routing::start(&[]).await;
    let _broken = routing.broken("model").await;
    let strict = json!({"failure_threshold": 1, "open_base_ms": 60_000, "jitter": 0});
    routing
        .gateway
        .policy(
            "strict",
            &json!({"providers": ["model"], "circuit_breaker": strict}),
        )
        .await;
    routing.gateway.route(&request("strict")).await;
    let answer = routing.gateway.route(&request("strict")).await;
    let wait = answer["error"]["details"]["retry_after_ms"]
        .as_u64()
        .expect("when to come back");
    assert!((30_000..=60_000).contains(&wait), "{answer}");
}

#[tokio::test]
async fn the_fault_of_a_caller_opens_nothing() {
    let routing = Routing::start(&[]).await;
    let _good = routing.provider("good").await;
    let more =
        json!({"breaker": {"consecutive_failures": 1, "minimum_calls": 1, "failure_rate": 1}});
    let says = [
        ("hurried", Kind::Pre, None),
        (
            "refused",
            Kind::Pre,
            Some(r#"{"error": {"code": "404", "message": "no such customer"}}"#),
        ),
        (
            "limited",
            Kind::Pre,
            Some(r#"{"error": {"code": "429", "message": "slow down", "retry_after_ms": 1}}"#),
        ),
        (
            "rejected",
            Kind::Validator,
            Some(r#"{"status": "reject", "reason": "pii"}"#),
        ),
    ];
    for (id, kind, answer) in says {
        routing
            .gateway
            .register(kind.as_str(), id, more.clone())
            .await;
        let stub = Stub::answering(&routing.nats, kind, id, move |_| answer.map(Into::into)).await;
        used(
            &routing,
            id,
            if kind == Kind::Pre {
                "pre"
            } else {
                "validators"
            },
            json!({}),
        )
        .await;
        // The extension has 20 s, its callers far less than half of that.
        let body = request_with(
            id,
            json!({"timeout_ms": if answer.is_some() { 30_000 } else { 100 }}),
        );
        for _ in 0..3 {
            routing.gateway.route(&body).await;
        }
        assert_eq!(stub.calls(), 3, "{id} is called every time");
        let shown = state(&routing.gateway, id).await;
        assert_eq!(
            (&shown["state"], &shown["failure_count"]),
            (&json!("closed"), &json!(0)),
            "{id}: {shown}"
        );
    }
}

#[tokio::test]
async fn an_extension_that_says_twice_when_to_come_back_is_left_alone_until_then() {
    let routing = Routing::start(&[]).await;
    let _good = routing.provider("good").await;
    let busy = r#"{"error": {"code": 503, "message": "starting", "retry_after_ms": 40000}}"#;
    let stub = routing.extension(Kind::Pre, "busy", json!({}), busy).await;
    used(&routing, "busy", "pre", json!({"mode": "required"})).await;
    for _ in 0..2 {
        routing.gateway.route(&request("busy")).await;
    }
    let answer = routing.gateway.route(&request("busy")).await;
    let wait = answer["error"]["details"]["retry_after_ms"]
        .as_u64()
        .expect("when to come back");
    assert!((20_000..=40_000).contains(&wait), "{answer}");
    assert_eq!(
        (
            stub.calls(),
            &state(&routing.gateway, "busy").await["reason_code"]
        ),
        (2, &json!("asked_to_wait"))
    );
}

#[tokio::test]
async fn what_must_run_fails_closed_and_what_may_is_skipped() {
    let routing = Routing::start(&[]).await;
    let _good = routing.provider("good").await;
    let ways = [
        (
            "must_edit",
            Kind::Pre,
            "pre",
            json!({"mode": "required"}),
            Some("extension_unavailable"),
        ),
        (
            "must_check",
            Kind::Validator,
            "validators",
            json!({"on_fail": "block"}),
            Some("validator_blocked"),
        ),
        (
            "must_polish",
            Kind::Post,
            "post",
            json!({"mode": "required"}),
            Some("extension_unavailable"),
        ),
        (
            "may_edit",
            Kind::Pre,
            "pre",
            json!({"mode": "optional"}),
            None,
        ),
        (
            "may_warn",
            Kind::Validator,
            "validators",
            json!({"on_fail": "warn"}),
            None,
        ),
        (
            "may_ignore",
            Kind::Validator,
            "validators",
            json!({"on_fail": "ignore"}),
            None,
        ),
        (
            "may_polish",
            Kind::Post,
            "post",
            json!({"mode": "optional"}),
            None,
        ),
    ];
    for (id, kind, stage, how, code) in ways {
        let stub = routing.extension(kind, id, json!({}), "{}").await;
        used(&routing, id, stage, how).await;
        decide(&routing.gateway, id, "forced_open").await;
        let answer = routing.gateway.route(&request(id)).await;
        assert_eq!(answer["error"]["code"].as_str(), code, "{id}: {answer}");
        assert_eq!(
            (stub.calls(), &report(&answer, id)["status"]),
            (0, &json!("circuit_open")),
            "{id}: {answer}"
        );
        match code {
            Some(_) => assert!(
                answer["error"]["details"]["retry_after_ms"].is_u64(),
                "{id}: {answer}"
            ),
            None if id == "may_ignore" => assert_eq!(answer["ok"], true, "{answer}"),
            None => assert_eq!(
                answer["degraded"],
                json!([{"id": id, "reason": "circuit_open"}]),
                "{answer}"
            ),
        }
    }
}

#[tokio::test]
async fn an_operator_may_let_everything_through() {
    let routing = Routing::start(&[]).await;
    for (word, measured) in [("disabled", "closed"), ("metrics_only", "open")] {
        let stub = routing
            .extension(
                Kind::Provider,
                word,
                json!({"breaker": {"consecutive_failures": 2}}),
                BROKEN,
            )
            .await;
        routing
            .gateway
            .policy(word, &json!({"providers": [word]}))
            .await;
        decide(&routing.gateway, word, word).await;
        for _ in 0..5 {
            routing.gateway.route(&request(word)).await;
        }
        let shown = state(&routing.gateway, word).await;
        assert_eq!(
            (stub.calls(), &shown["state"]),
            (5, &json!("closed")),
            "{shown}"
        );
        assert_eq!(
            (&shown["measured_state"], &shown["operator"]["reason"]),
            (&json!(measured), &json!("a trial"))
        );
        decide(&routing.gateway, word, "normal").await;
        for _ in 0..5 {
            routing.gateway.route(&request(word)).await;
        }
        let more = if measured == "open" { 0 } else { 1 };
        assert_eq!(stub.calls(), 5 + more, "{word} counted what happened");
    }
}

#[tokio::test]
async fn another_provider_takes_over_from_one_that_is_held_open() {
    let routing = Routing::start(&[]).await;
    let held = routing.provider("held").await;
    let spare = routing.provider("spare").await;
    let providers = json!([{"name": "held", "weight": 1_000_000}, {"name": "spare", "weight": 1}]);
    routing
        .gateway
        .policy("chat", &json!({"providers": providers}))
        .await;
    decide(&routing.gateway, "held", "forced_open").await;
    for _ in 0..5 {
        assert_eq!(
            routing.gateway.route(&request("chat")).await["response"]["output"],
            "spare"
        );
    }
    assert_eq!((held.calls(), spare.calls()), (0, 5));
}

/// What the metrics of a router say of one breaker.
async fn gauge(router: &RouterProcess, id: &str) -> Option<u32> {
    let (_, metrics) = router.get("/metrics").await?;
    let name = format!("extension_breaker_state{{extension_id=\"{id}\"}} ");
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[tokio::test]
async fn a_decision_holds_on_all_replicas_and_after_a_restart() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
    let (mut first, second) = tokio::join!(
        RouterProcess::start(&settings),
        RouterProcess::start(&settings)
    );
    let gateway = Gateway::connect(&nats).await;
    gateway.register("provider", "model", json!({})).await;
    gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    let stub = Stub::saying(&nats, Kind::Provider, "model", r#"{"output": "hello"}"#).await;

    decide(&gateway, "model", "forced_open").await;
    let all_are = async |number| {
        for router in [&first, &second] {
            eventually(LIMIT, "the decision is there", async || {
                gauge(router, "model")
                    .await
                    .filter(|shown| *shown == number)
            })
            .await;
        }
    };
    all_are(2).await;
    for _ in 0..20 {
        let answer = gateway.route(&request("chat")).await;
        assert_eq!(answer["error"]["code"], "extension_unavailable", "{answer}");
    }
    assert_eq!(stub.calls(), 0);

    first.respawn();
    first.until_ready().await;
    assert_eq!(
        gauge(&first, "model").await,
        Some(2),
        "it survives a restart"
    );

    let changed = json!({"id": "model", "retry": 1});
    assert_eq!(
        gateway.admin("update_extension", &changed).await["ok"],
        true
    );
    assert_eq!(
        state(&gateway, "model").await["operator"]["state"],
        "forced_open",
        "another change leaves it alone"
    );
    let answer = decide(&gateway, "model", "normal").await;
    for router in [&first, &second] {
        eventually(LIMIT, "both have heard of it", async || {
            router
                .readiness()
                .await
                .filter(|said| said["revision"] == answer["revision"])
        })
        .await;
    }
    for _ in 0..20 {
        assert_eq!(
            gateway.route(&request("chat")).await["response"]["output"],
            "hello"
        );
    }
}

#[tokio::test]
async fn a_reset_closes_an_open_breaker_and_ends_a_decision() {
    let routing = Routing::start(&[]).await;
    let record = json!({"breaker": {"consecutive_failures": 2, "open_base_ms": 60_000}});
    let stub = routing
        .extension(Kind::Provider, "model", record, BROKEN)
        .await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    for _ in 0..3 {
        routing.gateway.route(&request("chat")).await;
    }
    decide(&routing.gateway, "model", "metrics_only").await;
    let shown = state(&routing.gateway, "model").await;
    assert_eq!(
        (stub.calls(), &shown["measured_state"]),
        (2, &json!("open")),
        "{shown}"
    );
    let tree = routing.admin("supervision_tree", json!({})).await;
    let mut nodes = tree["tree"]["children"].as_array().unwrap().iter();
    let invokers = nodes.find(|node| node["name"] == "invokers").unwrap();
    let breaker = &invokers["children"][0]["breaker"];
    assert_eq!(
        *breaker,
        json!({"state": "closed", "measured_state": "open"}),
        "what the next call meets"
    );

    for count in 1..=2 {
        let reset = routing
            .admin("reset_breaker", json!({"id": "model", "reason": "mended"}))
            .await;
        assert_eq!(
            (&reset["resets"], &reset["replicas"]),
            (&json!(count), &json!({"answered": 1, "closed": 1})),
            "{reset}"
        );
    }
    let shown = state(&routing.gateway, "model").await;
    assert_eq!(
        (&shown["state"], &shown["operator"]),
        (&json!("closed"), &Value::Null),
        "{shown}"
    );
    assert_eq!(
        shown["reason_code"], "consecutive_failures",
        "why it was open is still known"
    );
    for _ in 0..3 {
        routing.gateway.route(&request("chat")).await;
    }
    assert_eq!(stub.calls(), 4, "it opens again by what it measures");
    let record = routing.admin("get_extension", json!({"id": "model"})).await;
    assert_eq!(
        record["extension"]["breaker_reset"],
        Value::Null,
        "it is no part of the record: {record}"
    );
}

#[tokio::test]
async fn what_is_open_is_open_after_a_restart_and_closes_as_usual() {
    let nats = Nats::start().await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let breaker = |cap: u32| json!({"consecutive_failures": 2, "open_base_ms": 60_000, "open_cap_ms": cap, "jitter": 0});
    gateway
        .register("provider", "model", json!({"breaker": breaker(60_000)}))
        .await;
    gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    let broken = Stub::saying(&nats, Kind::Provider, "model", BROKEN).await;
    for _ in 0..2 {
        gateway.route(&request("chat")).await;
    }
    assert_eq!(state(&gateway, "model").await["state"], "open");
    broken.stop().await;
    let works = Stub::saying(&nats, Kind::Provider, "model", r#"{"output": "hello"}"#).await;
    eventually(LIMIT, "it is on disk", async || {
        router
            .state_file("open-breakers.json")
            .filter(|text| text.contains("model"))
    })
    .await;
    // What is left of the open time counts from the restart, because the cap does: however long
    // that takes.
    let changed = gateway
        .admin(
            "update_extension",
            &json!({"id": "model", "breaker": breaker(10_000)}),
        )
        .await;
    assert_eq!(changed["ok"], true, "{changed}");
    router.respawn();
    router.until_ready().await;

    let answer = gateway.route(&request("chat")).await;
    assert_eq!(
        (&answer["error"]["code"], works.calls()),
        (&json!("extension_unavailable"), 0),
        "{answer}"
    );
    let shown = state(&gateway, "model").await;
    assert_eq!(
        (&shown["state"], &shown["reason_code"]),
        (&json!("open"), &json!("consecutive_failures")),
        "{shown}"
    );
    eventually(LIMIT, "three successes close it", async || {
        gateway.route(&request("chat")).await;
        let closed = state(&gateway, "model").await["state"] == "closed";
        assert_eq!(closed, works.calls() >= 3, "not sooner, and not later");
        closed.then_some(())
    })
    .await;
    eventually(LIMIT, "the file knows it", async || {
        router
            .state_file("open-breakers.json")
            .filter(|text| !text.contains("model"))
    })
    .await;
}

#[tokio::test]
async fn one_tenants_failing_requests_open_nothing_for_another() {
    let routing = Routing::start(&[]).await;
    let own = json!({"breaker": {"isolation": "tenant", "consecutive_failures": 2, "open_base_ms": 60_000}});
    routing.gateway.register("provider", "model", own).await;
    let stub = Stub::answering(&routing.nats, Kind::Provider, "model", |request| {
        let tenant = request.headers.get("tenant_id").map(ToString::to_string);
        Some(if tenant.as_deref() == Some("acme") {
            BROKEN.into()
        } else {
            r#"{"output": "hello"}"#.into()
        })
    })
    .await;
    for tenant in ["acme", "globex"] {
        let body =
            json!({"tenant_id": tenant, "policy_id": "chat", "policy": {"providers": ["model"]}});
        routing.admin("put_policy", body).await;
    }
    for _ in 0..4 {
        routing.gateway.route(&request("chat")).await;
    }
    assert_eq!(stub.calls(), 2, "it is open for who failed");
    for _ in 0..4 {
        let answer = routing
            .gateway
            .route(&request_with("chat", json!({"tenant_id": "globex"})))
            .await;
        assert_eq!(answer["response"]["output"], "hello", "{answer}");
    }
    let refused = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        refused["error"]["code"], "extension_unavailable",
        "{refused}"
    );
    let shown = state(&routing.gateway, "model").await;
    let tenants = &shown["tenants"];
    assert_eq!(
        (&shown["state"], &shown["settings"]["isolation"]),
        (&json!("closed"), &json!("tenant")),
        "{shown}"
    );
    assert_eq!(
        &shown["tenants_counted"],
        &json!({"known": 2, "open": 1, "half_open": 0}),
        "{shown}"
    );
    assert_eq!(
        (tenants.as_object().map(Map::len), &tenants["acme"]["state"]),
        (Some(1), &json!("open")),
        "{shown}"
    );

    let policy = json!({"providers": ["model"], "circuit_breaker": {"isolation": "tenant"}});
    let body = json!({"tenant_id": "acme", "policy_id": "own", "policy": policy});
    let refused = routing.gateway.admin("put_policy", &body).await;
    assert_eq!(
        refused["error"]["details"]["mistakes"][0]["pointer"], "/circuit_breaker/isolation",
        "{refused}"
    );
}

#[tokio::test]
async fn a_decision_ends_by_itself() {
    let routing = Routing::start(&[]).await;
    let _model = routing.provider("model").await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    let body =
        json!({"id": "model", "state": "forced_open", "for_ms": 1_000, "reason": "a moment"});
    routing.admin("set_breaker", body).await;
    eventually(LIMIT, "it is over", async || {
        (routing.gateway.route(&request("chat")).await["ok"] == true).then_some(())
    })
    .await;
    assert_eq!(
        state(&routing.gateway, "model").await["operator"],
        Value::Null
    );
}

#[tokio::test]
async fn breakers_from_the_command_line() {
    let routing = Routing::start(&[]).await;
    routing.gateway.register("pre", "clean", json!({})).await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("beamline-router"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BEAMLINE"))
        {
            command.env_remove(name);
        }
        let url = [
            "--nats-url",
            routing.nats.url(),
            "--timeout",
            "10s",
            "breaker",
        ];
        let output = command
            .args(url)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, err) = run(&[
        "force-open",
        "clean",
        "--for",
        "10m",
        "--reason",
        "bad release",
    ]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("breaker of 'clean' forced_open until "),
        "{out}"
    );
    let (_, out, _) = run(&["list"]);
    let row = out
        .lines()
        .find(|line| line.starts_with("clean"))
        .expect("a row");
    assert!(
        row.contains("open") && row.contains("forced_open") && row.ends_with("bad release"),
        "{out}"
    );
    let (_, out, _) = run(&["show", "clean", "--output", "json"]);
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&shown["state"], &shown["measured_state"]),
        (&json!("open"), &json!("closed")),
        "{shown}"
    );
    for (words, state) in [("disable", "disabled"), ("metrics-only", "metrics_only")] {
        let (code, out, err) = run(&[words, "clean", "--reason", "a trial"]);
        assert!(code == Some(0) && out.contains(state), "{out}{err}");
    }
    let (code, out, err) = run(&["reset", "clean"]);
    assert!(
        code == Some(0)
            && out.starts_with("breaker of 'clean' closed on 1 of 1 replica, at revision "),
        "{out}{err}"
    );
    assert!(
        run(&["show", "clean"]).1.contains("settings  "),
        "for people"
    );

    assert_eq!(run(&["show", "nobody"]).0, Some(3));
    assert_eq!(run(&["force-open", "nobody", "--reason", "x"]).0, Some(3));
    assert_eq!(
        run(&["force-open", "clean"]).0,
        Some(2),
        "a reason is required"
    );
    let (code, _, err) = run(&["disable", "clean", "--reason", "x", "--for", "25h"]);
    assert!(
        code == Some(1) && err.contains("/for_ms"),
        "{code:?}: {err}"
    );
}

#[tokio::test]
async fn a_version_that_nobody_serves_is_shown_as_what_the_next_call_meets() {
    let routing = Routing::start(&[]).await;
    let _v1 = routing.provider("model").await;
    routing
        .gateway
        .policy("chat", &json!({"providers": [{"name": "model"}]}))
        .await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let canary = json!({"id": "model", "versions": [{"version": "v2"}]});
    routing.admin("update_extension", canary).await;
    let refused = eventually(LIMIT, "its breaker opens", async || {
        let answer = routing.gateway.route(&request("chat")).await;
        let refused = answer["error"]["details"]["error_type"] == "circuit_open";
        (refused || answer["error"]["code"] == "extension_unavailable").then_some(answer)
    })
    .await;
    assert_eq!(refused["ok"], false, "{refused}");
    let shown = eventually(LIMIT, "it is shown", async || {
        routing.gateway.route(&request("chat")).await;
        let shown = state(&routing.gateway, "model").await;
        (shown["state"] == "open").then_some(shown)
    })
    .await;
    assert_eq!(
        (
            &shown["versions"]["v1"]["state"],
            &shown["versions"]["v2"]["state"],
            &shown["versions"]["v2"]["class"],
            &shown["class"]
        ),
        (
            &json!("closed"),
            &json!("open"),
            &json!("no_responders"),
            &json!("no_responders")
        ),
        "{shown}"
    );
    let tree = routing.admin("supervision_tree", json!({})).await;
    let text = tree.to_string();
    assert!(
        text.contains(r#""breaker":{"state":"open","version":"v2"}"#),
        "{text}"
    );
}

#[tokio::test]
async fn what_one_tenant_meets_keeps_nobody_else_back_and_nobody_needs_a_setting_for_that() {
    let routing = Routing::start(&[]).await;
    let settings =
        json!({"breaker": {"consecutive_failures": 2, "open_base_ms": 60_000, "jitter": 0}});
    routing
        .gateway
        .register("provider", "model", settings)
        .await;
    let stub = Stub::answering(&routing.nats, Kind::Provider, "model", |request| {
        let tenant = request.headers.get("tenant_id").map(ToString::to_string);
        Some(if tenant.as_deref() == Some("acme") {
            BROKEN.into()
        } else {
            r#"{"output": "hello"}"#.into()
        })
    })
    .await;
    for tenant in ["acme", "globex"] {
        let body =
            json!({"tenant_id": tenant, "policy_id": "chat", "policy": {"providers": ["model"]}});
        routing.admin("put_policy", body).await;
    }
    let globex = || request_with("chat", json!({"tenant_id": "globex"}));
    let answer = routing.gateway.route(&globex()).await;
    assert_eq!(answer["response"]["output"], "hello", "{answer}");
    for _ in 0..4 {
        routing.gateway.route(&request("chat")).await;
    }
    assert_eq!(stub.calls(), 3, "it is open for who failed");
    let answer = routing.gateway.route(&globex()).await;
    assert_eq!(answer["response"]["output"], "hello", "{answer}");
    let shown = state(&routing.gateway, "model").await;
    assert_eq!(
        (&shown["state"], &shown["tenants"]["acme"]["state"]),
        (&json!("closed"), &json!("open")),
        "{shown}"
    );
}

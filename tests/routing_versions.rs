//! Which version and which instance of an extension takes a request, and that the answer says so.

use std::collections::BTreeSet;

use beamline_extension::Kind;
use beamline_test_support::{
    BROKEN, Gateway, LIMIT, Nats, PostgresDatabase, RouterProcess, Routing, Stub, eventually,
    lines, report, request, request_with, steps,
};
use serde_json::{Value, json};

const SESSIONS: usize = 200;

/// A subject of its own for each version of the provider `model`, whose output is the version.
async fn serve_versions(nats: &Nats, versions: &[&str]) -> Vec<Stub> {
    let mut stubs = Vec::new();
    for version in versions {
        let subject = format!("beamline.provider.model.{version}");
        let answer = json!({"output": version});
        stubs.push(Stub::at(nats, &subject, Kind::Provider, "model", &answer.to_string()).await);
    }
    stubs
}

/// The version that took the request, as everything in the answer agrees.
fn version(answer: &Value) -> &str {
    let output = answer["response"]["output"]
        .as_str()
        .unwrap_or_else(|| panic!("no output: {answer}"));
    assert_eq!(report(answer, "model")["version"], output, "{answer}");
    assert_eq!(answer["attempts"][0]["version"], output, "{answer}");
    assert!(
        steps(answer).contains(&format!("model {output}")),
        "{answer}"
    );
    output
}

#[tokio::test]
async fn the_version_follows_from_tenant_environment_policy_and_context() {
    let routing = Routing::start(&[("router.environment", "staging")]).await;
    let rules = json!([
        {"version": "v2", "routing_rules": {"tenant": "globex"}},
        {"version": "v3", "routing_rules": {"environment": ["staging", "test"], "lang": "de"}},
        {"version": "v4", "routing_rules": {"policy": ["beta", "gamma"]}},
        {"version": "v5", "routing_rules": {"beta_tester": true, "level": [1, 2]}},
        {"version": "v6", "routing_rules": {"environment": "prod"}},
        {"version": "v7", "routing_rules": {"lang": ["fr", "it"]}},
        {"version": "v8", "routing_rules": {"lang": ["fr"]}},
        {"version": "v9", "routing_rules": {"lang": "fr"}, "enabled": false},
    ]);
    routing
        .gateway
        .register("provider", "model", json!({"versions": rules}))
        .await;
    let all = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9"];
    let stubs = serve_versions(&routing.nats, &all).await;
    let policy = json!({"providers": ["model"]});
    for (tenant, id) in [
        ("acme", "chat"),
        ("acme", "beta"),
        ("globex", "chat"),
        ("globex", "beta"),
    ] {
        routing
            .admin(
                "put_policy",
                json!({"tenant_id": tenant, "policy_id": id, "policy": policy}),
            )
            .await;
    }
    let cases = [
        (
            "acme",
            "chat",
            json!({}),
            "v1",
            "nothing matches: the extension's own row",
        ),
        ("globex", "chat", json!({}), "v2", "its tenant"),
        (
            "acme",
            "chat",
            json!({"lang": "de"}),
            "v3",
            "environment and language",
        ),
        (
            "globex",
            "chat",
            json!({"lang": "de"}),
            "v3",
            "two conditions beat one",
        ),
        ("acme", "beta", json!({}), "v4", "one of the policies"),
        ("globex", "beta", json!({}), "v4", "newer beats older"),
        (
            "acme",
            "chat",
            json!({"beta_tester": true, "level": 2}),
            "v5",
            "any keys of the context",
        ),
        (
            "acme",
            "chat",
            json!({"beta_tester": "true", "level": 2}),
            "v1",
            "a text is no flag",
        ),
        (
            "acme",
            "chat",
            json!({"beta_tester": true}),
            "v1",
            "every condition must hold",
        ),
        (
            "acme",
            "chat",
            json!({"environment": "prod", "tenant": "globex"}),
            "v1",
            "nobody claims to be another",
        ),
        (
            "acme",
            "chat",
            json!({"lang": "it"}),
            "v7",
            "a list means one of",
        ),
        (
            "acme",
            "chat",
            json!({"lang": "fr"}),
            "v8",
            "newer beats older, and disabled is disabled",
        ),
    ];
    for (tenant, policy, context, want, why) in cases {
        let body = request_with(policy, json!({"tenant_id": tenant, "context": context}));
        let answer = routing.gateway.route(&body).await;
        assert_eq!(version(&answer), want, "{why}: {answer}");
    }
    let called: Vec<_> = all
        .iter()
        .zip(&stubs)
        .filter(|(_, stub)| stub.calls() > 0)
        .map(|(v, _)| *v)
        .collect();
    assert_eq!(called, ["v1", "v2", "v3", "v4", "v5", "v7", "v8"]);
}

#[tokio::test]
async fn a_version_brings_its_own_config_and_the_explanation_its_rule() {
    let routing = Routing::start(&[]).await;
    let versions =
        json!([{"version": "v2", "config": {"model": "new"}, "routing_rules": {"tenant": "acme"}}]);
    let record = json!({"config": {"model": "old", "kept": 1}, "versions": versions});
    routing.gateway.register("pre", "tidy", record).await;
    let tidy = Stub::at(
        &routing.nats,
        "beamline.ext.pre.tidy.v2",
        Kind::Pre,
        "tidy",
        "{}",
    )
    .await;
    let _model = routing.provider("model").await;
    let policy =
        json!({"pre": [{"id": "tidy", "config": {"extra": true}}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(report(&answer, "tidy")["version"], "v2", "{answer}");
    assert_eq!(
        tidy.last_body()["config"],
        json!({"model": "new", "kept": 1, "extra": true})
    );
    assert!(
        steps(&answer).contains("pre tidy v2 by its rule (tenant = \"acme\"): success"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_change_of_the_rules_is_served_without_a_restart() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    let _stubs = serve_versions(&routing.nats, &["v1", "v2"]).await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    let rule = |rules: Value, enabled: bool| json!([{"version": "v2", "routing_rules": rules, "enabled": enabled}]);
    let cases = [
        (json!([]), "v1"),
        (rule(json!({}), true), "v2"),
        (rule(json!({"tenant": "globex"}), true), "v1"),
        (rule(json!({"tenant": "acme"}), true), "v2"),
        (rule(json!({"tenant": "acme"}), false), "v1"),
    ];
    for (versions, want) in cases {
        routing
            .admin(
                "update_extension",
                json!({"id": "model", "versions": versions}),
            )
            .await;
        let answer = routing.gateway.route(&request("chat")).await;
        assert_eq!(version(&answer), want, "{versions}");
    }
}

#[tokio::test]
async fn two_halves_leave_nobody_and_an_empty_list_is_met_by_nobody() {
    let routing = Routing::start(&[]).await;
    let versions = json!([{"version": "v2", "routing_rules": {"percent": 50}},
                          {"version": "v3", "routing_rules": {"percent": 50}},
                          {"version": "v4", "routing_rules": {"tenant_id": [], "lang": "de"}}]);
    let record = json!({"versions": versions});
    routing.gateway.register("provider", "model", record).await;
    let policy = json!({"providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let mut seen = BTreeSet::new();
    for session in 0..100 {
        let context = json!({"session_id": format!("s-{session}"), "lang": "de"});
        let body = request_with("chat", json!({"context": context}));
        let answer = routing.gateway.decide(&body).await;
        seen.insert(report(&answer, "model")["version"].to_string());
    }
    assert_eq!(seen, ["\"v2\"", "\"v3\""].map(str::to_owned).into());
    let more = json!({"id": "model", "versions": [{"version": "v2", "routing_rules": {"percent": 50}},
                                                  {"version": "v3", "routing_rules": {"percent": 51}}]});
    let refused = routing.gateway.admin("update_extension", &more).await;
    assert_eq!(
        refused["error"]["details"]["mistakes"][0]["pointer"], "/versions/1/routing_rules/percent",
        "{refused}"
    );
}

/// Two routers on one database, each on a NATS server of its own, so that a test knows whom it
/// asks.
struct Replicas {
    gateways: [Gateway; 2],
    routers: [RouterProcess; 2],
    _servers: [Nats; 2],
    _database: PostgresDatabase,
}

impl Replicas {
    async fn start() -> Self {
        let (left, right) = tokio::join!(Nats::start(), Nats::start());
        let database = PostgresDatabase::create().await;
        let url = database.url();
        let left_settings = [("nats.url", left.url()), ("database.url", &url)];
        let right_settings = [("nats.url", right.url()), ("database.url", &url)];
        let routers = tokio::join!(
            RouterProcess::start(&left_settings),
            RouterProcess::start(&right_settings)
        );
        let gateways = tokio::join!(Gateway::connect(&left), Gateway::connect(&right));
        Self {
            gateways: gateways.into(),
            routers: routers.into(),
            _servers: [left, right],
            _database: database,
        }
    }

    /// Sets the percentage of `v2`, waits until both serve it, and answers the sessions that get
    /// it.
    async fn sessions_at(&self, percent: u32) -> BTreeSet<usize> {
        let versions = json!([{"version": "v2", "routing_rules": {"percent": percent}}]);
        let written = self.gateways[0]
            .admin(
                "update_extension",
                &json!({"id": "model", "versions": versions}),
            )
            .await;
        assert_eq!(written["ok"], true, "{written}");
        for router in &self.routers {
            eventually(LIMIT, "the revision is served", async || {
                router
                    .readiness()
                    .await
                    .filter(|said| said["revision"] == written["revision"])
            })
            .await;
        }
        let [left, right] = &self.gateways;
        let (left, right) = tokio::join!(sessions_on_v2(left), sessions_on_v2(right));
        assert_eq!(left, right, "both replicas decide the same at {percent} %");
        left
    }
}

async fn sessions_on_v2(gateway: &Gateway) -> BTreeSet<usize> {
    let mut sessions = BTreeSet::new();
    for session in 0..SESSIONS {
        let context = json!({"session_id": format!("s-{session}")});
        let answer = gateway
            .decide(&request_with("chat", json!({"context": context})))
            .await;
        if report(&answer, "model")["version"] == "v2" {
            sessions.insert(session);
        }
    }
    sessions
}

#[tokio::test]
async fn raising_a_percentage_only_adds_sessions_on_every_replica() {
    let replicas = Replicas::start().await;
    replicas.gateways[0]
        .register("provider", "model", json!({}))
        .await;
    replicas.gateways[0]
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    assert_eq!(replicas.sessions_at(0).await, BTreeSet::new());
    let ten = replicas.sessions_at(10).await;
    let thirty = replicas.sessions_at(30).await;
    assert!(
        (5..=40).contains(&ten.len()),
        "about 20 of 200: {}",
        ten.len()
    );
    assert!(
        (35..=90).contains(&thirty.len()),
        "about 60 of 200: {}",
        thirty.len()
    );
    assert!(ten.is_subset(&thirty), "those in at 10 % stay in");
    assert_eq!(
        replicas.sessions_at(10).await,
        ten,
        "and the same are in again"
    );
    assert_eq!(replicas.sessions_at(100).await.len(), SESSIONS);
}

fn instances(of: &[(&str, u32)]) -> Value {
    let instance = |(id, weight): &(&str, u32)| json!({"instance_id": id, "subject": format!("beamline.ext.at.{id}"), "weight": weight});
    of.iter().map(instance).collect()
}

async fn serve_instance(
    routing: &Routing,
    kind: Kind,
    id: &str,
    instance: &str,
    answer: &str,
) -> Stub {
    Stub::at(
        &routing.nats,
        &format!("beamline.ext.at.{instance}"),
        kind,
        id,
        answer,
    )
    .await
}

#[tokio::test]
async fn instances_share_the_work_by_weight_and_the_answer_names_the_one() {
    let routing = Routing::start(&[]).await;
    let record = json!({"instances": instances(&[("east", 75), ("west", 25), ("spare", 0)])});
    routing.gateway.register("provider", "model", record).await;
    let mut stubs = Vec::new();
    for instance in ["east", "west", "spare"] {
        let answer = json!({"output": instance}).to_string();
        stubs.push(serve_instance(&routing, Kind::Provider, "model", instance, &answer).await);
    }
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    for _ in 0..200 {
        let answer = routing.gateway.route(&request("chat")).await;
        let instance = &answer["response"]["output"];
        assert_eq!(report(&answer, "model")["instance"], *instance, "{answer}");
        assert_eq!(answer["attempts"][0]["instance"], *instance, "{answer}");
        assert!(steps(&answer).contains(&format!(
            "on instance {}",
            instance.as_str().unwrap_or_default()
        )));
    }
    let calls: Vec<usize> = stubs.iter().map(Stub::calls).collect();
    // Six standard deviations around 150.
    assert!(
        (113..=187).contains(&calls[0]) && calls[0] + calls[1] == 200 && calls[2] == 0,
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_dead_instance_costs_a_retry_and_is_avoided_after_some() {
    let routing = Routing::start(&[]).await;
    let record = json!({"retry": 1, "instances": instances(&[("alive", 50), ("dead", 50)])});
    routing.gateway.register("pre", "tidy", record).await;
    let alive = serve_instance(&routing, Kind::Pre, "tidy", "alive", "{}").await;
    let _model = routing.provider("model").await;
    let policy = json!({"pre": [{"id": "tidy", "mode": "required"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let tidy = async || {
        let answer = routing.gateway.route(&request("chat")).await;
        let report = report(&answer, "tidy").clone();
        assert_eq!(
            (&report["status"], &report["instance"]),
            (&json!("success"), &json!("alive")),
            "{answer}"
        );
        (report["attempts"].as_u64(), answer)
    };
    let mut retried = 0;
    // Five failures in a row open the breaker of the dead one.
    eventually(LIMIT, "five requests met the dead instance", async || {
        retried += usize::from(tidy().await.0 == Some(2));
        (retried == 5).then_some(())
    })
    .await;
    for _ in 0..10 {
        let (attempts, answer) = tidy().await;
        assert_eq!(attempts, Some(1), "{answer}");
        assert!(
            steps(&answer).contains("tidy v1 on instance alive, 1 unhealthy instance avoided"),
            "{answer}"
        );
    }
    assert!(alive.calls() >= 15);
}

#[tokio::test]
async fn a_retry_at_a_provider_goes_to_another_instance() {
    let routing = Routing::start(&[]).await;
    let record = json!({"instances": instances(&[("good", 1), ("bad", 100)])});
    routing.gateway.register("provider", "model", record).await;
    let good = serve_instance(
        &routing,
        Kind::Provider,
        "model",
        "good",
        r#"{"output": "fine"}"#,
    )
    .await;
    let bad = serve_instance(&routing, Kind::Provider, "model", "bad", BROKEN).await;
    let backoff = json!({"strategy": "fixed", "base_ms": 1, "jitter": false});
    let rule = json!({"when": {"status": "5xx"}, "retry": 1, "backoff": backoff});
    routing
        .gateway
        .policy(
            "chat",
            &json!({"providers": ["model"], "fallbacks": [rule]}),
        )
        .await;
    let answer = eventually(LIMIT, "a request meets the bad instance", async || {
        let answer = routing.gateway.route(&request("chat")).await;
        assert_eq!(answer["response"]["output"], "fine", "{answer}");
        (bad.calls() > 0).then_some(answer)
    })
    .await;
    assert_eq!(
        lines(&answer["attempts"], &["instance", "status"]),
        ["bad error", "good success"]
    );
    assert_eq!(
        (bad.attempts(), good.attempts().pop()),
        (vec!["1".to_owned()], Some("2".to_owned()))
    );
    assert_eq!(report(&answer, "model")["instance"], "good");
}

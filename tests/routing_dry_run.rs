//! What the router tells about a pipeline: explanations at three levels, dry runs, and how complex
//! it is.

use beamline_extension::Kind;
use beamline_test_support::{LIMIT, Routing, Stub, eventually, lines, report, request_with, steps};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

const SECRET: &str = "hush-4711";

/// A pipeline of one extension of each kind, whose configs nobody but they may see.
struct Pipeline {
    routing: Routing,
    pre: Stub,
    guard: Stub,
    model: Stub,
    post: Stub,
}

impl Pipeline {
    async fn start() -> Self {
        let routing = Routing::start(&[]).await;
        let instances =
            json!([{"instance_id": "east", "subject": "beamline.ext.at.east", "weight": 100}]);
        let versions = json!([{"version": "v2", "routing_rules": {"lang": ["en", "fr"]}, "config": {"key": SECRET}}]);
        let record =
            json!({"config": {"key": SECRET}, "instances": instances, "versions": versions});
        routing.gateway.register("pre", "tidy", record).await;
        let config = json!({"config": {"key": SECRET}});
        let pre = Stub::at(
            &routing.nats,
            "beamline.ext.pre.tidy.v2",
            Kind::Pre,
            "tidy",
            r#"{"payload": {"payload": "tidied"}}"#,
        );
        let pre = pre.await;
        let guard = routing
            .extension(
                Kind::Validator,
                "guard",
                config.clone(),
                r#"{"status": "ok"}"#,
            )
            .await;
        let model = routing
            .extension(
                Kind::Provider,
                "model",
                config.clone(),
                r#"{"output": "said"}"#,
            )
            .await;
        let post = routing
            .extension(
                Kind::Post,
                "polish",
                config,
                r#"{"payload": {"payload": "polished"}}"#,
            )
            .await;
        for id in ["spare", "off"] {
            routing.gateway.register("provider", id, json!({})).await;
        }
        routing
            .admin("disable_extension", json!({"id": "off"}))
            .await;
        let own = json!({"key": SECRET, "own": 1});
        let policy = json!({
            "version": "3.1", "pre": [{"id": "tidy", "mode": "required", "config": own}],
            "validators": [{"id": "guard", "config": own}], "post": [{"id": "polish", "config": own}],
            "providers": [{"name": "model", "weight": 3, "config": own}, {"name": "spare", "weight": 1}, {"name": "off", "weight": 96}],
            "fallbacks": [{"when": {"status": ["timeout", "5xx"]}, "retry": 1, "to": "spare"}],
        });
        routing.gateway.policy("chat", &policy).await;
        Self {
            routing,
            pre,
            guard,
            model,
            post,
        }
    }

    async fn dry_run(&self, more: Value) -> Value {
        let mut body = json!({"tenant_id": "acme", "policy_id": "chat", "payload": "hello"});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        self.routing.admin("dry_run_pipeline", body).await["result"].clone()
    }

    fn calls(&self) -> [usize; 4] {
        [&self.pre, &self.guard, &self.model, &self.post].map(Stub::calls)
    }
}

fn keys(explanation: &Value) -> Vec<&str> {
    let keys = explanation
        .as_object()
        .map(|object| object.keys().map(String::as_str).collect());
    keys.unwrap_or_default()
}

#[tokio::test]
async fn an_explanation_tells_as_much_as_the_caller_wants() {
    let pipeline = Pipeline::start().await;
    let explained = async |level: Value| {
        let context = json!({"lang": "en", "detail_level": level});
        let answer = pipeline
            .routing
            .gateway
            .decide(&request_with("chat", json!({"context": context})))
            .await;
        answer["decision"]["explanation"].clone()
    };
    let minimal = explained(json!("minimal")).await;
    let always = [
        "policy_id",
        "policy_version",
        "priority",
        "provider_id",
        "reason",
    ];
    assert_eq!(keys(&minimal), always);
    assert_eq!(
        (&minimal["policy_id"], &minimal["policy_version"]),
        (&json!("chat"), &json!("3.1"))
    );

    let detailed = explained(json!("detailed")).await;
    assert_eq!(
        keys(&detailed),
        [
            "context",
            "policy_id",
            "policy_version",
            "priority",
            "provider_id",
            "reason",
            "steps"
        ]
    );
    assert_eq!(detailed["context"]["tenant_id"], "acme");
    let steps = detailed["steps"].to_string();
    for sentence in [
        "2. pre tidy v2 by its rule (lang = one of \\\"en\\\", \\\"fr\\\"): success",
        "3. validator guard v1: success",
        "4. provider model: weight 3, 75.0 %",
        "5. provider spare: weight 1, 25.0 %",
        "6. provider off: excluded, disabled",
        "v1 chosen by weight",
        "post polish v1: not run",
    ] {
        assert!(steps.contains(sentence), "{sentence} is not in {steps}");
    }
    assert_eq!(
        keys(&explained(Value::Null).await),
        keys(&detailed),
        "detailed is the default"
    );
    assert_eq!(
        keys(&explained(json!("loud")).await),
        keys(&detailed),
        "and what any other word means"
    );

    let verbose = explained(json!("verbose")).await;
    for key in ["revision", "providers", "places", "steps", "context"] {
        assert!(keys(&verbose).contains(&key), "{key}: {verbose}");
    }
    assert_eq!(
        lines(
            &verbose["providers"],
            &["provider_id", "weight", "share", "excluded"]
        ),
        [
            "model 3.0 0.75 null",
            "spare 1.0 0.25 null",
            "off 96.0 0.0 disabled"
        ]
    );
    assert_eq!(
        verbose["places"][0]["subjects"],
        json!(["beamline.ext.pre.tidy.v2"])
    );
}

#[tokio::test]
async fn no_caller_ever_sees_a_config() {
    let pipeline = Pipeline::start().await;
    for level in ["minimal", "detailed", "verbose"] {
        for lang in ["en", "de"] {
            let context = json!({"lang": lang, "detail_level": level});
            let body = request_with("chat", json!({"context": context})).to_string();
            for operation in ["decide", "route"] {
                let answer = pipeline
                    .routing
                    .gateway
                    .send(operation, body.clone(), &[])
                    .await;
                assert!(
                    answer.json["ok"].is_boolean() && !answer.text.contains(SECRET),
                    "{}",
                    answer.text
                );
            }
        }
    }
    assert!(
        pipeline.pre.last_text().contains(SECRET),
        "its own extension does"
    );
}

#[tokio::test]
async fn a_dry_run_tells_everything_and_sends_nothing() {
    let pipeline = Pipeline::start().await;
    let client = pipeline.routing.gateway.client();
    let mut to_extensions = client
        .subscribe("beamline.ext.>")
        .await
        .expect("a subscription");
    let mut to_providers = client
        .subscribe("beamline.provider.>")
        .await
        .expect("a subscription");
    let result = pipeline
        .dry_run(json!({"context": {"lang": "fr", "detail_level": "verbose"}}))
        .await;

    assert_eq!(
        (&result["called_extensions"], &result["blocked_by"]),
        (&json!(false), &Value::Null),
        "{result}"
    );
    assert_eq!(
        (&result["provider_selected"], &result["final_payload"]),
        (&json!("model"), &json!("hello"))
    );
    assert_eq!(
        (
            &result["executed_extensions"],
            &result["post_processors_executed"]
        ),
        (&json!([]), &json!([]))
    );
    let decision = &result["decision"];
    assert_eq!(
        (&decision["provider_id"], &decision["reason"]),
        (&json!("model"), &json!("weighted")),
        "{result}"
    );
    assert!(
        decision["explanation"]["steps"]
            .to_string()
            .contains("pre tidy v2"),
        "{decision}"
    );
    let told = &result["pipeline"];
    assert_eq!(
        (
            told["pre"].as_array().map(Vec::len),
            told["post"].as_array().map(Vec::len)
        ),
        (Some(1), Some(1))
    );
    let tidy = &told["pre"][0][0];
    assert_eq!(
        lines(
            &json!([tidy]),
            &[
                "id",
                "type",
                "version",
                "version_rule",
                "instance",
                "subject",
                "mode"
            ]
        ),
        ["tidy pre v2 lang = one of \"en\", \"fr\" null beamline.ext.pre.tidy.v2 required"]
    );
    assert_eq!(
        tidy["config"],
        json!({"key": SECRET, "own": 1}),
        "whoever administers it sees the config"
    );
    assert_eq!(
        (&told["validators"][0]["on_fail"], &told["order"]),
        (&json!("block"), &json!("weighted"))
    );
    assert_eq!(
        lines(&told["providers"], &["provider_id", "share", "excluded"]),
        ["model 0.75 null", "spare 0.25 null", "off 0.0 disabled"]
    );
    let fails = told["if_the_provider_fails"][0]
        .as_str()
        .expect("a sentence");
    assert!(
        fails.starts_with("Rule 1: on timeout or 5xx: 1 retry")
            && fails.ends_with("spare takes over."),
        "{fails}"
    );
    assert!(
        tidy["if_it_fails"]
            .as_str()
            .is_some_and(|says| says.contains("pre_processor_failed")),
        "{tidy}"
    );
    assert_eq!(
        (
            &result["estimate"]["extensions_ms"],
            &result["estimate"]["extensions_from"]
        ),
        (&json!(90.0), &json!("assumption"))
    );
    let other = pipeline.dry_run(json!({"context": {"lang": "de"}})).await;
    let tidy = &other["pipeline"]["pre"][0][0];
    assert_eq!(
        lines(
            &json!([tidy]),
            &["version", "version_rule", "instance", "subject"]
        ),
        ["v1 null east beamline.ext.at.east"]
    );
    assert_eq!(
        lines(&tidy["instances"], &["instance_id", "weight", "healthy"]),
        ["east 100 true"]
    );

    // The server delivers in order: whatever a dry run had sent would come before these.
    for (subscriber, mark) in [
        (&mut to_extensions, "beamline.ext.mark"),
        (&mut to_providers, "beamline.provider.mark"),
    ] {
        client.publish(mark, "".into()).await.expect("sent");
        let first = timeout(LIMIT, subscriber.next())
            .await
            .expect("in time")
            .expect("a message");
        assert_eq!(first.subject.as_str(), mark);
    }
    assert_eq!(pipeline.calls(), [0; 4]);
}

#[tokio::test]
async fn a_dry_run_with_calls_runs_all_but_the_provider() {
    let pipeline = Pipeline::start().await;
    let asked = json!({"call_extensions": true, "context": {"lang": "en"}, "provider_output": {"text": "made up"}});
    let result = pipeline.dry_run(asked).await;
    assert_eq!(pipeline.calls(), [1, 1, 0, 1], "{result}");
    assert_eq!(
        lines(&result["executed_extensions"], &["id", "status"]),
        ["tidy success", "guard success"]
    );
    assert_eq!(
        lines(&result["post_processors_executed"], &["id", "status"]),
        ["polish success"]
    );
    assert_eq!(
        (&result["final_payload"], &result["called_extensions"]),
        (&json!("polished"), &json!(true))
    );
    assert_eq!(pipeline.guard.last_body()["payload"]["payload"], "tidied");
    let polished = &pipeline.post.last_body()["payload"];
    assert_eq!(
        polished["payload"],
        json!({"text": "made up"}),
        "what the provider is said to answer"
    );
    assert_eq!(polished["metadata"]["provider_id"], "model");
}

#[tokio::test]
async fn a_dry_run_says_who_blocks() {
    let pipeline = Pipeline::start().await;
    let no = json!({"status": "reject", "reason": "pii_detected"}).to_string();
    let strict = pipeline
        .routing
        .extension(Kind::Validator, "strict", json!({}), &no)
        .await;
    let policy = json!({"validators": [{"id": "strict"}], "providers": ["model"], "post": [{"id": "polish"}]});
    let result = pipeline
        .dry_run(json!({"policy": policy, "call_extensions": true}))
        .await;
    assert_eq!(
        (&result["blocked_by"], strict.calls()),
        (&json!("strict"), 1),
        "{result}"
    );
    assert_eq!(
        (&result["decision"], &result["provider_selected"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(result["error"]["code"], "validator_blocked");
    assert_eq!(
        lines(&result["executed_extensions"], &["id", "status"]),
        ["strict rejected"]
    );
    assert_eq!(pipeline.calls(), [0; 4], "nothing after it is called");
    let dry = pipeline.dry_run(json!({"policy": policy})).await;
    assert_eq!(
        (&dry["blocked_by"], &dry["provider_selected"]),
        (&Value::Null, &json!("model")),
        "uncalled, it blocks nobody"
    );
}

#[tokio::test]
async fn a_policy_can_be_tried_before_it_is_saved() {
    let pipeline = Pipeline::start().await;
    let policy = json!({"version": "draft", "providers": ["spare", "model"]});
    let result = pipeline.dry_run(json!({"policy": policy})).await;
    assert_eq!(
        (
            &result["provider_selected"],
            &result["pipeline"]["policy_version"]
        ),
        (&json!("spare"), &json!("draft"))
    );
    for (waits, waves) in [(json!([]), 1), (Value::Null, 2)] {
        let second = json!({"id": "normalize_text", "depends_on": waits});
        let policy = json!({"pre": [{"id": "tidy"}, second], "providers": ["model"]});
        let told = pipeline.dry_run(json!({"policy": policy})).await["pipeline"]["pre"].clone();
        assert_eq!(told.as_array().map(Vec::len), Some(waves), "{told}");
    }
    assert_eq!(
        pipeline.dry_run(json!({})).await["pipeline"]["policy_version"],
        "3.1",
        "the saved one is untouched"
    );
    let body = request_with("chat", json!({"context": {"lang": "en"}}));
    let served = pipeline.routing.gateway.decide(&body).await;
    assert_eq!(served["decision"]["policy_version"], "3.1", "{served}");
}

#[tokio::test]
async fn a_dry_run_that_cannot_be_made_says_why() {
    let pipeline = Pipeline::start().await;
    let refused = async |body: Value| {
        let answer = pipeline
            .routing
            .gateway
            .admin("dry_run_pipeline", &body)
            .await;
        assert_eq!(answer["ok"], false, "{answer}");
        (
            answer["error"]["code"].clone(),
            answer["error"]["details"]["mistakes"].clone(),
        )
    };
    let (code, _) = refused(json!({"tenant_id": "acme", "policy_id": "nope", "payload": 1})).await;
    assert_eq!(code, "not_found");
    let (code, _) =
        refused(json!({"tenant_id": "nobody", "policy_id": "chat", "payload": 1})).await;
    assert_eq!(code, "not_found");
    let ghost = json!({"pre": [{"id": "ghost"}], "providers": ["model"]});
    let (code, _) = refused(json!({"tenant_id": "acme", "payload": 1, "policy": ghost})).await;
    assert_eq!(code, "not_found");
    let (code, mistakes) =
        refused(json!({"policy_id": 7, "context": [], "call_extensions": "yes", "timeout_ms": 0}))
            .await;
    assert_eq!(code, "invalid_request");
    let mut pointers = lines(&mistakes, &["pointer"]);
    pointers.sort();
    assert_eq!(
        pointers,
        [
            "/call_extensions",
            "/context",
            "/payload",
            "/policy_id",
            "/tenant_id",
            "/timeout_ms"
        ]
    );
    let wrong = json!({"providers": [{"name": "model", "weight": -1}], "wat": 1});
    let (code, mistakes) =
        refused(json!({"tenant_id": "acme", "payload": 1, "policy": wrong})).await;
    assert_eq!(code, "invalid_request");
    assert_eq!(
        lines(&mistakes, &["pointer"]),
        ["/providers/0/weight", "/wat"]
    );
}

#[tokio::test]
async fn the_complexity_follows_its_formula_and_uses_what_was_measured() {
    let pipeline = Pipeline::start().await;
    let routing = &pipeline.routing;
    let mut validators = vec![json!({"id": "guard"})];
    let mut stubs = Vec::new();
    for id in ["v1", "v2", "v3"] {
        stubs.push(
            routing
                .extension(Kind::Validator, id, json!({}), r#"{"status": "ok"}"#)
                .await,
        );
        validators.push(json!({"id": id}));
    }
    let policy = json!({"pre": [{"id": "tidy"}], "validators": validators, "providers": ["model"], "post": [{"id": "polish"}]});
    routing.gateway.policy("long", &policy).await;
    let ask = async |policy: &str| {
        let body = json!({"tenant_id": "acme", "policy_id": policy});
        routing
            .gateway
            .admin("get_pipeline_complexity", &body)
            .await
    };
    let short = ask("chat").await;
    // 60 · 3/4
    assert_eq!(
        (&short["complexity_score"], &short["complexity_level"]),
        (&json!(45.0), &json!("medium")),
        "{short}"
    );
    assert_eq!(
        (&short["total_extensions"], &short["estimated_latency_ms"]),
        (&json!(3), &json!(90.0))
    );
    assert_eq!(
        (&short["warnings"], &short["estimate_from"]),
        (&json!([]), &json!("assumption"))
    );
    let long = ask("long").await;
    // 60 + 5 · 2, 5 for the validators, 4 · 2
    assert_eq!(
        (&long["complexity_score"], &long["complexity_level"]),
        (&json!(83.0), &json!("very_high")),
        "{long}"
    );
    let warnings = lines(&json!([{"all": long["warnings"]}]), &["all"]).concat();
    for warning in [
        "6 extensions; 4 are recommended",
        "4 validators; 2 are recommended",
        "about 180 ms (assumed",
    ] {
        assert!(warnings.contains(warning), "{warning} is not in {warnings}");
    }
    assert_eq!(
        long["recommendations"].as_array().map(Vec::len),
        Some(3),
        "{long}"
    );

    let body = request_with("long", json!({"context": {"lang": "en"}}));
    let answer = routing.gateway.route(&body).await;
    assert_eq!(report(&answer, "v3")["status"], "success", "{answer}");
    assert!(!steps(&answer).is_empty());
    let measured = eventually(LIMIT, "all extensions were measured", async || {
        let measured = ask("long").await;
        (measured["estimate_from"] == "measurements").then_some(measured)
    })
    .await;
    let estimate = measured["estimated_latency_ms"].as_f64().expect("a number");
    assert!(estimate > 0.0 && estimate != 180.0, "{measured}");
    assert_eq!(
        measured["complexity_score"], 83.0,
        "how complex it is does not change"
    );
    let dry = pipeline
        .dry_run(json!({"policy_id": "long", "context": {"lang": "en"}}))
        .await;
    assert_eq!(dry["estimate"]["extensions_from"], "measurements", "{dry}");
}

//! A config that its extension would refuse is refused when it is saved, as far as the extension
//! tells what it takes.

use beamline_extension::{CallContext, Edit, Extension, Failure, Message, Running};
use beamline_test_support::{
    ExtensionProcess, Gateway, LIMIT, Nats, Routing, eventually, lines, report, request, serve,
    serve_with,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

async fn unchanged(_message: Message, _call: CallContext) -> Result<Edit, Failure> {
    Ok(Edit::unchanged())
}

/// A pre-processor that takes only these keys.
async fn tidy(nats: &Nats, keys: &[&str]) -> Running {
    let properties: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), json!(true)))
        .collect();
    let schema = json!({"properties": properties, "additionalProperties": false});
    let extension = Extension::pre("tidy", unchanged).with_config_schema(schema);
    serve(nats, extension).await
}

fn tidy_policy(config: Value) -> Value {
    let policy = json!({"pre": [{"id": "tidy", "config": config}], "providers": ["model"]});
    json!({"tenant_id": "acme", "policy_id": "chat", "policy": policy})
}

/// The mistakes of what is refused. On a busy machine a program may answer too late to be heard,
/// and the document is taken: it is sent again.
async fn refused(gateway: &Gateway, operation: &str, body: &Value) -> Vec<String> {
    let answer = eventually(LIMIT, "it is refused", async || {
        let answer = gateway.admin(operation, body).await;
        (answer["ok"] != true).then_some(answer)
    })
    .await;
    assert_eq!(answer["error"]["code"], "invalid_request", "{answer}");
    let mistakes = &answer["error"]["details"]["mistakes"];
    lines(mistakes, &["pointer", "message"])
}

/// The warnings of what is taken, as soon as there are so many.
async fn warned(gateway: &Gateway, operation: &str, body: &Value, count: usize) -> Vec<String> {
    eventually(LIMIT, "it is taken with warnings", async || {
        let answer = gateway.admin(operation, body).await;
        let warnings = answer.get("warnings")?;
        let warnings = lines(warnings, &["pointer", "message"]);
        (warnings.len() == count).then_some(warnings)
    })
    .await
}

async fn registered() -> Routing {
    let routing = Routing::start(&[]).await;
    routing.gateway.register("pre", "tidy", json!({})).await;
    let gateway = &routing.gateway;
    gateway.register("provider", "model", json!({})).await;
    routing
}

#[tokio::test]
async fn a_slip_in_a_config_of_a_reference_program_is_refused_with_what_was_meant() {
    let routing = Routing::start(&[]).await;
    let nats = &routing.nats;
    let _programs = [
        ExtensionProcess::start(nats, "beamline-normalize-text", "normalize_text", &[]).await,
        ExtensionProcess::start(nats, "beamline-mask-pii", "mask_pii", &[]).await,
        ExtensionProcess::start(nats, "beamline-mock-provider", "mock_provider", &[]).await,
    ];
    let gateway = &routing.gateway;
    let put = |lowercase: &str, style: &str, latency: Value| {
        let policy = json!({
            "pre": [{"id": "normalize_text", "mode": "required", "config": {lowercase: true}}],
            "providers": [{"name": "mock_provider", "config": {"mock": {"latency_ms": latency}}}],
            "post": [{"id": "mask_pii", "mode": "required", "config": {"style": style}}],
        });
        json!({"tenant_id": "acme", "policy_id": "chat", "policy": policy})
    };
    let wrong = put("lowercas", "blur", json!(-1));
    let expected = [
        "/post/0/config/style must be one of label, partial, stars, is \"blur\"",
        "/pre/0/config/lowercas is not a known key; did you mean lowercase?",
        "/providers/0/config/mock/latency_ms must be 0 or more, is -1",
    ];
    assert_eq!(refused(gateway, "put_policy", &wrong).await, expected);
    let mut only_checked = wrong;
    only_checked["check_only"] = json!(true);
    assert_eq!(
        refused(gateway, "put_policy", &only_checked).await,
        expected
    );

    let saved = gateway
        .admin("put_policy", &put("lowercase", "stars", json!(1)))
        .await;
    assert_eq!(saved["ok"], true, "{saved}");
    assert!(saved.get("warnings").is_none(), "{saved}");
    let answer = gateway.route(&request("chat")).await;
    assert_eq!(report(&answer, "normalize_text")["status"], "success");
    assert_eq!(answer["response"]["output"], "echo: hello", "{answer}");

    let record = json!({"id": "normalize_text", "config": {"unicode": "nfd"}, "versions": [
        {"version": "v1b", "subject": "beamline.ext.pre.normalize_text.v1b", "config": {"trim": 1}}]});
    let said = refused(gateway, "update_extension", &record).await;
    let expected = ["/config/unicode must be one of nfc, none, is \"nfd\""];
    assert_eq!(said, expected, "nobody serves v1b");
}

#[tokio::test]
async fn who_cannot_be_asked_is_not_asked() {
    let routing = registered().await;
    let anything = tidy_policy(json!({"colour": "blue"}));
    let saved = routing.admin("put_policy", anything.clone()).await;
    assert!(saved.get("warnings").is_none(), "nobody listens: {saved}");
    let silent = serve(&routing.nats, Extension::pre("tidy", unchanged)).await;
    routing.admin("put_policy", anything.clone()).await;
    silent.stop().await;
    let _tidy = tidy(&routing.nats, &["color"]).await;
    let said = refused(&routing.gateway, "put_policy", &anything).await;
    let expected = ["/pre/0/config/colour is not a known key; did you mean color?"];
    assert_eq!(said, expected);
    // Nothing is asked of an entry without a config, nor of a record whose config stays.
    routing.admin("put_policy", tidy_policy(json!({}))).await;
    routing
        .admin("update_extension", json!({"id": "tidy", "retry": 1}))
        .await;
}

#[tokio::test]
async fn while_two_releases_run_only_what_breaks_both_is_refused() {
    let routing = registered().await;
    let _older = tidy(&routing.nats, &["trim", "width"]).await;
    let _newer = tidy(&routing.nats, &["trim", "columns"]).await;
    let newer = tidy_policy(json!({"trim": 1, "columns": 2}));
    let said = warned(&routing.gateway, "put_policy", &newer, 1).await;
    let start = "/pre/0/config/columns is not a known key; known are trim, width: so says tidy";
    assert!(said[0].starts_with(start), "{said:?}");
    let both = tidy_policy(json!({"trimm": 1}));
    let said = refused(&routing.gateway, "put_policy", &both).await;
    let expected = ["/pre/0/config/trimm is not a known key; did you mean trim?"];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_record_that_breaks_policies_is_taken_and_they_are_named() {
    let routing = registered().await;
    let gateway = &routing.gateway;
    routing
        .admin("put_policy", tidy_policy(json!({"width": 80})))
        .await;
    let subject = "beamline.ext.pre.tidy.v2";
    let schema =
        json!({"properties": {"columns": {"type": "integer"}}, "additionalProperties": false});
    let extension = Extension::pre("tidy", unchanged).with_config_schema(schema);
    let _v2 = serve_with(&routing.nats, extension, |settings| {
        settings.subject = Some(subject.to_owned());
    })
    .await;
    let moved = json!({"id": "tidy", "subject": subject});
    let said = warned(gateway, "update_extension", &moved, 1).await;
    let expected = [
        "/config the policy acme/chat has /pre/0/config/width, which is not a known key; known are columns",
    ];
    assert_eq!(said, expected);

    let wrong = json!({"id": "tidy", "config": {"columns": "80"}});
    let said = refused(gateway, "update_extension", &wrong).await;
    let expected = ["/config/columns must be a whole number, is a string"];
    assert_eq!(said, expected);
    let record = json!({"id": "tidy2", "type": "pre", "subject": "beamline.ext.pre.tidy.v3", "config": {"a": 1}});
    let saved = gateway.admin("create_extension", &record).await;
    assert_eq!(saved["ok"], true, "nobody listens there: {saved}");
}

#[tokio::test]
async fn schemas_of_strangers_do_no_harm() {
    let routing = registered().await;
    let client = routing.nats.client().await;
    let mut asked = client.subscribe("$SRV.INFO").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let stranger = client.clone();
    let schemas = [
        "{".to_owned(),
        json!({"$ref": "http://127.0.0.1:1/x"}).to_string(),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}})
            .to_string(),
        json!({"patternProperties": {"((a{1000}){1000}){1000}": {}}}).to_string(),
        json!({"description": "x".repeat(100_000)}).to_string(),
        format!("{}true{}", "{\"not\":".repeat(120), "}".repeat(120)),
    ];
    let count = schemas.len();
    let answering = tokio::spawn(async move {
        while let Some(question) = asked.next().await {
            let inbox = question.reply.expect("an inbox");
            for schema in &schemas {
                let metadata = json!({"beamline.config_schema": schema});
                let endpoint = json!({"subject": "beamline.ext.pre.tidy.v1", "metadata": metadata});
                let info = json!({"name": "stranger", "endpoints": [endpoint]}).to_string();
                let sent = stranger.publish(inbox.clone(), info.into()).await;
                sent.expect("published");
            }
        }
    });
    let policy = tidy_policy(json!({"width": "a".repeat(40)}));
    let said = warned(&routing.gateway, "put_policy", &policy, count).await;
    let is_told = |line: &String| line.contains("the schema that stranger publishes for");
    assert!(said.iter().all(is_told), "{said:?}");

    // The extension's own word makes warnings of what strangers refuse.
    answering.abort();
    let mut asked = client.subscribe("$SRV.INFO").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let answering = tokio::spawn(async move {
        while let Some(question) = asked.next().await {
            let inbox = question.reply.expect("an inbox");
            let metadata = json!({"beamline.config_schema": "false"});
            let endpoint = json!({"subject": "beamline.ext.pre.tidy.v1", "metadata": metadata});
            let info = json!({"name": "stranger", "endpoints": [endpoint]}).to_string();
            client.publish(inbox, info.into()).await.expect("published");
        }
    });
    let _tidy = tidy(&routing.nats, &["width"]).await;
    let said = warned(&routing.gateway, "put_policy", &policy, 1).await;
    assert!(said[0].contains("so says stranger"), "{said:?}");
    answering.abort();
}

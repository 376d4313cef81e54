//! What each program answers on its subject.

use beamline_test_support::calls::{call, call_json, request, request_with};
use beamline_test_support::{LIMIT, Nats, eventually};
use serde_json::{Value, json};

use crate::program::{MASK_PII, MOCK_PROVIDER, NORMALIZE_TEXT, PII_GUARD, Program};

#[tokio::test]
async fn normalize_text_answers_only_what_changed() {
    let server = Nats::start().await;
    let client = server.client().await;
    let program = Program::start(NORMALIZE_TEXT, server.url(), &[]);
    program.until_ready(&client, "normalize_text").await;
    let subject = "beamline.ext.pre.normalize_text.v1";

    let answer = call_json(
        &client,
        subject,
        &request(json!({"text": "  a   b ", "n": 1})),
    )
    .await;
    assert_eq!(answer["payload"]["payload"], json!({"text": "a b", "n": 1}));
    assert_eq!(answer["payload"]["message_id"], "m-1");
    assert_eq!(
        call_json(&client, subject, &request(json!("a b"))).await,
        json!({})
    );
    let lower = call_json(
        &client,
        subject,
        &request_with(json!("A  B"), json!({"lowercase": true})),
    )
    .await;
    assert_eq!(lower["payload"]["payload"], "a b");
    let wrong = call_json(
        &client,
        subject,
        &request_with(json!("a"), json!({"lowercase": "yes"})),
    )
    .await;
    assert_eq!(wrong["error"]["code"], "invalid_config");
    assert!(
        wrong["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("config.lowercase: "),
        "{wrong}"
    );
}

#[tokio::test]
async fn pii_guard_rejects_without_repeating_the_data() {
    let server = Nats::start().await;
    let client = server.client().await;
    let program = Program::start(PII_GUARD, server.url(), &["--version-tag", "v2"]);
    program.until_ready(&client, "pii_guard").await;
    let subject = "beamline.ext.validate.pii_guard.v2";

    let payload = json!({"messages": [{"role": "user", "content": "I am jane@example.com"}]});
    assert_eq!(
        call_json(&client, subject, &request(payload.clone())).await,
        json!({"status": "reject", "reason": "pii_detected",
               "details": {"kinds": {"email": 1}, "locations": ["/messages/0/content"]}})
    );
    let ok = json!({"status": "ok"});
    assert_eq!(
        call_json(
            &client,
            subject,
            &request_with(payload, json!({"email": false}))
        )
        .await,
        ok
    );
    assert_eq!(
        call_json(&client, subject, &request(json!("hello"))).await,
        ok
    );
    // As the guide's policies have it.
    let patterns = json!({"patterns": ["email", "iban"], "regions": ["DE"]});
    let phone = request_with(json!("tel 0171 2345678"), patterns.clone());
    assert_eq!(call_json(&client, subject, &phone).await, ok);
    let iban = request_with(json!("DE89 3704 0044 0532 0130 00"), patterns);
    assert_eq!(
        call_json(&client, subject, &iban).await["details"]["kinds"],
        json!({"iban": 1})
    );
    let wrong = request_with(json!("hello"), json!({"regions": ["XX"]}));
    let wrong = call_json(&client, subject, &wrong).await;
    assert_eq!(wrong["error"]["code"], "invalid_config");
    assert!(
        wrong["error"]["message"]
            .as_str()
            .unwrap()
            .contains("config.regions"),
        "{wrong}"
    );
}

#[tokio::test]
async fn mask_pii_says_what_it_masked() {
    let server = Nats::start().await;
    let client = server.client().await;
    let program = Program::start(MASK_PII, server.url(), &["--subject-prefix", "team"]);
    program.until_ready(&client, "mask_pii").await;
    let subject = "team.ext.post.mask_pii.v1";

    let answer = call_json(&client, subject, &request(json!("pay 4111 1111 1111 1111"))).await;
    assert_eq!(answer["payload"]["payload"], "pay [CARD]");
    assert_eq!(
        answer["metadata"],
        json!({"mask_pii": {"masked": {"card": 1}}})
    );
    let partial = request_with(
        json!("pay 4111 1111 1111 1111"),
        json!({"style": "partial"}),
    );
    assert_eq!(
        call_json(&client, subject, &partial).await["payload"]["payload"],
        "pay **** **** **** 1111"
    );
    let with = request_with(json!("pay 4111 1111 1111 1111"), json!({"with": "***"}));
    assert_eq!(
        call_json(&client, subject, &with).await["payload"]["payload"],
        "pay ***"
    );
    assert_eq!(
        call_json(&client, subject, &request(json!("nothing"))).await,
        json!({})
    );
}

#[tokio::test]
async fn mock_providers_run_side_by_side() {
    let server = Nats::start().await;
    let client = server.client().await;
    let one = Program::start(MOCK_PROVIDER, server.url(), &["--id", "openai_gpt4"]);
    let two = Program::start(
        MOCK_PROVIDER,
        server.url(),
        &["--id", "failing", "--failure-rate", "1", "--seed", "7"],
    );
    one.until_ready(&client, "openai_gpt4").await;
    two.until_ready(&client, "failing").await;

    let body = json!({
        "provider_id": "openai_gpt4",
        "prompt": "hello world",
        "parameters": {"model": "gpt-4"},
    });
    assert_eq!(
        call_json(&client, "beamline.provider.openai_gpt4.v1", &body).await,
        json!({"provider_id": "openai_gpt4", "output": "echo: hello world",
               "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
               "metadata": {"model": "gpt-4", "mock": true}})
    );
    assert_eq!(
        call_json(&client, "beamline.provider.failing.v1", &body).await,
        json!({"error": {"code": "mock_failure", "message": "asked to fail", "retryable": true}})
    );
    let healed =
        json!({"prompt": "a", "parameters": {"mock": {"failure_rate": 0, "output": {"any": 1}}}});
    assert_eq!(
        call_json(&client, "beamline.provider.failing.v1", &healed).await["output"],
        json!({"any": 1})
    );
    let wrong = json!({"prompt": "a", "parameters": {"mock": {"failure_rate": 2}}});
    assert_eq!(
        call_json(&client, "beamline.provider.failing.v1", &wrong).await["error"]["code"],
        "invalid_request"
    );
}

#[tokio::test]
async fn a_failed_call_is_one_log_line_without_the_payload() {
    let server = Nats::start().await;
    let client = server.client().await;
    let program = Program::start(MOCK_PROVIDER, server.url(), &["--failure-rate", "1"]);
    program.until_ready(&client, "mock_provider").await;
    let body = json!({"prompt": "the-secret", "tenant_id": "acme", "trace_id": "abc"}).to_string();
    call(&client, "beamline.provider.mock_provider.v1", &[], &body).await;

    let line: Value = eventually(LIMIT, "the line is written", async || {
        let log = program.log();
        let line = log.lines().find(|line| line.contains("call failed"))?;
        serde_json::from_str(line).ok()
    })
    .await;
    for (field, value) in [
        ("level", "WARN"),
        ("message", "call failed"),
        ("extension_id", "mock_provider"),
        ("trace_id", "abc"),
        ("tenant_id", "acme"),
        ("status", "mock_failure"),
        ("error", "asked to fail"),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(
        line["latency_ms"].is_number() && line["timestamp"].is_string(),
        "{line}"
    );
    assert!(!program.log().contains("the-secret"));
}

//! Each form of payload in the table asks the provider the same.

use beamline_extension::Kind;
use beamline_markdown::{code, tables};
use beamline_test_support::{Routing, request_with};
use serde_json::{Value, json};

use super::GUIDE;

#[tokio::test]
async fn every_form_of_a_payload_is_understood() {
    let routing = Routing::start(&[]).await;
    let model = routing
        .extension(Kind::Provider, "model", json!({}), r#"{"output": "hi"}"#)
        .await;
    let policy = json!({"providers": ["model"]});
    routing.gateway.policy("default", &policy).await;
    for form in forms() {
        let message = json!({"payload": form});
        let body = request_with("default", json!({"message": message}));
        let answer = routing.gateway.route(&body).await;
        assert_eq!(answer["ok"], true, "{form}: {answer}");
        let call = model.last_body();
        assert_eq!(call["prompt"], "hello", "{form}");
        let messages = form.get("messages").unwrap_or(&form);
        assert_eq!(
            call["messages"].as_array(),
            messages.as_array(),
            "{form}: {call}"
        );
        for parameter in ["model", "tools"] {
            assert_eq!(call["parameters"].get(parameter), form.get(parameter));
        }
    }
}

/// The payloads of the table, and for a key those that stand beside it.
fn forms() -> Vec<Value> {
    let rows = tables(GUIDE, &["payload", "prompt of the provider"])
        .into_iter()
        .flat_map(|table| table.rows);
    let mut forms = Vec::new();
    for row in rows {
        let cell = code(&row[0]);
        let form: Value = serde_json::from_str(cell[0]).expect("JSON");
        let others = cell[1..].iter().map(|key| json!({*key: "hello"}));
        forms.extend(others);
        forms.push(form);
    }
    assert!(forms.len() >= 7, "the table has lost its forms");
    forms
}

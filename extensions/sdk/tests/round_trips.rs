//! Requests and answers of each kind of extension, to the letter of the contract.

use beamline_extension::{
    CallContext, Completion, Edit, Extension, Failure, Message, Prompt, Usage, Verdict,
};
use beamline_test_support::calls::{call, call_json, request, request_with};
use beamline_test_support::{Nats, serve, serve_with};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    suffix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suffix: "!".to_owned(),
        }
    }
}

async fn exclaim(message: Message, call: CallContext) -> Result<Edit, Failure> {
    let Config { suffix } = call.config()?;
    let text: String = message.payload_as()?;
    let lang = call.metadata.get::<String>("lang");
    Ok(Edit::replace(message.with_payload(&(text + &suffix))?).with_metadata("seen_lang", &lang))
}

#[tokio::test]
async fn a_pre_processor_answers_the_changed_message() {
    let server = Nats::start().await;
    let _running = serve(&server, Extension::pre("x", exclaim)).await;
    let client = server.client().await;
    let body = request_with(json!("hello"), json!({"suffix": "?"})).to_string();
    assert_eq!(
        call(&client, "beamline.ext.pre.x.v1", &[], &body).await,
        concat!(
            r#"{"payload":{"message_id":"m-1","message_type":"chat","payload":"hello?","#,
            r#""metadata":{"channel":"web"}},"metadata":{"seen_lang":"en"}}"#
        )
    );
}

#[tokio::test]
async fn numbers_pass_with_every_digit() {
    let server = Nats::start().await;
    let echo = |message: Message, _: CallContext| async move { Ok(Edit::replace(message)) };
    let running = serve(&server, Extension::post("x", echo)).await;
    assert_eq!(running.subject(), "beamline.ext.post.x.v1");
    let client = server.client().await;
    let body = concat!(
        r#"{"payload":{"message_id":"m","message_type":"t","#,
        r#""payload":{"n":1.10,"big":123456789012345678901234567890},"metadata":{}}}"#
    );
    let answer = call(&client, running.subject(), &[], body).await;
    assert_eq!(answer, body);
}

#[tokio::test]
async fn an_unchanged_message_is_not_sent_back() {
    let server = Nats::start().await;
    let running = serve(
        &server,
        Extension::pre("x", async |_, _| Ok(Edit::unchanged())),
    )
    .await;
    let client = server.client().await;
    assert_eq!(
        call(
            &client,
            running.subject(),
            &[],
            &request(json!("a")).to_string()
        )
        .await,
        "{}"
    );
}

#[tokio::test]
async fn a_validator_answers_its_verdict() {
    let server = Nats::start().await;
    let judge = |message: Message, _: CallContext| async move {
        Ok(match message.payload.get() {
            r#""good""# => Verdict::Ok,
            r#""bad""# => Verdict::reject("bad_word"),
            _ => Verdict::reject_with("odd_word", json!({"words": 1})),
        })
    };
    let _running = serve(&server, Extension::validator("x", judge)).await;
    let client = server.client().await;
    for (payload, verdict) in [
        ("good", r#"{"status":"ok"}"#),
        ("bad", r#"{"status":"reject","reason":"bad_word"}"#),
        (
            "odd",
            r#"{"status":"reject","reason":"odd_word","details":{"words":1}}"#,
        ),
    ] {
        assert_eq!(
            call(
                &client,
                "beamline.ext.validate.x.v1",
                &[],
                &request(json!(payload)).to_string()
            )
            .await,
            verdict
        );
    }
}

#[tokio::test]
async fn a_provider_answers_a_completion() {
    let server = Nats::start().await;
    let answer = |prompt: Prompt, _: CallContext| async move {
        let model: Option<String> = prompt.parameters.get("model");
        Ok(Completion::new(&prompt.text)?
            .with_usage(Usage::new(2.0, 1.5))
            .with_metadata("model", &model))
    };
    let _running = serve(&server, Extension::provider("gpt", answer)).await;
    let client = server.client().await;
    let body =
        r#"{"provider_id":"gpt","prompt":"hi you","parameters":{"model":"m1"},"context":{}}"#;
    assert_eq!(
        call(&client, "beamline.provider.gpt.v1", &[], body).await,
        concat!(
            r#"{"provider_id":"gpt","output":"hi you","#,
            r#""usage":{"prompt_tokens":2,"completion_tokens":1.5,"total_tokens":3.5},"#,
            r#""metadata":{"model":"m1"}}"#
        )
    );
    let no_prompt = call_json(
        &client,
        "beamline.provider.gpt.v1",
        &json!({"parameters": {}}),
    )
    .await;
    assert_eq!(no_prompt["error"]["code"], "invalid_request");
}

#[tokio::test]
async fn a_handler_knows_whose_call_it_is() {
    let server = Nats::start().await;
    let tell = |_: Message, call: CallContext| async move {
        let parent = call
            .traceparent
            .as_ref()
            .map(|parent| parent.parent_id.clone());
        let seen = json!({
            "extension": call.extension_id, "tenant": call.tenant_id,
            "request": call.request_id, "trace": call.trace_id,
            "parent": parent, "attempt": call.attempt, "hurry": call.remaining().as_secs() <= 20,
            "state": call.tracestate, "baggage": call.baggage,
        });
        Ok(Edit::unchanged().with_metadata("seen", &seen))
    };
    let running = serve(&server, Extension::pre("x", tell)).await;
    let client = server.client().await;
    let seen = async |headers: &[(&'static str, &str)], body: &str| {
        let answer: serde_json::Value =
            serde_json::from_str(&call(&client, running.subject(), headers, body).await).unwrap();
        answer["metadata"]["seen"].clone()
    };
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = request(json!("a")).to_string();
    assert_eq!(
        seen(
            &[
                ("traceparent", traceparent),
                ("router-attempt", "2"),
                ("tracestate", "a=1"),
                ("baggage", "b=2"),
                ("Router-Timeout-Ms", "20000")
            ],
            &body
        )
        .await,
        json!({"extension": "x", "tenant": "acme", "request": "req-1",
               "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
               "parent": "b7ad6b7169203331", "attempt": 2, "hurry": true, "state": "a=1", "baggage": "b=2"})
    );
    let headers = [
        ("trace_id", "abc"),
        ("tenant_id", "other"),
        ("traceparent", "00-zz-1-1"),
    ];
    assert_eq!(
        seen(&headers, &body).await,
        json!({"extension": "x", "tenant": "other", "request": "req-1", "trace": "abc",
               "parent": null, "attempt": 1, "hurry": false, "state": null, "baggage": null})
    );
    let bare = r#"{"payload":{"payload":1}}"#;
    assert_eq!(
        seen(&[("traceparent", traceparent)], bare).await["trace"],
        "0af7651916cd43dd8448eb211c80319c"
    );
}

#[tokio::test]
async fn an_own_subject_and_prefix_are_served() {
    let server = Nats::start().await;
    let unchanged = || Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let _prefixed = serve_with(&server, unchanged(), |settings| {
        settings.subject_prefix = "team.ai".to_owned()
    })
    .await;
    let _canary = serve_with(&server, unchanged(), |settings| {
        settings.subject = Some("my.canary".to_owned())
    })
    .await;
    let client = server.client().await;
    for subject in ["team.ai.ext.pre.x.v1", "my.canary"] {
        assert_eq!(
            call_json(&client, subject, &request(json!(1))).await,
            json!({})
        );
    }
}

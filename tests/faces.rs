//! Extensions that are faces of one program: notes that go from one to the other, and providers
//! that share a subject.

use beamline_extension::{Edit, Extension, Kind, Program, Settings};
use beamline_test_support::{
    ExtensionProcess, Nats, Routing, Stub, lines, report, request, request_with,
};
use serde_json::{Value, json};

const CARD: &str = "4111 1111 1111 1111";

/// What a masked message is answered by a provider that repeats it.
async fn repeated(routing: &Routing, restore: bool) -> Value {
    let policy = json!({
        "pre": [{"id": "mask_pii_in", "mode": "required"}],
        "validators": [{"id": "pii_guard", "on_fail": "block"}],
        "providers": ["model"],
        "post": [{"id": "mask_pii", "mode": "required", "config": {"restore": restore}}],
    });
    routing.gateway.policy("chat", &policy).await;
    let message = json!({"payload": format!("charge {CARD} of jane@example.com")});
    let request = request_with("chat", json!({"message": message}));
    routing.gateway.route(&request).await
}

#[tokio::test]
async fn what_was_masked_never_reaches_the_provider_and_is_whole_in_the_answer() {
    let routing = Routing::start(&[("telemetry.log_filter", "debug")]).await;
    let nats = &routing.nats;
    let _mask = ExtensionProcess::start(nats, "beamline-mask-pii", "mask_pii", &[]).await;
    let _guard = ExtensionProcess::start(nats, "beamline-pii-guard", "pii_guard", &[]).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    let repeat = |call: &beamline_extension::RawRequest| {
        let body: Value = serde_json::from_slice(&call.payload).ok()?;
        // A model knows other numbers, too.
        let output = format!("{} or 5555 5555 5555 4444?", body["prompt"].as_str()?);
        Some(json!({"output": output}).to_string().into())
    };
    let model = Stub::answering(nats, Kind::Provider, "model", repeat).await;
    let restored = repeated(&routing, true).await;
    assert_eq!(
        restored["response"]["output"],
        format!("charge {CARD} of jane@example.com or [CARD]?"),
        "{restored}"
    );
    let asked = model.last_text();
    assert!(asked.contains("charge [CARD_1] of [EMAIL_1]"), "{asked}");
    assert!(
        !asked.contains("4111") && !asked.contains("jane"),
        "{asked}"
    );
    let mut without_output = restored.clone();
    without_output["response"]["output"] = Value::Null;
    assert!(!without_output.to_string().contains("4111"), "{restored}");
    assert!(!routing.router.log().contains("4111"));

    let masked = repeated(&routing, false).await;
    assert_eq!(
        masked["response"]["output"],
        "charge [CARD_1] of [EMAIL_1] or [CARD]?"
    );
}

/// Serves a writer and a reader of notes as endpoints of one service.
async fn pair(nats: &Nats) -> beamline_extension::Running {
    let extensions = [
        Extension::pre("writer", async |_, _| Ok(Edit::unchanged())),
        Extension::post("reader", async |_, _| Ok(Edit::unchanged())),
    ];
    let program = Program::new("pair", extensions);
    let settings = Settings::for_url(nats.url());
    program.serve(&settings).await.expect("it starts")
}

#[tokio::test]
async fn notes_go_to_another_face_of_the_same_program_only() {
    let routing = Routing::start(&[]).await;
    let gateway = &routing.gateway;
    gateway.register("pre", "writer", json!({})).await;
    gateway.register("post", "late", json!({})).await;
    let refused = async |id: &str, kind: &str, notes_of: &str| {
        let body = json!({"id": id, "type": kind, "notes_of": notes_of});
        let answer = gateway.admin("create_extension", &body).await;
        let mistakes = &answer["error"]["details"]["mistakes"];
        let mistake = &mistakes[0];
        assert_eq!(mistake["pointer"], "/notes_of", "{answer}");
        mistake["message"].as_str().unwrap_or_default().to_owned()
    };
    let unknown = refused("reader", "post", "nobody").await;
    assert!(unknown.contains("not registered"), "{unknown}");
    let late = refused("reader", "post", "late").await;
    assert!(late.contains("only pre-processors"), "{late}");
    let unserved = refused("reader", "post", "writer").await;
    assert!(unserved.contains("cannot be checked"), "{unserved}");
    let pair = pair(&routing.nats).await;
    let _spy = Stub::saying(&routing.nats, Kind::Post, "spy", "{}").await;
    let foreign = refused("spy", "post", "writer").await;
    assert!(foreign.contains("these are of pair, spy"), "{foreign}");

    let reader = json!({"notes_of": "writer"});
    gateway.register("post", "reader", reader).await;
    // Whoever has the notes already may not be somebody else from one day to the next.
    let moved = json!({"id": "reader", "subject": "beamline.ext.post.spy.v1"});
    let moved = gateway.admin("update_extension", &moved).await;
    let pointers = lines(&moved["error"]["details"]["mistakes"], &["pointer"]);
    assert_eq!(pointers, ["/notes_of"], "{moved}");
    // Nor may the writer hand over somebody else's.
    for change in [
        json!({"id": "writer", "subject": "beamline.ext.pre.other.v1"}),
        json!({"id": "writer", "versions": [{"version": "v2"}]}),
    ] {
        let moved = gateway.admin("update_extension", &change).await;
        let pointers = lines(&moved["error"]["details"]["mistakes"], &["pointer"]);
        assert_eq!(pointers, ["/subject"], "{moved}");
    }
    // Other changes do not ask again, and nobody need be there for them.
    pair.stop().await;
    let slower = json!({"id": "reader", "timeout_ms": 900});
    routing.admin("update_extension", slower).await;
}

#[tokio::test]
async fn providers_may_be_faces_of_one_program() {
    let routing = Routing::start(&[]).await;
    let openai = routing.provider("openai").await;
    let mini = json!({
        "id": "openai:mini", "type": "provider", "subject_of": "openai", "config": {"model": "mini"},
    });
    let created = routing.admin("create_extension", mini.clone()).await;
    assert_eq!(
        created["extension"]["subject"],
        "beamline.provider.openai.v1"
    );
    let policy = json!({"providers": ["openai:mini"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["response"]["provider_id"], "openai:mini", "{answer}");
    assert_eq!(report(&answer, "openai:mini")["status"], "success");
    let asked = openai.last_body();
    assert_eq!(asked["provider_id"], "openai:mini");
    assert_eq!(asked["parameters"], mini["config"]);

    // A record that was read can be written back, and moves with its program.
    let read = routing
        .admin("get_extension", json!({"id": "openai:mini"}))
        .await;
    routing
        .admin("update_extension", read["extension"].clone())
        .await;
    let subject = "beamline.provider.openai.next";
    routing
        .admin(
            "update_extension",
            json!({"id": "openai", "subject": subject}),
        )
        .await;
    let moved = Stub::at(
        &routing.nats,
        subject,
        Kind::Provider,
        "openai",
        r#"{"output": 1}"#,
    );
    let moved = moved.await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!((answer["ok"].clone(), moved.calls()), (json!(true), 1));

    let deletion = json!({"id": "openai"});
    let refused = routing.gateway.admin("delete_extension", &deletion).await;
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
    assert!(refused.to_string().contains("openai:mini"), "{refused}");
    let chained = json!({"id": "nano", "type": "provider", "subject_of": "openai:mini"});
    let refused = routing.gateway.admin("create_extension", &chained).await;
    assert!(refused.to_string().contains("name openai"), "{refused}");
    let other = json!({"id": "other", "type": "provider", "subject": subject});
    let refused = routing.gateway.admin("create_extension", &other).await;
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
}

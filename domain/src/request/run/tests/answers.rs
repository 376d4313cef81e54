//! What the answers of extensions may change, and what they may not.

use serde_json::{Value, json};

use super::rig::{Rig, raw, reject};
use super::*;

/// Policy, and what each extension answers by its id.
fn answer(rig: &Rig, policy: &str, replies: &[(&str, Reply)]) -> Value {
    let run = rig.run(RequestKind::Route, policy);
    let script = |order: &CallOrder| {
        let mut replies = replies.iter();
        let known = replies.find(|(id, _)| *id == order.call.id());
        known.map(|(_, reply)| Ok(reply.clone()))
    };
    rig.finish(run, script).0
}

fn completion(output: &str, metadata: &str) -> Reply {
    Reply::Completion {
        output: raw(output),
        usage: None,
        metadata: Fields::parse(metadata).unwrap(),
    }
}

fn edit(payload: Option<&str>, metadata: Option<&str>) -> Reply {
    Reply::Edit {
        payload: Some(Edit {
            payload: payload.map(raw),
            message_type: None,
            metadata: metadata.map(|json| Fields::parse(json).unwrap()),
        }),
        metadata: Fields::default(),
        notes: None,
    }
}

#[test]
fn nobody_changes_who_and_what_the_request_is() {
    let found = r#"{"tenant_id": "evil", "trace_id": "x", "request_id": "x", "policy_id": "x",
        "policy_version": "9", "environment": "prod", "router.revision": 1, "lang": "de"}"#;
    let reply = Reply::Edit {
        payload: None,
        metadata: Fields::parse(found).unwrap(),
        notes: None,
    };
    let rig = Rig::default();
    let policy = r#"{"pre": [{"id": "pre_a"}], "providers": ["p1"]}"#;
    let mut run = rig.run(RequestKind::Route, policy);
    let before = run.context.to_json();
    run.next_step();
    run.apply(vec![CallResult {
        outcome: Ok(reply),
        ..CallResult::ended(CallFailure::Cancelled, Duration::ZERO)
    }]);
    let mut wanted = Fields::parse(&before).unwrap();
    wanted.set_text("lang", "de");
    assert_eq!(run.context.to_json(), wanted.to_json());
}

#[test]
fn a_required_processor_that_rejects_blocks_and_an_optional_one_is_missed() {
    for (stage, id) in [("pre", "pre_a"), ("post", "post_a")] {
        let policy = |mode: &str| {
            json!({stage: [{"id": id, "mode": mode}], "providers": ["p1"]}).to_string()
        };
        let rig = Rig::default();
        let blocked = answer(&rig, &policy("required"), &[(id, reject())]);
        assert_eq!(blocked["error"]["code"], "validator_blocked", "{blocked}");
        assert_eq!(blocked["error"]["details"]["reason"], "pii", "{blocked}");
        let missed = answer(&rig, &policy("optional"), &[(id, reject())]);
        assert_eq!(missed["ok"], true, "{missed}");
        assert_eq!(missed["degraded"], json!([{"id": id, "reason": "pii"}]));
        let report = missed["extensions"].to_string();
        assert!(report.contains("rejected"), "{report}");
    }
}

#[test]
fn what_a_provider_says_besides_goes_through_a_required_post_processor() {
    let said = completion(
        r#""out""#,
        r#"{"model": "m", "quote": "call 555-1234", "finish_reason": "stop"}"#,
    );
    let required = r#"{"post": [{"id": "post_a", "mode": "required"}], "providers": ["p1"]}"#;
    let optional = r#"{"post": [{"id": "post_a"}], "providers": ["p1"]}"#;
    let all = json!({"model": "m", "quote": "call 555-1234", "finish_reason": "stop"});
    let harmless = json!({"model": "m", "finish_reason": "stop"});
    let masked =
        r#"{"model": "m", "quote": "call [PHONE]", "provider_id": "p1", "channel": "web"}"#;
    let cases = [
        (required, edit(None, None), all.clone(), false),
        (required, edit(Some("\"x\""), None), harmless, true),
        (
            required,
            edit(Some("\"x\""), Some(masked)),
            json!({"model": "m", "quote": "call [PHONE]"}),
            false,
        ),
        (required, edit(None, Some("{}")), json!({}), false),
        (optional, edit(Some("\"x\""), None), all, false),
    ];
    let rig = Rig {
        metadata: json!({"channel": "web"}),
        ..Rig::default()
    };
    for (policy, edit, want, is_withheld) in cases {
        let replies = [("p1", said.clone()), ("post_a", edit)];
        let answer = answer(&rig, policy, &replies);
        assert_eq!(answer["response"]["metadata"], want, "{answer}");
        let degraded = if is_withheld {
            json!([{"id": "post_a", "reason": "metadata_withheld"}])
        } else {
            json!([])
        };
        assert_eq!(answer["degraded"], degraded);
    }
}

#[test]
fn an_answer_without_content_is_passed_on_unless_a_rule_names_it() {
    let rig = Rig::default();
    let empty = [("p1", completion("\"\"", "{}"))];
    for (policy, output) in [
        (r#"{"providers": ["p1", "p2"]}"#, ""),
        (
            r#"{"providers": ["p1", "p2"], "fallbacks": [{"when": {"status": "5xx"}, "to": "p3"}]}"#,
            "",
        ),
        (
            r#"{"providers": ["p1", "p2"], "fallbacks": [{"when": {"status": "empty"}, "to": "p3"}]}"#,
            "out",
        ),
        // It leads to somebody who is not there.
        (
            r#"{"providers": ["p1", "p2"], "fallbacks": [{"when": {"status": "empty"}, "to": "off"}]}"#,
            "",
        ),
    ] {
        let answer = answer(&rig, policy, &empty);
        assert_eq!(answer["response"]["output"], output, "{policy} {answer}");
        assert_eq!(answer["attempts"][0]["class"], "empty", "{answer}");
        assert_eq!(answer["attempts"][0]["status"], "success", "{answer}");
    }
}

#[test]
fn an_answer_that_was_filtered_goes_elsewhere_only_where_a_rule_names_that() {
    let rig = Rig::default();
    let filtered = [(
        "p1",
        completion("null", r#"{"finish_reason": "content_filter"}"#),
    )];
    for (rules, output) in [
        (json!([]), json!(null)),
        (json!([{"to": "p3"}]), json!(null)),
        (
            json!([{"when": {"status": "content_filter"}, "to": "p3"}]),
            json!("out"),
        ),
    ] {
        let policy = json!({"providers": ["p1", "p2"], "fallbacks": rules}).to_string();
        let answer = answer(&rig, &policy, &filtered);
        assert_eq!(answer["response"]["output"], output, "{answer}");
    }
}

#[test]
fn a_message_without_anything_to_ask_reaches_no_provider() {
    let rig = Rig::default();
    let policy = r#"{"pre": [{"id": "pre_a"}], "providers": ["p1"]}"#;
    let script = |reply: Option<Reply>| {
        let run = rig.run(RequestKind::Route, policy);
        rig.finish(run, move |order| {
            let is_pre = order.call.id() == "pre_a";
            reply.clone().filter(|_| is_pre).map(Ok)
        })
    };
    let (answer, happened) = script(Some(edit(Some(r#"{"text": " "}"#), None)));
    assert_eq!(happened.called, ["pre_a"], "nobody is paid for it");
    let error = &answer["error"];
    assert_eq!(error["code"], "invalid_request", "{answer}");
    assert_eq!(error["details"]["pointer"], "/message/payload", "{answer}");
    let (answer, _) = script(Some(edit(Some(r#"{"text": "hi"}"#), None)));
    assert_eq!(answer["ok"], true, "{answer}");
}

/// A masker notes what it took out; the record of `post_a` says that it may have the notes.
#[test]
fn notes_go_to_the_extension_that_names_their_writer_and_to_nobody_else() {
    let rig = Rig {
        records: vec![json!({"id": "post_a", "type": "post", "notes_of": "pre_a"})],
        ..Rig::default()
    };
    let policy = json!({
        "pre": [{"id": "pre_a"}], "validators": [{"id": "val_warn", "on_fail": "warn"}],
        "providers": ["p1"], "post": [{"id": "post_a"}],
        "output_validators": [{"id": "val_block"}],
    });
    let policy = policy.to_string();
    let noted = |notes: &str| Some(Notes::new(raw(notes)));
    let mut bodies: Vec<(String, Value)> = Vec::new();
    let run = rig.run(RequestKind::Route, &policy);
    let (answer, _) = rig.finish(run, |order: &CallOrder| {
        let body = serde_json::from_slice(&order.body).unwrap();
        bodies.push((order.call.id().to_owned(), body));
        match order.call.id() {
            "pre_a" => Some(Ok(Reply::Edit {
                payload: None,
                metadata: Fields::default(),
                notes: noted(r#"{"[CARD]": "4111 1111 1111 1111"}"#),
            })),
            "val_warn" => Some(Ok(Reply::Accept {
                notes: noted("\"4222\""),
            })),
            _ => None,
        }
    });
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(!answer.to_string().contains("4111"), "{answer}");
    for (id, body) in bodies {
        let wanted = (id == "post_a").then(|| json!({"[CARD]": "4111 1111 1111 1111"}));
        assert_eq!(body.get("notes"), wanted.as_ref(), "{id}");
        assert!(wanted.is_some() || !body.to_string().contains("4111"));
        assert!(!body.to_string().contains("4222"), "{id}");
    }
}

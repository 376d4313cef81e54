use beamline_contract::admin::{DryRunAnswer, DryRunResult};
use serde_json::{Value, json};

use super::*;
use crate::cli::detail::Detail;

fn step(id: &str, kind: &str, more: Value) -> Value {
    let mut step = json!({"id": id, "type": kind, "version": "v1", "version_rule": null, "instance": null,
        "subject": format!("beamline.{id}.v1"), "timeout_ms": 1000.0, "retry": 0, "config": {}, "usual_latency_ms": null,
        "available": true, "if_it_fails": "The request ends."});
    if let (Some(step), Value::Object(more)) = (step.as_object_mut(), more) {
        step.extend(more);
    }
    step
}

/// Two that run side by side, one validator, four providers of which one is shut and one is only
/// for fallbacks.
fn answer() -> Value {
    let adds = json!({"version": "v2", "version_rule": "lang = \"en\"", "mode": "optional", "timeout_ms": 200.0,
        "if_it_fails": "The request goes on.", "config": {"k": "\u{1b}[2J", "n": 1.50}});
    let on = json!({"mode": "required", "instance": "eu-1", "usual_latency_ms": 1.24, "instances": [
        {"instance_id": "eu-1", "subject": "s", "weight": 70, "enabled": true, "healthy": true},
        {"instance_id": "eu-2", "subject": "t", "weight": 30, "enabled": true, "healthy": false}]});
    let provider = |id: &str, share: f64, more: Value| {
        let mut provider = json!({"provider_id": id, "weight": share * 100.0, "share": share, "fallback_only": false,
            "call": step(id, "provider", json!({"usual_latency_ms": 800.0}))});
        provider
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        provider
    };
    json!({"ok": true, "result": {
        "decision": {"provider_id": "gpt", "reason": "weighted", "explanation": {"steps": ["1. policy default",
            "2. sticky sessions by user_id: the request names no session"]}},
        "executed_extensions": [], "blocked_by": null, "final_payload": "hello", "provider_selected": "gpt",
        "post_processors_executed": [], "called_extensions": false,
        "pipeline": {"policy_id": "default", "policy_version": "1.0", "revision": 7,
            "pre": [[step("add_lang", "pre", adds), step("add_user", "pre", on)]],
            "validators": [step("pii_guard", "validator", json!({"on_fail": "block", "available": false}))],
            "order": "weighted",
            "providers": [provider("gpt", 0.7, json!({})), provider("claude", 0.3, json!({})),
                provider("old", 0.0, json!({"weight": 20.0, "excluded": "disabled", "call": null})),
                provider("mock", 0.0, json!({"fallback_only": true}))],
            "if_the_provider_fails": ["Rule 1: on timeout: mock takes over."],
            "sticky": {"session_key": "user_id", "ttl_ms": 600_000.0}, "post": []},
        "estimate": {"extensions_ms": 60.0, "extensions_from": "some_measurements", "provider_ms": 800.0, "total_ms": 860.0},
        "degraded": []}})
}

fn shown(answer: &Value, detail: Detail, width: usize) -> String {
    let answer = answer.to_string();
    let answer: DryRunAnswer<DryRunResult<'_>> =
        serde_json::from_str(&answer).expect("an answer of a router");
    let look = Look {
        detail,
        width,
        colour: false,
    };
    text(&answer.result, "acme", None, look)
}

#[test]
fn a_plan_is_a_picture_a_table_and_sentences() {
    let expected = "\
policy acme/default version 1.0, registry revision 7

Nothing was called. --call-extensions calls everything but the provider.

┌─ 1 pre ───────────────────────────┬──────────────────────────────────┐
│ add_lang v2                       │ add_user v1                      │
│ chosen by lang = \"en\", optional,  │ on eu-1, one of 2, required,     │
│ limit 200ms, not called yet       │ limit 1s, usually 1.2 ms         │
│                                   │ eu-2 is unhealthy                │
├─ 2 validator ─────────────────────┴──────────────────────────────────┤
│ pii_guard v1                                                         │
│ can block, limit 1s, not called yet                                  │
│ circuit open                                                         │
├─ 3 provider ─────────────────────────────────────────────────────────┤
│ gpt v1                                                               │
│ limit 1s, usually 800.0 ms                                           │
└──────────────────────────────────────────────────────────────────────┘

  PROVIDER  VERSION  WEIGHT   SHARE               USUALLY
▶ gpt       v1           70   70.0%  ███████░░░  800.0 ms
  claude    v1           30   30.0%  ███░░░░░░░  800.0 ms
  old       -            20    0.0%  ░░░░░░░░░░         -  excluded: disabled
  mock      v1            -                      800.0 ms  only for fallbacks

provider    gpt most likely: chosen by weight, 70.0% of such requests
sticky      by user_id: the request names no session (--context
              user_id=VALUE names one); a session keeps its provider for
              10m
time        about 860.0 ms: 60.0 ms for the extensions (measured where
              known, assumed otherwise) and 800.0 ms for the provider
fallbacks   Rule 1: on timeout: mock takes over.
on failure  add_lang: The request goes on.
            add_user, pii_guard: The request ends.";
    assert_eq!(shown(&answer(), Detail::Detailed, 72), expected);
}

#[test]
fn little_and_much_can_be_asked_for() {
    let minimal = shown(&answer(), Detail::Minimal, 72);
    assert!(
        minimal.contains("│ add_lang v2 ") && !minimal.contains("limit"),
        "{minimal}"
    );
    assert!(
        !minimal.contains("SHARE") && !minimal.contains("on failure"),
        "{minimal}"
    );
    let verbose = shown(&answer(), Detail::Verbose, 72);
    let expected = "\
steps       1. policy default
            2. sticky sessions by user_id: the request names no
              session

EXTENSION  SUBJECT                CONFIG
add_lang   beamline.add_lang.v1   {\"k\":\"\\u001b[2J\",\"n\":1.5}
add_user   beamline.add_user.v1   {}
pii_guard  beamline.pii_guard.v1  {}
gpt        beamline.gpt.v1        {}

EXTENSION  INSTANCE  WEIGHT  ENABLED  HEALTH
add_user   eu-1          70  yes      healthy
add_user   eu-2          30  yes      unhealthy";
    assert!(verbose.ends_with(expected), "{verbose}");
}

#[test]
fn what_was_called_says_how_it_went() {
    let mut answer = answer();
    let result = &mut answer["result"];
    result["called_extensions"] = true.into();
    result["decision"] = Value::Null;
    result["blocked_by"] = "pii_guard".into();
    result["error"] = json!({"code": "validator_blocked", "message": "pii_guard rejected it: pii.", "details": {}});
    result["degraded"] = json!([{"id": "add_lang", "reason": "extension_timeout"}]);
    result["warnings"] = json!(["gpt may take too long."]);
    result["executed_extensions"] = json!([
        {"id": "add_lang", "type": "pre", "version": "v2", "status": "timeout", "latency_ms": 200.0, "attempts": 2},
        {"id": "add_user", "type": "pre", "version": "v1", "status": "success", "latency_ms": 1.0, "attempts": 1},
        {"id": "pii_guard", "type": "validator", "version": "v1", "status": "rejected", "latency_ms": 3.0, "attempts": 1}]);
    let shown = shown(&answer, Detail::Minimal, 72);
    let expected = "\
policy acme/default version 1.0, registry revision 7

BLOCKED: pii_guard rejected it: pii. (validator_blocked)

┌─ 1 pre ───────────────────────────┬──────────────────────────────────┐
│ add_lang v2                       │ add_user v1                      │
│ ✗ timeout in 200.0 ms, 2 attempts │ eu-2 is unhealthy                │
│                                   │ ✓ success in 1.0 ms              │
├─ 2 validator ─────────────────────┴──────────────────────────────────┤
│ pii_guard v1                                                         │
│ circuit open                                                         │
│ ✗ rejected in 3.0 ms                                                 │
├─ 3 provider ─────────────────────────────────────────────────────────┤
│ not reached                                                          │
└──────────────────────────────────────────────────────────────────────┘

provider  not reached, pii_guard ended it
sticky    by user_id; a session keeps its provider for 10m
time      about 860.0 ms: 60.0 ms for the extensions (measured where
            known, assumed otherwise) and 800.0 ms for the provider
degraded  add_lang: extension_timeout
warning   gpt may take too long.

The message as it was then:
  hello";
    assert_eq!(shown, expected);
}

#[test]
fn the_choice_has_its_sentence() {
    let said = |change: &dyn Fn(&mut Value)| {
        let mut answer = answer();
        change(&mut answer["result"]);
        let shown = shown(&answer, Detail::Minimal, 100);
        shown
            .lines()
            .find(|line| line.starts_with("provider "))
            .map(|line| line.trim().to_owned())
            .unwrap_or_default()
    };
    let sticky = said(&|result| result["decision"]["reason"] = "sticky".into());
    assert_eq!(sticky, "provider  gpt, because the session has it");
    let first = said(&|result| result["pipeline"]["order"] = "priority".into());
    assert_eq!(
        first,
        "provider  gpt, the first in the list that can be called"
    );
    let next = said(&|result| {
        result["pipeline"]["order"] = "priority".into();
        result["decision"]["reason"] = "fallback".into();
    });
    assert_eq!(
        next,
        "provider  gpt, the next in the list, because what stands before it is excluded"
    );
    let only = said(&|result| result["pipeline"]["providers"][1]["share"] = 0.0.into());
    assert_eq!(only, "provider  gpt, the only one that can be chosen");
    let none = said(&|result| result["decision"] = Value::Null);
    assert_eq!(none, "provider  none can be chosen");
}

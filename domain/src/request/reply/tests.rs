use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::request::failure::{AnsweredFailure, CallFailure, Repeat};
use crate::target::breaker::Outcome;

fn answer(body: &str) -> Answer {
    Answer {
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..Answer::default()
    }
}

fn failure(kind: Kind, body: &str) -> CallFailure {
    read(kind, &answer(body)).unwrap_err()
}

#[test]
fn all_forms_of_failure_are_understood() {
    let object = failure(
        Kind::Pre,
        r#"{"error": {"code": 503, "message": "busy", "retryable": true, "retry_after_ms": 20}}"#,
    );
    let want = CallFailure::Answered(AnsweredFailure {
        message: "busy".into(),
        retryable: Some(true),
        retry_after: Some(Duration::from_millis(20)),
        ..AnsweredFailure::of_code("503")
    });
    assert_eq!(object, want);
    let status = failure(
        Kind::Validator,
        r#"{"status": "error", "error_code": "E1", "error_message": "no"}"#,
    );
    assert_eq!(status.sentence("x"), "x answered the error E1: no");
    let odd = failure(Kind::Post, r#"{"error": "boom"}"#);
    assert_eq!(odd.sentence("x"), "x answered the error boom: boom");
    let typed = failure(
        Kind::Post,
        r#"{"error": {"code": "E", "retryable": "true", "retry_after_ms": 1500.0}}"#,
    );
    assert_eq!(
        (typed.row().repeat, typed.requested_wait()),
        (Repeat::Helps, Some(Duration::from_millis(1500)))
    );
    let headers = Answer {
        body: Bytes::new(),
        service_error: Some((Some(500), "down".into())),
        ..Answer::default()
    };
    assert_eq!(
        read(Kind::Post, &headers).unwrap_err().sentence("x"),
        "x answered the error 500: down"
    );
}

#[test]
fn a_wait_in_the_headers_stands_in_for_one_in_the_body() {
    let asked = |body: &str, code: Option<u16>, header: u64| {
        let service_error = code.map(|code| (Some(code), String::new()));
        let retry_after = Some(Duration::from_secs(header));
        let answer = Answer {
            body: Bytes::copy_from_slice(body.as_bytes()),
            service_error,
            retry_after,
            retryable: None,
        };
        read(Kind::Pre, &answer).unwrap_err()
    };
    let waits = [
        asked("", Some(503), 3),
        asked(r#"{"error": {"code": 503}}"#, None, 3),
        asked(
            r#"{"error": {"code": 503, "retry_after_ms": "soon"}}"#,
            None,
            3,
        ),
        asked(r#"{"error": {"code": 503, "retry_after_ms": -1}}"#, None, 3),
        asked(r#"{"status": "error"}"#, None, 3),
        asked(r#"{"error": {"code": 503, "retry_after_ms": 20}}"#, None, 3),
        // Nobody waits for longer than ten minutes.
        asked("", Some(503), 601),
    ]
    .map(|failure| failure.requested_wait());
    let header = Some(Duration::from_secs(3));
    assert_eq!(
        waits,
        [
            header,
            header,
            header,
            header,
            header,
            Some(Duration::from_millis(20)),
            None
        ]
    );
    assert_eq!(
        asked("", Some(429), 3).answered().unwrap().backoff(),
        header
    );
    assert_eq!(
        asked("", Some(503), 3).row().breaker,
        Outcome::AskedToWait(Duration::from_secs(3))
    );
    let fine = Answer {
        body: Bytes::from_static(b"{}"),
        retry_after: header,
        ..Answer::default()
    };
    assert!(
        read(Kind::Pre, &fine).is_ok(),
        "an answer that is no error asks for nothing"
    );
}

#[test]
fn nonsense_is_a_failure_that_counts() {
    let deep = format!("{{\"payload\": {}", "[".repeat(5000));
    for body in [
        "",
        " ",
        "[]",
        "5",
        "\"x\"",
        "nonsense",
        "{",
        r#"{"payload": {"payload": 1, "metadata": 5}}"#,
        r#"{"metadata": []}"#,
        r#"{"metadata": {}, "metadata": {}}"#,
        &deep,
    ] {
        let failure = failure(Kind::Pre, body);
        assert!(matches!(failure, CallFailure::Malformed(_)), "{body}");
        assert_eq!(failure.row().breaker, Outcome::Failure);
    }
    assert!(matches!(
        failure(Kind::Validator, r#"{"status": "maybe"}"#),
        CallFailure::Malformed(_)
    ));
    assert!(matches!(
        failure(Kind::Provider, "{}"),
        CallFailure::Malformed(_)
    ));
    let long = format!(r#"{{"metadata": {{"a": "{}"}}}}"#, "x".repeat(64 * 1024));
    assert!(matches!(
        failure(Kind::Post, &long),
        CallFailure::Malformed(_)
    ));
}

/// An answer in short.
fn short(kind: Kind, body: &str) -> String {
    match read(kind, &answer(body)) {
        Ok(Reply::Accept { .. }) => "ok".to_owned(),
        Ok(Reply::Reject { reason, .. }) => format!("rejected: {reason}"),
        Ok(Reply::Edit {
            payload, metadata, ..
        }) => {
            let payload = payload.and_then(|edit| edit.payload);
            let shown = payload.map_or("as it was".to_owned(), |raw| raw.get().to_owned());
            format!("{shown} {}", metadata.to_json())
        }
        Ok(Reply::Completion { output, usage, .. }) => {
            format!(
                "{output} {}",
                usage.map_or("none".into(), |usage| usage.to_string())
            )
        }
        Err(CallFailure::Malformed(_)) => "malformed".to_owned(),
        Err(failure) => failure.reason().to_owned(),
    }
}

#[test]
fn a_guardrail_that_says_nothing_has_not_said_yes() {
    for (body, want) in [
        (r#"{"status": "ok"}"#, "ok"),
        (r#"{"status": "ok", "valid": true}"#, "ok"),
        (r#"{"valid": true}"#, "ok"),
        (r#"{"status": "ok", "reason": "all is well"}"#, "ok"),
        (r#"{"status": "reject", "reason": "pii"}"#, "rejected: pii"),
        (r#"{"status": "reject"}"#, "rejected: rejected"),
        (r#"{"valid": false}"#, "rejected: rejected"),
        (r#"{"valid": false, "reason": "rude"}"#, "rejected: rude"),
        (
            r#"{"status": "reject", "valid": true}"#,
            "rejected: rejected",
        ),
        ("{}", "malformed"),
        (r#"{"allowed": false}"#, "malformed"),
        (r#"{"allowed": true}"#, "malformed"),
        (r#"{"Status": "reject"}"#, "malformed"),
        (r#"{"status": "OK"}"#, "malformed"),
        (r#"{"status": "success"}"#, "malformed"),
        (r#"{"status": "maybe"}"#, "malformed"),
        (r#"{"status": null}"#, "malformed"),
        (r#"{"status": true}"#, "malformed"),
        (r#"{"status": ["ok"]}"#, "malformed"),
        (r#"{"status": "ok", "valid": false}"#, "malformed"),
        (r#"{"valid": "true"}"#, "malformed"),
        (r#"{"valid": 1}"#, "malformed"),
        (r#"{"reason": "fine"}"#, "malformed"),
        (r#"{"payload": {"payload": "x"}}"#, "malformed"),
        (r#"{"status": "error"}"#, "extension_error"),
    ] {
        assert_eq!(short(Kind::Validator, body), want, "{body}");
    }
}

#[test]
fn a_processor_is_understood_or_has_failed() {
    for (body, want) in [
        ("{}", "as it was {}"),
        (r#"{"status": "ok"}"#, "as it was {}"),
        (r#"{"status": "success"}"#, "as it was {}"),
        (r#"{"payload": null}"#, "as it was {}"),
        (r#"{"payload": {"payload": "x"}}"#, "\"x\" {}"),
        (r#"{"payload": {"message_id": "m"}}"#, "as it was {}"),
        (r#"{"payload": "text"}"#, "\"text\" {}"),
        (r#"{"payload": [1.10]}"#, "[1.10] {}"),
        (r#"{"payload": 5}"#, "5 {}"),
        (
            r#"{"metadata": {"lang": "en"}}"#,
            r#"as it was {"lang":"en"}"#,
        ),
        (r#"{"metadata": {}, "took": 5}"#, "as it was {}"),
        (
            r#"{"status": "reject", "reason": "rude"}"#,
            "rejected: rude",
        ),
        (
            r#"{"status": "reject", "payload": "x"}"#,
            "rejected: rejected",
        ),
        (r#"{"payload": {"payload": null}}"#, "null {}"),
        (r#"{"valid": false, "reason": "pii"}"#, "rejected: pii"),
        (
            r#"{"error_code": "E", "error_message": "failed"}"#,
            "extension_error",
        ),
        (r#"{"output": "***"}"#, "malformed"),
        (r#"{"reason": "pii"}"#, "malformed"),
        (r#"{"response": {"payload": "x"}}"#, "malformed"),
        (r#"{"valid": true}"#, "malformed"),
        (r#"{"masked": "x"}"#, "malformed"),
        (r#"{"Payload": {"payload": "x"}}"#, "malformed"),
        (r#"{"payload": {"text": "x"}}"#, "malformed"),
        (r#"{"payload": {}}"#, "malformed"),
        (r#"{"status": "blocked"}"#, "malformed"),
        (r#"{"status": "REJECT"}"#, "malformed"),
        (r#"{"status": 1}"#, "malformed"),
    ] {
        for kind in [Kind::Pre, Kind::Post] {
            assert_eq!(short(kind, body), want, "{body}");
        }
    }
}

#[test]
fn an_output_is_found_in_both_forms() {
    for (body, want) in [
        (
            r#"{"output": [1.10], "usage": {"t": 0.5}}"#,
            r#"[1.10] {"t": 0.5}"#,
        ),
        (r#"{"output": null}"#, "null none"),
        (
            r#"{"status": "success", "response": {"output": "x", "usage": {"t": 1}}}"#,
            r#""x" {"t": 1}"#,
        ),
        (
            r#"{"status": "success", "response": {"payload": "x"}}"#,
            "\"x\" none",
        ),
        (
            r#"{"status": "success", "response": {"payload": {"a": 1}}, "usage": 5}"#,
            r#"{"a": 1} 5"#,
        ),
        (r#"{"status": "success", "response": {}}"#, "malformed"),
        (r#"{"status": "success"}"#, "malformed"),
        (r#"{"response": "x"}"#, "malformed"),
        ("{}", "malformed"),
    ] {
        assert_eq!(short(Kind::Provider, body), want, "{body}");
    }
}

#[test]
fn what_the_release_before_took_can_be_taken_once_more() {
    use Kind::{Post, Pre, Provider, Validator};
    for (kind, body, is_tolerated) in [
        (Validator, "{}", true),
        (Validator, r#"{"allowed": false}"#, true),
        (Validator, r#"{"valid": false}"#, true),
        (Validator, r#"{"status": "ok"}"#, false),
        (Validator, r#"{"status": "reject"}"#, false),
        (Validator, r#"{"status": "maybe"}"#, false),
        (Validator, "nonsense", false),
        (Pre, r#"{"status": "reject"}"#, true),
        (Pre, r#"{"masked": 1}"#, true),
        (Post, r#"{"payload": {"text": "x"}}"#, true),
        (Post, r#"{"payload": "text"}"#, false),
        (Pre, r#"{"metadata": 5}"#, false),
        (Provider, "{}", false),
    ] {
        let strict = read_with(Strictness::Refuse, kind, &answer(body));
        let lenient = read_with(Strictness::Warn, kind, &answer(body));
        assert!(strict.tolerated.is_none(), "{body}");
        assert_eq!(lenient.tolerated.is_some(), is_tolerated, "{body}");
        if is_tolerated {
            let passes = !matches!(lenient.result, Ok(Reply::Reject { .. }) | Err(_));
            assert!(passes, "{body}");
        }
    }
}

#[test]
fn a_service_error_says_by_header_or_body_whether_it_may_be_tried_again() {
    let told = |header: Option<bool>, body: &str| {
        let service_error = Some((Some(503), "busy".to_owned()));
        let answer = Answer {
            body: Bytes::copy_from_slice(body.as_bytes()),
            service_error,
            retry_after: None,
            retryable: header,
        };
        let Err(CallFailure::Answered(AnsweredFailure {
            code,
            retryable,
            retry_after,
            ..
        })) = read(Kind::Pre, &answer)
        else {
            panic!("no error")
        };
        assert_eq!(code, "503");
        (retryable, retry_after)
    };
    let wait = Some(Duration::from_millis(20));
    assert_eq!(told(Some(true), ""), (Some(true), None));
    assert_eq!(told(Some(false), "nonsense"), (Some(false), None));
    let body = r#"{"error": {"retryable": true, "retry_after_ms": 20}}"#;
    assert_eq!(
        [told(None, body), told(Some(false), body)],
        [(Some(true), wait); 2],
        "the body goes first"
    );
    let plain = Answer {
        body: Bytes::from_static(br#"{"error": {"code": "500"}}"#),
        retryable: Some(true),
        ..Answer::default()
    };
    assert_eq!(
        read(Kind::Pre, &plain).unwrap_err().row().repeat,
        Repeat::Helps
    );
}

proptest::proptest! {
    #[test]
    fn no_answer_panics(body: Vec<u8>) {
        for (_, kind) in Kind::ALL {
            let _ = read(kind, &Answer { body: Bytes::copy_from_slice(&body), ..Answer::default() });
        }
    }
}

#[test]
fn notes_are_kept_from_who_runs_before_the_provider() {
    let notes = |kind: Kind, body: &str| match read(kind, &answer(body)) {
        Ok(Reply::Edit { notes, .. } | Reply::Accept { notes } | Reply::Reject { notes, .. }) => {
            notes.map_or("none".to_owned(), |notes| notes.json().to_string())
        }
        Ok(Reply::Completion { .. }) => "completion".to_owned(),
        Err(CallFailure::Malformed(problem)) => problem,
        Err(failure) => failure.reason().to_owned(),
    };
    let long = format!("\"{}\"", "x".repeat(16 * 1024 - 2));
    let longer = format!("\"{}\"", "x".repeat(16 * 1024 - 1));
    let reject = format!(r#"{{"status": "reject", "notes": {longer}}}"#);
    for (kind, body, wanted) in [
        (Kind::Pre, r#"{"notes": {"a": 1.50}}"#, r#"{"a": 1.50}"#),
        (Kind::Pre, r#"{"payload": "x", "notes": [1]}"#, "[1]"),
        (Kind::Pre, r#"{"notes": null}"#, "none"),
        (Kind::Pre, r#"{"status": "reject", "notes": 7}"#, "7"),
        (Kind::Validator, r#"{"status": "ok", "notes": 7}"#, "7"),
        (Kind::Validator, r#"{"valid": true, "notes": 7}"#, "7"),
        (
            Kind::Validator,
            r#"{"notes": 7}"#,
            "it has no status, so it says neither ok nor reject",
        ),
        (Kind::Post, r#"{"notes": 7}"#, "none"),
        (Kind::Pre, &format!(r#"{{"notes": {long}}}"#), &long),
        (
            Kind::Pre,
            &format!(r#"{{"notes": {longer}}}"#),
            "its notes are longer than 16384 bytes",
        ),
        // A rejection stays one.
        (Kind::Validator, &reject, "none"),
    ] {
        assert_eq!(notes(kind, body), wanted, "{kind:?} {body}");
    }
}

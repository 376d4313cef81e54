use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::request::failure::{AnsweredFailure, Repeat};
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
        r#"{"payload": 5}"#,
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
    let long = format!(r#"{{"metadata": {{"a": "{}"}}}}"#, "x".repeat(MAX_METADATA));
    assert!(matches!(
        failure(Kind::Post, &long),
        CallFailure::Malformed(_)
    ));
}

#[test]
fn answers_are_read_with_their_defaults() {
    assert!(matches!(
        read(Kind::Validator, &answer("{}")),
        Ok(Reply::Accept)
    ));
    assert!(matches!(
        read(Kind::Pre, &answer("{}")),
        Ok(Reply::Edit { payload: None, .. })
    ));
    let Ok(Reply::Reject { reason, .. }) = read(
        Kind::Validator,
        &answer(r#"{"status": "reject", "reason": "pii"}"#),
    ) else {
        panic!("not a rejection")
    };
    assert_eq!(reason, "pii");
    let Ok(Reply::Completion { output, .. }) = read(
        Kind::Provider,
        &answer(r#"{"output": [1.10], "usage": {"total_tokens": 0.5}}"#),
    ) else {
        panic!("not a completion")
    };
    assert_eq!(output.get(), "[1.10]");
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

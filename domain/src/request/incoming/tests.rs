use super::*;
use beamline_contract::error::ErrorCode;

fn limits() -> RequestLimits {
    RequestLimits {
        default_timeout: Duration::from_secs(30),
        max_timeout: Duration::from_secs(120),
        allowed_tenants: None,
    }
}

fn parse(body: &str) -> Result<Request, Refusal> {
    Request::parse(body.as_bytes(), &RequestHeaders::default(), &limits(), || 1)
}

/// The code, the intake code and the pointer of a refusal.
fn refused(body: &[u8]) -> (&'static str, &'static str, String) {
    let (error, _) =
        *Request::parse(body, &RequestHeaders::default(), &limits(), || 1).unwrap_err();
    let pointer = error
        .details
        .get("pointer")
        .and_then(|p| p.as_str())
        .unwrap_or_default()
        .to_owned();
    (
        error.code.as_str(),
        error.intake_code.map_or("", IntakeCode::as_str),
        pointer,
    )
}

fn with(field: &str) -> Vec<u8> {
    format!(r#"{{"version": "1", "tenant_id": "t", "request_id": "r", "message": {{"payload": 1}}, {field}}}"#)
        .into_bytes()
}

#[test]
fn a_full_request_is_read() {
    let request = parse(
        r#"{"version": "1", "tenant_id": "acme", "request_id": "req-123", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "message": {"message_id": "m-1", "message_type": "chat", "payload": [1.10, 1e400], "metadata": {"channel": "web"}},
            "policy_id": "p", "context": {"user_id": "u-7"}, "timeout_ms": 2000, "unknown": 1}"#,
    )
    .unwrap();
    assert_eq!(
        request.message.payload.get(),
        "[1.10, 1e400]",
        "the payload passes as it was written"
    );
    assert_eq!(
        (request.policy_id.as_str(), request.timeout),
        ("p", Duration::from_secs(2))
    );
    assert_eq!(&*request.trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn the_older_task_form_and_defaults() {
    let request =
        parse(r#"{"version": "1", "tenant_id": "t", "request_id": "r", "task": {"type": "sum", "payload": null}}"#)
            .unwrap();
    assert_eq!(
        (
            &*request.message.message_type,
            request.message.payload.get()
        ),
        ("sum", "null")
    );
    assert_eq!(
        (&*request.message.message_id, request.policy_id.as_str()),
        ("r", "default")
    );
    assert_eq!(request.timeout, Duration::from_secs(30));
}

#[test]
fn an_empty_message_beside_a_task_is_none_and_a_payload_may_be_absent() {
    let head = r#"{"version": "1", "tenant_id": "t", "request_id": "r""#;
    for (rest, payload) in [
        (
            r#""message": {}, "task": {"type": "sum", "payload": "x"}"#,
            "\"x\"",
        ),
        (
            r#""task": {"type": "sum", "payload": "x"}, "message": null"#,
            "\"x\"",
        ),
        (
            r#""message": {"payload": "m"}, "task": {"payload": "x"}"#,
            "\"m\"",
        ),
        (
            r#""message": {"message_type": "chat"}, "task": {"payload": "x"}"#,
            "null",
        ),
        (r#""message": {}"#, "null"),
        (r#""task": {}"#, "null"),
        (r#""message": {"payload": null}"#, "null"),
    ] {
        let request = parse(&format!("{head}, {rest}}}")).unwrap();
        assert_eq!(request.message.payload.get(), payload, "{rest}");
    }
}

#[test]
fn headers_win_over_the_body_and_the_shorter_time_counts() {
    let headers = RequestHeaders {
        tenant_id: Some("head".into()),
        trace_id: Some("trace".into()),
        timeout_ms: Some("500".into()),
        ..RequestHeaders::default()
    };
    let body = br#"{"version": "1", "tenant_id": "body", "request_id": "r", "trace_id": "b", "timeout_ms": 900, "message": {"payload": 1}}"#;
    let request = Request::parse(body, &headers, &limits(), || 1).unwrap();
    assert_eq!(
        (&*request.tenant_id, &*request.trace.trace_id),
        ("head", "trace")
    );
    assert_eq!(request.timeout, Duration::from_millis(500));
}

#[test]
fn more_time_than_the_most_is_cut_to_it_and_noticed() {
    let timeout = |text: Option<&str>| {
        let headers = RequestHeaders {
            timeout_ms: text.map(str::to_owned),
            ..RequestHeaders::default()
        };
        let body =
            br#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}}"#;
        let request = Request::parse(body, &headers, &limits(), || 1).unwrap();
        (request.timeout, request.clamped)
    };
    let most = limits().max_timeout;
    assert_eq!(timeout(None), (limits().default_timeout, false));
    assert_eq!(timeout(Some(&most.as_millis().to_string())), (most, false));
    assert_eq!(
        timeout(Some(&(most.as_millis() + 1).to_string())),
        (most, true)
    );
}

#[test]
fn bad_input_gets_a_code_and_a_place() {
    let schema = "SCHEMA_VALIDATION_FAILED";
    let correlation = "CORRELATION_FIELDS_INVALID";
    let deep = [
        br#"{"version": "1", "message": "#.as_slice(),
        "[".repeat(100_000).as_bytes(),
    ]
    .concat();
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"".to_vec(), schema, ""),
        (b" \n".to_vec(), schema, ""),
        (b"{\"a\":".to_vec(), schema, ""),
        (b"\xff\xfe".to_vec(), schema, ""),
        (b"\xef\xbb\xbf{}".to_vec(), schema, ""),
        (b"[]".to_vec(), schema, ""),
        (b"null".to_vec(), schema, ""),
        (deep, schema, ""),
        (b"{}".to_vec(), "VERSION_UNSUPPORTED", "/version"),
        (br#"{"version": 1}"#.to_vec(), "VERSION_UNSUPPORTED", "/version"),
        (br#"{"version": "2"}"#.to_vec(), "VERSION_UNSUPPORTED", "/version"),
        (br#"{"version": "1"}"#.to_vec(), correlation, "/tenant_id"),
        (br#"{"version": "1", "tenant_id": 7}"#.to_vec(), correlation, "/tenant_id"),
        (br#"{"version": "1", "tenant_id": "t"}"#.to_vec(), correlation, "/request_id"),
        (
            br#"{"version": "1", "tenant_id": "t\u0000", "request_id": "r", "message": {"payload": 1}}"#.to_vec(),
            correlation,
            "/tenant_id",
        ),
        (
            br#"{"version": "1", "tenant_id": "t", "request_id": "a\r\nb", "message": {"payload": 1}}"#.to_vec(),
            correlation,
            "/request_id",
        ),
        (br#"{"version": "1", "tenant_id": "t", "request_id": "r"}"#.to_vec(), schema, "/message"),
        (br#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": "hi"}"#.to_vec(), schema, "/message"),
        (
            br#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1, "metadata": 1}}"#.to_vec(),
            schema,
            "/message/metadata",
        ),
        (with(r#""context": []"#), schema, "/context"),
        (with(r#""policy_id": 5"#), schema, "/policy_id"),
        (with(r#""trace_id": {}"#), correlation, "/trace_id"),
        (with(r#""tenant_id": "again""#), correlation, "/tenant_id"),
        (with(r#""timeout_ms": 0"#), schema, "/timeout_ms"),
        (with(r#""timeout_ms": -1"#), schema, "/timeout_ms"),
        (with(r#""timeout_ms": "5s""#), schema, "/timeout_ms"),
        (with(r#""timeout_ms": 0.5"#), schema, "/timeout_ms"),
        (with(r#""timeout_ms": 99999999999"#), schema, "/timeout_ms"),
    ];
    for (body, intake_code, pointer) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(
            refused(&body),
            ("invalid_request", intake_code, pointer.to_owned()),
            "{shown}"
        );
    }
}

#[test]
fn a_refusal_is_correlated_as_far_as_the_request_could_be_read() {
    let (_, correlation) =
        *parse(r#"{"version": "2", "request_id": "r-9", "trace_id": "t-9"}"#).unwrap_err();
    assert_eq!(
        (
            correlation.request_id.as_deref(),
            correlation.trace_id.as_str()
        ),
        (Some("r-9"), "t-9")
    );
}

#[test]
fn strangers_are_refused_where_tenants_are_listed() {
    let limits = RequestLimits {
        allowed_tenants: Some(vec!["acme".into()]),
        ..limits()
    };
    let (error, _) = *Request::parse(
        &with(r#""x": 1"#),
        &RequestHeaders::default(),
        &limits,
        || 1,
    )
    .unwrap_err();
    assert_eq!(
        (error.code, error.intake_code),
        (ErrorCode::Unauthorized, Some(IntakeCode::TenantForbidden))
    );
}

proptest::proptest! {
    #[test]
    fn no_input_panics(body: Vec<u8>) {
        let _ = Request::parse(&body, &RequestHeaders::default(), &limits(), || 1);
    }
}

const SCHEMA: &str = include_str!("../../../../docs/schemas/request.json");

/// A request as it is sent without headers, and whether it is taken.
const JUDGED: &[(&str, bool)] = &[
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": null}}"#,
        true,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "task": {"type": "chat", "payload": {}}, "colour": 1}"#,
        true,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "trace_id": null, "policy_id": null, "timeout_ms": null,
        "message": {"message_id": "m", "message_type": "chat", "payload": [1], "metadata": {"a": 1}}, "context": {"b": 2}}"#,
        true,
    ),
    (r#"[]"#, false),
    (
        r#"{"tenant_id": "t", "request_id": "r", "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": 1, "tenant_id": "t", "request_id": "r", "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": "2", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "", "request_id": "r", "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": 7, "message": {"payload": 1}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r"}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": "hello"}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"message_type": 7}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1, "metadata": []}}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}, "context": []}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}, "policy_id": ["p"]}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}, "timeout_ms": 0}"#,
        false,
    ),
    (
        r#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}, "timeout_ms": 10000000000}"#,
        false,
    ),
];

#[test]
fn reader_and_schema_agree() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let limits = RequestLimits {
        default_timeout: Duration::from_secs(1),
        max_timeout: Duration::from_secs(1),
        allowed_tenants: None,
    };
    for (json, is_good) in JUDGED {
        let read = Request::parse(json.as_bytes(), &RequestHeaders::default(), &limits, || 1);
        assert_eq!(read.is_ok(), *is_good, "the reader: {json}");
        let document = serde_json::from_str(json).unwrap();
        let error = validator.validate(&document).err();
        assert_eq!(error.is_none(), *is_good, "the schema: {json}: {error:?}");
    }
}

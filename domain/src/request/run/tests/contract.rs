//! What is written and what is read has the shape that the contract's types say.

use beamline_contract::answer::{DecisionAnswer, ErrorAnswer};
use beamline_contract::request::{RequestBody, RequestMessage, VERSION};

use super::rig::{Rig, answered};
use super::*;
use crate::request::{RequestHeaders, RequestLimits};

/// The same text when the contract's type has read and written it.
fn reread<'a, T: serde::Deserialize<'a> + serde::Serialize>(json: &'a str) -> Value {
    let read: T = serde_json::from_str(json).unwrap();
    serde_json::to_value(read).unwrap()
}

#[test]
fn answers_survive_the_types_of_the_contract() {
    for detail_level in ["minimal", "detailed", "verbose"] {
        let rig = Rig {
            context: json!({"detail_level": detail_level}),
            ..Rig::default()
        };
        let run = rig.run(RequestKind::Route, POLICY);
        let (answer, _) = rig.finish(run, |_| None);
        let json = answer.to_string();
        assert_eq!(
            reread::<DecisionAnswer<'_>>(&json),
            answer,
            "{detail_level}"
        );
    }
    let rig = Rig::default();
    let run = rig.run(RequestKind::Route, POLICY);
    let (answer, _) = rig.finish(run, |order| {
        (order.call.id() == "p1").then(|| Err(answered("500")))
    });
    let json = answer.to_string();
    assert_eq!(reread::<ErrorAnswer<'_>>(&json), answer);
}

#[test]
fn a_request_is_read_as_it_is_written() {
    let payload = RawValue::from_string("1.10".to_owned()).unwrap();
    let fields = Fields::parse(r#"{"lang": "en"}"#).unwrap();
    let body = RequestBody {
        version: VERSION.into(),
        tenant_id: Some("acme".into()),
        request_id: "r-1".into(),
        trace_id: Some("t-1".into()),
        message: Some(RequestMessage {
            message_id: Some("m-1".into()),
            message_type: Some("chat".into()),
            payload: Some(std::borrow::Cow::Borrowed(&payload)),
            metadata: std::borrow::Cow::Borrowed(&fields),
        }),
        task: None,
        policy_id: Some("p".into()),
        context: std::borrow::Cow::Borrowed(&fields),
        timeout_ms: Some(700),
    };
    let bytes = serde_json::to_vec(&body).unwrap();
    let limits = RequestLimits {
        default_timeout: Duration::from_secs(1),
        max_timeout: Duration::from_secs(1),
        allowed_tenants: None,
    };
    let headers = RequestHeaders::default();
    let request = Request::parse(&bytes, &headers, &limits, || 1).unwrap();
    assert_eq!(&*request.tenant_id, "acme");
    assert_eq!(&*request.request_id, "r-1");
    assert_eq!(&*request.trace.trace_id, "t-1");
    assert_eq!(&*request.message.message_id, "m-1");
    assert_eq!(&*request.message.message_type, "chat");
    assert_eq!(request.message.payload.get(), "1.10");
    assert_eq!(*request.message.metadata, fields);
    assert_eq!(request.policy_id, "p");
    assert_eq!(request.context, fields);
    assert_eq!(request.timeout, Duration::from_millis(700));
}

//! Dry runs that call extensions, on the whole tree in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use beamline_actors::dry_run::Rehearsal;
use beamline_actors::testing::{MemoryTransport, content};
use beamline_contract::admin::DryRunResult;
use beamline_contract::fields::Fields;
use beamline_domain::request::Message;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::plant;

#[expect(dead_code, reason = "requests are sent elsewhere")]
#[path = "support/tree.rs"]
mod support;

const POLICY: &str =
    r#"{"pre": [{"id": "tidy"}], "providers": [{"name": "model"}], "post": [{"id": "polish"}]}"#;

fn rehearsal(timeout: Option<Duration>) -> Rehearsal {
    Rehearsal {
        tenant_id: "t".into(),
        policy_id: "default".into(),
        policy: None,
        message: Message {
            message_id: "m".into(),
            message_type: "chat".into(),
            payload: RawValue::from_string("1".into()).unwrap().into(),
            metadata: Fields::default().into(),
        },
        context: Fields::default(),
        timeout,
        call_extensions: true,
        output: None,
        assumed_latency: Duration::from_millis(30),
    }
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_never_called_and_each_extension_once() {
    let records = [
        r#"{"id": "tidy", "type": "pre"}"#,
        r#"{"id": "model", "type": "provider"}"#,
        r#"{"id": "polish", "type": "post"}"#,
    ];
    // With a time limit the provider is chosen as `route` would, which goes on to call it.
    for timeout in [None, Some(Duration::from_secs(5))] {
        let bus = MemoryTransport::new();
        let subjects = [
            "beamline.ext.pre.tidy.v1",
            "beamline.provider.model.v1",
            "beamline.ext.post.polish.v1",
        ];
        subjects
            .iter()
            .for_each(|subject| bus.answers(subject, "{}"));
        let (_store, _registry, _invokers, door, _root) = plant(
            content(&records, &[("t", "default", POLICY)]),
            bus.clone(),
            10,
            3,
        )
        .await;
        let told = door.services().dry_run(rehearsal(timeout)).await.unwrap();
        let read: DryRunResult<'_> = serde_json::from_str(told.get()).unwrap();
        let written: Value = serde_json::from_str(told.get()).unwrap();
        assert_eq!(json!(read), written, "it is read as it was written");
        let told = written;
        assert_eq!(
            subjects.map(|subject| bus.calls(subject).len()),
            [1, 0, 1],
            "{timeout:?}: {told}"
        );
        assert_eq!(
            (&told["provider_selected"], &told["error"]),
            (&json!("model"), &Value::Null)
        );
        let lines = |key: &str| {
            told[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line["id"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (
                lines("executed_extensions"),
                lines("post_processors_executed")
            ),
            (vec![json!("tidy")], vec![json!("polish")])
        );
    }
}

use beamline_actors::testing::content;
use beamline_domain::record;

use super::*;
use crate::admin::heard::Listener;

fn heard(subject: &str) -> Heard {
    let schema = r#"{"properties": {"a": {"type": "string"}}, "additionalProperties": false}"#;
    let listener = Listener {
        program: "clean".to_owned(),
        subject: subject.to_owned(),
        config_schema: Some(schema.into()),
    };
    let mut heard = Heard::default();
    heard.take(listener, &[subject.to_owned()].into());
    heard
}

const RECORD: &str = r#"{"id": "clean", "type": "pre", "config": {"a": 1}}"#;
const POLICY: &str = r#"{"pre": [{"id": "clean", "config": {"aa": 1}}], "providers": ["p"]}"#;

fn snapshot() -> Snapshot {
    Snapshot::new(content(&[RECORD], &[("acme", "default", POLICY)]))
}

#[test]
fn a_changed_record_is_warned_of_the_policies_that_it_breaks() {
    let record = record::parse(r#"{"id": "clean", "type": "pre"}"#, "beamline").unwrap();
    let given = Given::by_record(&record, &snapshot(), "beamline");
    let opinion = given.judge(&heard("beamline.ext.pre.clean.v1"));
    let warning = "/config: the policy acme/default has /pre/0/config/aa, which is not a known key; did you mean a?";
    assert_eq!(opinion.warnings[0].to_string(), warning);
    assert_eq!((opinion.mistakes.len(), opinion.warnings.len()), (0, 1));
}

#[test]
fn what_a_patch_leaves_as_it_was_is_only_warned_of() {
    let record = record::parse(RECORD, "beamline").unwrap();
    let judged = || {
        let given = Given::by_record(&record, &Snapshot::default(), "beamline");
        given.judge(&heard("beamline.ext.pre.clean.v1"))
    };
    let patch = |json: &str| Fields::parse(json).unwrap();
    let elsewhere = patch(r#"{"versions": []}"#);
    let warned = judged().of_sent("extension", Some(&elsewhere)).unwrap();
    assert_eq!(
        warned[0].to_string(),
        "/config/a: must be a string, is a number"
    );
    let same = patch(r#"{"config": {"a": 1}}"#);
    assert!(judged().of_sent("extension", Some(&same)).is_err());
    assert!(judged().of_sent("extension", None).is_err());
    assert!(concern(&elsewhere) && !concern(&patch(r#"{"retry": 1}"#)));
}

#[test]
fn only_entries_with_a_config_ask_anybody() {
    let policy = Policy::parse(POLICY).unwrap();
    let given = Given::by_policy(&policy, &snapshot(), "beamline");
    assert_eq!(
        given.subjects(),
        ["beamline.ext.pre.clean.v1".to_owned()].into()
    );
    let bare = Policy::parse(r#"{"pre": [{"id": "clean"}], "providers": ["p"]}"#).unwrap();
    assert!(Given::by_policy(&bare, &snapshot(), "beamline").is_empty());
}

#[tokio::test]
async fn what_was_heard_is_judged_apart() {
    let policy = Policy::parse(POLICY).unwrap();
    let given = Given::by_policy(&policy, &snapshot(), "beamline");
    let opinion = given.judged(heard("beamline.ext.pre.clean.v1")).await;
    assert_eq!(opinion.mistakes.len(), 1, "{opinion:?}");
}

//! Versions, instances, and results that do not depend on timing.

use proptest::prelude::*;
use serde_json::json;

use super::rig::{Rig, answered};
use super::*;

#[test]
fn the_answer_names_the_version_and_the_instance() {
    let records = vec![
        json!({"id": "val_block", "type": "validator", "versions": [
            {"version": "v2", "routing_rules": {"tenant": "t", "tier": "gold"}, "config": {"strict": true}}]}),
        json!({"id": "p1", "type": "provider", "instances": [
            {"instance_id": "a", "subject": "beamline.provider.p1.a", "weight": 50},
            {"instance_id": "b", "subject": "beamline.provider.p1.b", "weight": 50}]}),
    ];
    let policy = r#"{"validators": [{"id": "val_block", "config": {"own": 2}}], "providers": [{"name": "p1"}]}"#;
    let mut rig = Rig {
        records,
        context: json!({"tier": "gold", "detail_level": "verbose"}),
        ..Rig::default()
    };
    let run = rig.run(RequestKind::Route, policy);
    assert_eq!(
        run.plan.validators[0].config.to_json(),
        r#"{"own":2,"strict":true}"#
    );
    let (answer, happened) = rig.finish(run, |_| None);
    assert_eq!(
        happened.subjects,
        [
            "beamline.ext.validate.val_block.v2",
            "beamline.provider.p1.a"
        ]
    );
    let lines = &answer["extensions"];
    assert_eq!(
        (
            &lines[0]["version"],
            &lines[1]["version"],
            &lines[1]["instance"]
        ),
        (&json!("v2"), &json!("v1"), &json!("a"))
    );
    let explanation = &answer["decision"]["explanation"];
    let steps = explanation["steps"].to_string();
    assert!(
        steps.contains(
            "validator val_block v2 by its rule (tenant = \\\"t\\\", tier = \\\"gold\\\"): success"
        ),
        "{steps}"
    );
    assert_eq!(explanation["places"][1]["instance"], "a");

    rig.endpoint_state.insert(
        "beamline.provider.p1.a".into(),
        EndpointState {
            unhealthy: true,
            ..EndpointState::default()
        },
    );
    let (answer, _) = rig.finish(rig.run(RequestKind::Route, policy), |_| None);
    assert_eq!(answer["extensions"][1]["instance"], "b");
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains("p1 v1 on instance b, 1 unhealthy instance avoided chosen by weight"),
        "{steps}"
    );
}

#[test]
fn a_retry_goes_to_another_instance() {
    let records = vec![
        json!({"id": "p1", "type": "provider", "retry": 1, "instances": [
        {"instance_id": "a", "subject": "beamline.provider.p1.a"}, {"instance_id": "b", "subject": "beamline.provider.p1.b"}]}),
    ];
    let rig = Rig {
        records,
        ..Rig::default()
    };
    let policy = r#"{"providers": [{"name": "p1"}]}"#;
    let mut first = Some(Err(CallFailure::NoResponders));
    let (answer, _) = rig.finish(rig.run(RequestKind::Route, policy), |_| first.take());
    let attempts = &answer["attempts"];
    assert_eq!(
        (&attempts[0]["instance"], &attempts[1]["instance"]),
        (&json!("a"), &json!("b"))
    );
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains("p1 v1 on instance b after a retry"),
        "{steps}"
    );
}

#[test]
fn an_explanation_names_no_other_tenant() {
    let versions = json!([{"version": "v2", "routing_rules": {"tenant": ["rival", "t"], "tier": ["gold", "silver"]}}]);
    let records = vec![json!({"id": "p1", "type": "provider", "versions": versions})];
    let rig = Rig {
        records,
        context: json!({"tier": "gold", "detail_level": "verbose"}),
        ..Rig::default()
    };
    let (answer, _) = rig.finish(
        rig.run(RequestKind::Decide, r#"{"providers": ["p1"]}"#),
        |_| None,
    );
    let explanation = &answer["decision"]["explanation"];
    let steps = explanation["steps"].to_string();
    let place = &explanation["places"][0]["rule"];
    assert_eq!(place, r#"tenant = "t", tier = one of "gold", "silver""#);
    assert!(
        steps.contains("p1 v2 by its rule (tenant = ") && !steps.contains("rival"),
        "{steps}"
    );
}

#[test]
fn the_levels_of_an_explanation() {
    let level = |word: &str| {
        let rig = Rig {
            context: json!({"detail_level": word}),
            ..Rig::default()
        };
        let (answer, _) = rig.finish(rig.run(RequestKind::Decide, super::POLICY), |_| None);
        let explanation = answer["decision"]["explanation"]
            .as_object()
            .unwrap()
            .clone();
        explanation.keys().cloned().collect::<Vec<_>>()
    };
    let minimal = [
        "policy_id",
        "policy_version",
        "priority",
        "provider_id",
        "reason",
    ];
    assert_eq!(level("minimal"), minimal);
    assert_eq!(
        level("detailed"),
        [
            "context",
            "policy_id",
            "policy_version",
            "priority",
            "provider_id",
            "reason",
            "steps"
        ]
    );
    assert_eq!(level("nonsense"), level("detailed"));
    assert!(level("verbose").contains(&"providers".to_owned()));
}

#[test]
fn a_cut_off_call_is_no_failure_of_its_own() {
    let rig = Rig::default();
    let (answer, _) = rig.finish(
        rig.run(RequestKind::Route, super::POLICY),
        |order| match order.call.id() {
            "val_block" => Some(Ok(super::rig::reject())),
            "val_warn" | "val_ignore" => Some(Err(CallFailure::Cancelled)),
            _ => None,
        },
    );
    assert_eq!(
        (&answer["error"]["code"], &answer["degraded"]),
        (&json!("validator_blocked"), &json!([]))
    );
    assert_eq!(answer["extensions"][3]["status"], "skipped");
}

/// How a side-by-side call of the property below ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Fine,
    Reject,
    Fail,
    Silent,
}

proptest! {
    /// Whatever each validator does, and whichever were cut off after the deciding one, the outcome
    /// is the same: it depends on the results in the order of the policy alone.
    #[test]
    fn the_outcome_does_not_depend_on_timing(
        ends in prop::collection::vec(prop_oneof![Just(End::Fine), Just(End::Reject), Just(End::Fail), Just(End::Silent)], 3),
        cut in prop::collection::vec(any::<bool>(), 3),
    ) {
        let outcome = |id: &str| {
            let position = ["val_block", "val_warn", "val_ignore"].iter().position(|known| *known == id);
            position.map(|at| (at, match ends[at] {
                End::Fine => Ok(Reply::Accept { notes: None }),
                End::Reject => Ok(super::rig::reject()),
                End::Fail => Err(answered("500")),
                End::Silent => Err(CallFailure::Timeout),
            }))
        };
        let rig = Rig::default();
        let answer = |may_cut: bool| {
            let run = rig.run(RequestKind::Route, super::POLICY);
            let decided = run.plan.validators.iter().position(|call| outcome(call.id()).is_some_and(|(_, o)| is_fatal(call, &o)));
            let script = |order: &CallOrder| outcome(order.call.id()).map(|(at, outcome)| {
                let was_cut = may_cut && decided.is_some_and(|by| at > by) && cut[at];
                if was_cut { Err(CallFailure::Cancelled) } else { outcome }
            });
            rig.finish(run, script).0
        };
        let whole = answer(false);
        let short = answer(true);
        prop_assert_eq!(&whole["ok"], &short["ok"]);
        prop_assert_eq!(&whole["error"], &short["error"]);
        prop_assert_eq!(&whole["decision"], &short["decision"]);
        // Every configured extension is reported, whatever happened.
        prop_assert_eq!(whole["extensions"].as_array().map(Vec::len), Some(9));
        prop_assert_eq!(short["extensions"].as_array().map(Vec::len), Some(9));
    }
}

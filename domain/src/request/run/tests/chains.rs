//! Rules that go on fitting, lists that reach their end, and rules about one provider.

use beamline_contract::failure::FailureKind;
use serde_json::{Value, json};

use super::rig::{Rig, answered};
use super::*;

fn called(rig: &Rig, policy: &Value, fails: &[(&str, CallFailure)]) -> (Vec<String>, Value) {
    let run = rig.run(RequestKind::Route, &policy.to_string());
    let script = |order: &CallOrder| {
        let failure = fails.iter().find(|(id, _)| *id == order.call.id());
        failure.map(|(_, failure)| Err(failure.clone()))
    };
    let (answer, happened) = rig.finish(run, script);
    (happened.called, answer)
}

#[test]
fn a_rule_goes_on_fitting_while_what_its_class_opened_is_open() {
    let cases = [
        (json!("5xx"), FailureKind::ServerError, true),
        (json!("503"), FailureKind::ServerError, true),
        (json!(["timeout", "429"]), FailureKind::ServerError, false),
        (json!("timeout"), FailureKind::Timeout, true),
        (json!("no_responders"), FailureKind::NoResponders, true),
        (json!("5xx"), FailureKind::NoResponders, true),
        (json!("auth"), FailureKind::Auth, true),
        (json!("4xx"), FailureKind::Quota, true),
        (json!("circuit_breaker_open"), FailureKind::Timeout, true),
        (json!("error"), FailureKind::Cut, true),
    ];
    for (status, opened_by, fits) in cases {
        let mut rig = Rig::default();
        rig.opened_by("p1", opened_by);
        // By weight, by priority, and with nobody else at hand.
        for providers in [
            json!([{"name": "p1", "weight": 1}]),
            json!(["p1", "p2"]),
            json!([{"name": "p1", "weight": 1}, {"name": "p2", "weight": 0}]),
        ] {
            let is_list = providers[1] == "p2";
            let policy = json!({"providers": providers, "fallbacks": [{"when": {"status": status}, "to": "p3"}]});
            let (who, answer) = called(&rig, &policy, &[]);
            let want: &[&str] = match (fits, is_list) {
                (true, _) => &["p3"],
                (false, true) => &["p2"],
                (false, false) => &[],
            };
            assert_eq!(who, want, "{policy} {opened_by}: {answer}");
            if fits {
                assert_eq!(answer["decision"]["reason"], "fallback");
                assert_eq!(answer["attempts"][0]["rule"], 0, "{answer}");
            }
        }
    }
}

#[test]
fn a_provider_that_asked_for_a_wait_is_replaced_by_the_rule_for_429() {
    let mut rig = Rig::default();
    let state = rig.endpoint_state.entry("p1".into()).or_default();
    state.asked_to_wait = Some(Duration::from_secs(9));
    for (status, want) in [
        (json!("429"), vec!["p3"]),
        (json!("rate_limited"), vec!["p3"]),
        (json!("4xx"), vec!["p3"]),
        (json!("overloaded"), vec!["p3"]),
        // It may have said that it is overloaded.
        (json!("5xx"), vec!["p3"]),
        (json!("timeout"), vec![]),
    ] {
        let policy = json!({"providers": [{"name": "p1", "weight": 1}], "fallbacks": [{"when": {"status": status}, "to": "p3"}]});
        assert_eq!(called(&rig, &policy, &[]).0, want, "{policy}");
    }
}

#[test]
fn by_weight_only_the_share_of_the_one_that_is_kept_back_goes_by_the_rule() {
    let policy = json!({
        "providers": [{"name": "p1", "weight": 70}, {"name": "p2", "weight": 30}],
        "fallbacks": [{"when": {"status": "5xx"}, "to": "p3"}],
    });
    for (roll, want) in [(0.1, "p3"), (0.9, "p2")] {
        let mut rig = Rig {
            roll,
            ..Rig::default()
        };
        rig.opened_by("p1", FailureKind::ServerError);
        assert_eq!(called(&rig, &policy, &[]).0, [want], "{roll}");
    }
}

#[test]
fn a_list_reaches_its_end_whatever_its_members_records_grant() {
    let records = ["p1", "p2", "p3"].map(|id| json!({"id": id, "type": "provider", "retry": 3}));
    let rig = Rig {
        records: records.to_vec(),
        budget: 2,
        ..Rig::default()
    };
    let dead = |failure: CallFailure| [("p1", failure.clone()), ("p2", failure)];
    let helps = CallFailure::Answered(AnsweredFailure {
        retryable: Some(true),
        ..AnsweredFailure::of_code("503")
    });
    for failure in [CallFailure::NoResponders, CallFailure::Timeout, helps] {
        let (who, answer) = called(
            &rig,
            &json!({"providers": ["p1", "p2", "p3"]}),
            &dead(failure),
        );
        assert_eq!(who, ["p1", "p2", "p3"], "{answer}");
        assert_eq!(answer["ok"], true, "{answer}");
    }
    // What a rule says itself holds.
    let policy = json!({"providers": ["p1", "p2"], "fallbacks": [
        {"when": {"status": "no_responders"}, "retry": 1, "backoff": {"base_ms": 1, "jitter": false}}]});
    let (who, _) = called(&rig, &policy, &dead(CallFailure::NoResponders));
    assert_eq!(who, ["p1", "p1", "p2"]);
}

#[test]
fn a_rule_may_be_about_one_provider() {
    let policy = json!({"providers": ["p1", "p2"], "fallbacks": [
        {"when": {"provider": "p2", "status": "5xx"}, "to": "p3"},
        {"when": {"provider": ["p1"]}, "to": "p2"}]});
    let rig = Rig::default();
    let failing = |ids: &[&'static str]| {
        let fails: Vec<_> = ids.iter().map(|id| (*id, answered("500"))).collect();
        let (who, answer) = called(&rig, &policy, &fails);
        let rules = answer["attempts"].as_array().unwrap();
        let rules: Vec<Value> = rules
            .iter()
            .map(|attempt| attempt["rule"].clone())
            .collect();
        (who, rules)
    };
    assert_eq!(
        failing(&["p1"]),
        (vec!["p1".into(), "p2".into()], vec![json!(null), json!(1)])
    );
    assert_eq!(
        failing(&["p1", "p2"]),
        (
            vec!["p1".into(), "p2".into(), "p3".into()],
            vec![json!(null), json!(1), json!(0)]
        )
    );
    // Also while it is kept back.
    let mut rig = Rig::default();
    rig.opened_by("p1", FailureKind::ServerError);
    let about_another = json!({"providers": [{"name": "p1"}, {"name": "p2", "weight": 0}], "fallbacks": [
        {"when": {"provider": "p2"}, "to": "p3"}, {"when": {"provider": "p1"}, "to": "p2"}]});
    assert_eq!(called(&rig, &about_another, &[]).0, ["p2"]);
}

#[test]
fn what_is_one_providers_matter_asks_the_next_of_a_list() {
    let rig = Rig::default();
    let policy = json!({"providers": ["p1", "p2"]});
    for code in [
        "401",
        "402",
        "403",
        "404",
        "413",
        "429",
        "500",
        "context_length",
        "quota",
    ] {
        let (who, _) = called(&rig, &policy, &[("p1", answered(code))]);
        assert_eq!(who, ["p1", "p2"], "{code}");
    }
    for code in ["400", "422", "content_filter"] {
        let (who, answer) = called(&rig, &policy, &[("p1", answered(code))]);
        assert_eq!(who, ["p1"], "{code} {answer}");
    }
}

#[test]
fn a_caller_that_executes_providers_itself_is_told_what_comes_next() {
    let policy = json!({"providers": [{"name": "p1", "weight": 1}, {"name": "p2", "weight": 0}], "fallbacks": [
        {"when": {"status": ["timeout", "503"]}, "retry": 2, "backoff": {"strategy": "fixed", "base_ms": 40, "jitter": false}, "to": "p3"},
        {"when": {"status": "quota"}, "to": "p2"}]})
    .to_string();
    let decided = |context: Value| {
        let rig = Rig {
            context,
            ..Rig::default()
        };
        let run = rig.run(RequestKind::Decide, &policy);
        let (answer, happened) = rig.finish(run, |_| None);
        assert!(happened.called.is_empty(), "{answer}");
        let decision = &answer["decision"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let wait = decision["metadata"]["wait_ms"].to_string();
        if answer["ok"] == true {
            format!(
                "{} {} {wait}",
                text(&decision["provider_id"]),
                text(&decision["reason"])
            )
        } else {
            text(&answer["error"]["code"])
        }
    };
    let after = |status: Value, made: Value| {
        decided(json!({"current_provider": "p1", "status": status, "retry_attempts": made}))
    };
    assert_eq!(after(json!("timeout"), json!(null)), "p1 retry 40.0");
    assert_eq!(after(json!("503"), json!(1)), "p1 retry 40.0");
    assert_eq!(after(json!(503), json!(2)), "p3 fallback null");
    assert_eq!(after(json!("quota"), json!(0)), "p2 fallback null");
    assert_eq!(after(json!("4xx"), json!(0)), "decision_failed");
    // What is not known is not read.
    assert_eq!(after(json!("bored"), json!(0)), "p1 weighted null");
    assert_eq!(decided(json!({"status": "timeout"})), "p1 weighted null");
    assert_eq!(
        decided(json!({"current_provider": "p1"})),
        "p1 weighted null"
    );
    let unknown = json!({"current_provider": "nobody", "status": "timeout"});
    assert_eq!(decided(unknown), "p1 weighted null");
}

#[test]
fn an_attempt_leaves_the_next_provider_its_usual_time() {
    let seconds = Duration::from_secs;
    let mut rig = Rig {
        left: seconds(20),
        ..Rig::default()
    };
    let shares = |rig: &Rig, policy: Value| {
        let run = rig.run(RequestKind::Route, &policy.to_string());
        let mut shares = Vec::new();
        rig.finish(run, |order| {
            shares.push((order.share.reserve.as_secs(), order.share.least.as_secs()));
            Some(Err(CallFailure::Timeout))
        });
        shares
    };
    let list = json!({"providers": ["p1", "p2", "p3"]});
    assert_eq!(shares(&rig, list.clone()), [(5, 5), (5, 5), (0, 0)]);
    for (id, p95) in [("p1", 3), ("p2", 8), ("p3", 1)] {
        let state = rig.endpoint_state.entry(id.into()).or_default();
        state.p95 = Some(seconds(p95));
        state.fresh = true;
    }
    assert_eq!(shares(&rig, list), [(8, 3), (1, 8), (0, 0)]);
    let by_rule = json!({"providers": [{"name": "p1"}], "fallbacks": [{"when": {"status": "timeout"}, "to": "p3"}]});
    assert_eq!(shares(&rig, by_rule), [(1, 3), (0, 0)]);
    let for_others = json!({"providers": [{"name": "p1"}], "fallbacks": [{"when": {"status": "5xx"}, "to": "p3"}]});
    assert_eq!(shares(&rig, for_others), [(0, 0)]);
}

#[test]
fn a_share_is_never_more_than_all_and_never_less_than_its_own() {
    let seconds = Duration::from_secs;
    let share = |reserve, least| TimeShare {
        reserve: seconds(reserve),
        least: seconds(least),
    };
    for (share, own, left, want) in [
        (share(0, 0), 20, 30, (20, false)),
        (share(0, 0), 40, 30, (30, false)),
        (share(5, 1), 30, 30, (25, true)),
        (share(5, 1), 20, 30, (20, false)),
        (share(29, 9), 30, 30, (9, true)),
        (share(40, 50), 30, 30, (30, false)),
    ] {
        let (limit, leaves_time) = share.limit(seconds(own), seconds(left));
        assert_eq!(
            (limit.as_secs(), leaves_time),
            want,
            "{share:?} {own} {left}"
        );
    }
}

#[test]
fn faces_of_one_program_fail_together() {
    let rig = Rig {
        records: vec![
            json!({"id": "p1:mini", "type": "provider", "subject_of": "p1", "config": {"model": "mini"}}),
        ],
        ..Rig::default()
    };
    let lists = [
        json!({"providers": ["p1", "p1:mini", "p2"]}),
        json!({"providers": ["p1:mini", "p1", "p2"]}),
        json!({"providers": [{"name": "p1", "weight": 1}], "fallbacks": [
            {"when": {"status": "error"}, "retry": 0, "to": "p1:mini"}, {"when": {"status": "error"}, "retry": 0, "to": "p2"}]}),
    ];
    let together = [
        CallFailure::Timeout,
        CallFailure::NoResponders,
        answered("500"),
    ];
    let apart = [answered("404"), answered("insufficient_quota")];
    for policy in &lists {
        let first = policy["providers"][0].as_str().unwrap_or("p1");
        let sibling = if first == "p1" { "p1:mini" } else { "p1" };
        for failure in &together {
            let (who, answer) = called(&rig, policy, &[(first, failure.clone())]);
            assert_eq!(who, [first, "p2"], "{policy} {failure:?}: {answer}");
        }
        if policy["fallbacks"].is_null() {
            for failure in &apart {
                let (who, _) = called(&rig, policy, &[(first, failure.clone())]);
                assert_eq!(who, [first, sibling], "{policy} {failure:?}");
            }
        }
    }
}

use super::*;
use crate::request::failure::AnsweredFailure;

const OWN_TIME: Duration = Duration::from_secs(1);

fn answered(code: &str) -> CallFailure {
    CallFailure::Answered(AnsweredFailure {
        retry_after: Some(Duration::from_secs(3)),
        ..AnsweredFailure::of_code(code)
    })
}

/// An attempt that had all of the extension's time, on a bus and a router at ease.
fn evidence() -> Evidence {
    Evidence {
        own_time: OWN_TIME,
        limit: OWN_TIME,
        took: Duration::from_millis(10),
        usual: None,
        leaves_time: false,
        router_is_late: false,
        bus_is_settled: true,
        isolation: Isolation::Shared,
    }
}

fn verdict_on(failure: CallFailure, evidence: Evidence) -> Verdict {
    judge(Ok(Err(failure)), evidence)
}

#[test]
fn what_came_back_in_order_counts_for_the_extension() {
    let verdict = judge(Ok(Ok(Reply::Accept { notes: None })), evidence());
    assert!(verdict.result.is_ok());
    assert_eq!(
        (verdict.outcome, verdict.load),
        (Outcome::Success, Load::Carried)
    );
}

#[test]
fn silence_is_the_fault_of_whoever_had_the_time() {
    let usual = evidence();
    let late = Evidence {
        router_is_late: true,
        ..usual
    };
    let hurried = |limit| Evidence {
        limit: Duration::from_millis(limit),
        ..usual
    };
    let usually = |takes, limit| Evidence {
        usual: Some(Duration::from_millis(takes)),
        ..hurried(limit)
    };
    let timeout = TransportError::Timeout;
    let cases = [
        (
            "all its time",
            &timeout,
            usual,
            CallFailure::Timeout,
            Outcome::Timeout,
            Load::Overloaded,
        ),
        (
            "a late router",
            &timeout,
            late,
            CallFailure::Timeout,
            Outcome::Ignored,
            Load::Unknown,
        ),
        (
            "a late bus",
            &TransportError::BusLate,
            usual,
            CallFailure::Timeout,
            Outcome::Ignored,
            Load::Unknown,
        ),
        (
            "half of its time",
            &timeout,
            hurried(500),
            CallFailure::Deadline,
            Outcome::Timeout,
            Load::Overloaded,
        ),
        (
            "less than half",
            &timeout,
            hurried(499),
            CallFailure::Deadline,
            Outcome::Ignored,
            Load::Unknown,
        ),
        (
            "as much as it usually takes",
            &timeout,
            usually(30, 30),
            CallFailure::Deadline,
            Outcome::Timeout,
            Load::Overloaded,
        ),
        (
            "half of its time, and it usually takes more",
            &timeout,
            usually(700, 500),
            CallFailure::Deadline,
            Outcome::Ignored,
            Load::Unknown,
        ),
        (
            "all that a policy grants, and it usually takes more",
            &timeout,
            usually(1_200, 1_000),
            CallFailure::Timeout,
            Outcome::Ignored,
            Load::Unknown,
        ),
        (
            "half of its time, late router",
            &timeout,
            Evidence {
                router_is_late: true,
                ..hurried(500)
            },
            CallFailure::Deadline,
            Outcome::Ignored,
            Load::Unknown,
        ),
    ];
    for (name, error, evidence, failure, outcome, load) in cases {
        let verdict = judge(Err(error.clone()), evidence);
        assert_eq!(verdict.result.unwrap_err(), failure, "{name}");
        assert_eq!((verdict.outcome, verdict.load), (outcome, load), "{name}");
    }
}

#[test]
fn an_extension_that_keeps_to_its_time_has_timed_out() {
    let took = |ms, limit| Evidence {
        took: Duration::from_millis(ms),
        limit: Duration::from_millis(limit),
        ..evidence()
    };
    let cases = [
        (took(750, 1_000), CallFailure::Timeout, Outcome::Timeout),
        (
            took(749, 1_000),
            answered("deadline_exceeded"),
            Outcome::Failure,
        ),
        (took(450, 600), CallFailure::Deadline, Outcome::Timeout),
        (took(300, 400), CallFailure::Deadline, Outcome::Ignored),
    ];
    for (evidence, failure, outcome) in cases {
        let verdict = verdict_on(answered("deadline_exceeded"), evidence);
        assert_eq!(verdict.result.unwrap_err(), failure, "{evidence:?}");
        assert_eq!(verdict.outcome, outcome, "{evidence:?}");
    }
}

#[test]
fn nobody_listening_counts_once_the_bus_has_settled() {
    let settling = Evidence {
        bus_is_settled: false,
        ..evidence()
    };
    for (evidence, outcome, load) in [
        (evidence(), Outcome::NoResponders, Load::Overloaded),
        (settling, Outcome::Ignored, Load::Unknown),
    ] {
        let verdict = judge(Err(TransportError::NoResponders), evidence);
        assert_eq!(verdict.result.unwrap_err(), CallFailure::NoResponders);
        assert_eq!((verdict.outcome, verdict.load), (outcome, load));
    }
}

#[test]
fn what_the_router_or_the_bus_did_is_not_the_extensions_fault() {
    for error in [
        TransportError::NotConnected,
        TransportError::TooLarge { size: 2, limit: 1 },
        TransportError::Refused("no permission".to_owned()),
    ] {
        let verdict = judge(Err(error.clone()), evidence());
        assert_eq!(
            (verdict.outcome, verdict.load),
            (Outcome::Ignored, Load::Unknown),
            "{error:?}"
        );
    }
}

#[test]
fn an_error_answer_speaks_of_overload_or_of_work_done() {
    for (code, load) in [
        ("429", Load::Refused),
        ("overloaded", Load::Refused),
        ("503", Load::Refused),
        ("500", Load::Carried),
        ("404", Load::Carried),
    ] {
        assert_eq!(verdict_on(answered(code), evidence()).load, load, "{code}");
    }
    let malformed = CallFailure::Malformed("odd".to_owned());
    assert_eq!(verdict_on(malformed, evidence()).load, Load::Carried);
}

#[test]
fn where_tenants_are_kept_apart_a_quota_says_nothing_of_the_others() {
    let isolated = Evidence {
        isolation: Isolation::Tenant,
        ..evidence()
    };
    for (code, load) in [
        ("429", Load::Unknown),
        ("rate_limited", Load::Unknown),
        ("overloaded", Load::Refused),
        ("503", Load::Refused),
    ] {
        assert_eq!(verdict_on(answered(code), isolated).load, load, "{code}");
    }
}

#[test]
fn only_who_has_too_much_to_do_is_left_alone() {
    let wait = Some(Duration::from_secs(3));
    for (code, backoff) in [
        ("429", wait),
        ("overloaded", wait),
        ("503", None),
        ("500", None),
    ] {
        assert_eq!(
            verdict_on(answered(code), evidence()).backoff,
            backoff,
            "{code}"
        );
    }
}

#[test]
fn health_shows_what_breakers_need_not_hear_of() {
    for (code, health) in [
        ("429", Some(false)),
        ("overloaded", Some(false)),
        ("404", Some(false)),
        ("401", Some(false)),
        ("insufficient_quota", Some(false)),
        ("500", Some(false)),
        ("400", None),
        ("context_length", None),
        ("content_filter", None),
        ("empty", Some(true)),
    ] {
        let verdict = verdict_on(answered(code), evidence());
        assert_eq!(verdict.health(), health, "{code}");
    }
    assert_eq!(
        verdict_on(CallFailure::Cancelled, evidence()).health(),
        None
    );
}

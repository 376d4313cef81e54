use beamline_contract::policy::{Mode, OnFail};
use beamline_contract::record::BreakerOverrides;
use serde_json::json;

use super::*;
use crate::record;
use crate::request::plan::{Endpoint, Target};
use crate::target::breaker::Settings;

const PRE: Rule = Rule::Processor(Mode::Required);
const GUARD: Rule = Rule::Validator(OnFail::Block);
const PROVIDER: Rule = Rule::Provider;

/// Somebody may have got it.
const LATE: Repeat = Repeat::MayBeDone {
    granted_once: false,
};
/// The same when the bus went away with it.
const LOST: Repeat = Repeat::MayBeDone { granted_once: true };

fn call(rule: Rule, idempotent: Option<bool>, retry: u32, endpoints: usize) -> PlannedCall {
    let metadata = idempotent.map(|idempotent| json!({"idempotent": idempotent}));
    let record = json!({"id": "a", "type": "pre", "metadata": metadata.unwrap_or(json!({}))});
    let extension = record::parse(&record.to_string(), "beamline").unwrap();
    let timeout = Duration::from_secs(1);
    let endpoint = Endpoint {
        subject: "beamline.ext.pre.a.v1".into(),
        instance: None,
    };
    PlannedCall {
        target: Target {
            version: "v1".into(),
            endpoints: vec![endpoint; endpoints],
            avoided: 0,
            per_mib: Duration::ZERO,
            timeout,
            retry,
            breaker: Settings::new(extension.kind, timeout, &BreakerOverrides::default()),
        },
        extension: Arc::new(extension),
        rule,
        route: None,
        config: Arc::default(),
        when: None,
    }
}

/// The first attempt at an extension with several endpoints, with plenty of time left.
fn failed() -> FailedAttempt {
    FailedAttempt {
        class: FailureClass::of(FailureKind::Timeout),
        granted: 2,
        may_retry: true,
        made: 0,
        only_endpoint: false,
        requested_wait: None,
        usual: None,
        time_left: Duration::from_secs(10),
    }
}

fn nobody_heard(only_endpoint: bool) -> FailedAttempt {
    FailedAttempt {
        class: CallFailure::NoResponders.row().class,
        only_endpoint,
        ..failed()
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_failure_is_worth_its_retries() {
    let cases = [
        (Repeat::Never, PRE, None, 2, 0),
        (Repeat::Never, GUARD, Some(true), 2, 0),
        (Repeat::Never, PROVIDER, None, 2, 0),
        (Repeat::Helps, PRE, None, 0, 0),
        (Repeat::Helps, PRE, Some(false), 2, 2),
        (Repeat::Helps, GUARD, None, 1, 1),
        (Repeat::Helps, PROVIDER, None, 2, 2),
        (Repeat::NotReached, PRE, None, 0, 1),
        (Repeat::NotReached, PRE, None, 2, 2),
        (Repeat::NotReached, GUARD, Some(false), 0, 1),
        (Repeat::NotReached, PROVIDER, None, 0, 1),
        (LATE, PRE, None, 0, 0),
        (LATE, PRE, None, 2, 2),
        (LATE, PRE, Some(true), 2, 2),
        (LATE, PRE, Some(false), 2, 0),
        (LATE, GUARD, None, 1, 1),
        (LATE, GUARD, Some(false), 2, 0),
        (LATE, PROVIDER, None, 2, 0),
        (LATE, PROVIDER, Some(true), 2, 0),
        (LOST, PRE, None, 0, 1),
        (LOST, PRE, None, 2, 2),
        (LOST, PRE, Some(false), 2, 0),
        (LOST, GUARD, Some(true), 0, 1),
        (LOST, PROVIDER, Some(true), 2, 0),
    ];
    for (repeat, rule, idempotent, retry, expected) in cases {
        assert_eq!(
            granted(repeat, &call(rule, idempotent, retry, 1)),
            expected,
            "{repeat:?}, {rule:?}, idempotent {idempotent:?}, record {retry}"
        );
    }
}

#[test]
fn a_failed_attempt_knows_its_call() {
    for (endpoints, only_endpoint) in [(1, true), (2, false)] {
        let call = call(PRE, None, 0, endpoints);
        let attempt = FailedAttempt::new(&call, &CallFailure::NoResponders, 1, None, ms(9));
        assert_eq!(
            (attempt.granted, attempt.made, attempt.only_endpoint),
            (1, 1, only_endpoint)
        );
    }
}

/// What is special about the attempt, the roll, and the wait in milliseconds.
type Case = (&'static str, FailedAttempt, f64, Option<u64>);

#[test]
fn a_record_waits_a_random_time_that_grows() {
    let cases: [Case; 15] = [
        ("the first", failed(), 1.0, Some(25)),
        ("a lucky roll", failed(), 0.4, Some(10)),
        ("the luckiest roll", failed(), 0.0, Some(0)),
        (
            "the second",
            FailedAttempt {
                made: 1,
                ..failed()
            },
            1.0,
            Some(50),
        ),
        (
            "no more granted",
            FailedAttempt {
                made: 2,
                ..failed()
            },
            1.0,
            None,
        ),
        (
            "none granted",
            FailedAttempt {
                granted: 0,
                ..failed()
            },
            1.0,
            None,
        ),
        (
            "none allowed",
            FailedAttempt {
                may_retry: false,
                ..failed()
            },
            1.0,
            None,
        ),
        ("nobody heard, elsewhere", nobody_heard(false), 0.0, Some(0)),
        (
            "nobody heard, the same place",
            nobody_heard(true),
            0.0,
            Some(50),
        ),
        (
            "nobody heard, any time after",
            nobody_heard(true),
            0.5,
            Some(75),
        ),
        (
            "nobody heard, at the latest",
            nobody_heard(true),
            1.0,
            Some(100),
        ),
        (
            "nobody heard, twice",
            FailedAttempt {
                made: 1,
                ..nobody_heard(true)
            },
            0.0,
            Some(50),
        ),
        (
            "another failure, the same place",
            FailedAttempt {
                only_endpoint: true,
                ..failed()
            },
            0.0,
            Some(0),
        ),
        ("a long wait asked for", asking(400), 1.0, Some(400)),
        ("a short wait asked for", asking(10), 1.0, Some(25)),
    ];
    for (what, attempt, roll, expected) in cases {
        assert_eq!(attempt.wait_by_record(roll), expected.map(ms), "{what}");
    }
}

fn asking(wait: u64) -> FailedAttempt {
    FailedAttempt {
        requested_wait: Some(ms(wait)),
        ..failed()
    }
}

#[test]
fn no_retry_without_time_for_its_answer() {
    for (left, usual, expected) in [
        (402, None, Some(400)),
        (401, None, None),
        (400, None, None),
        (501, Some(100), Some(400)),
        (500, Some(100), None),
        (u64::MAX, Some(u64::MAX), None),
    ] {
        let attempt = FailedAttempt {
            usual: usual.map(ms),
            time_left: ms(left),
            ..asking(400)
        };
        let waits = [
            attempt.wait_by_record(0.0),
            attempt.wait(1, RECORD_BACKOFF, 0.0),
        ];
        assert_eq!(waits, [expected.map(ms); 2], "{left} ms left, {usual:?}");
    }
}

#[test]
fn a_rule_waits_as_it_says_whatever_the_record_grants() {
    let linear = Backoff {
        strategy: Strategy::Linear,
        base: ms(100),
        max: ms(250),
        jitter: false,
    };
    let cases: [(&str, FailedAttempt, u32, Option<u64>); 8] = [
        ("the first", failed(), 3, Some(100)),
        (
            "the second",
            FailedAttempt {
                made: 1,
                ..failed()
            },
            3,
            Some(200),
        ),
        (
            "at most the longest",
            FailedAttempt {
                made: 2,
                ..failed()
            },
            3,
            Some(250),
        ),
        (
            "no more granted",
            FailedAttempt {
                made: 3,
                ..failed()
            },
            3,
            None,
        ),
        (
            "nothing by the record",
            FailedAttempt {
                granted: 0,
                ..failed()
            },
            1,
            Some(100),
        ),
        (
            "none allowed",
            FailedAttempt {
                may_retry: false,
                ..failed()
            },
            3,
            None,
        ),
        (
            "nobody heard, the same place",
            nobody_heard(true),
            3,
            Some(100),
        ),
        ("a long wait asked for", asking(400), 3, Some(400)),
    ];
    for (what, attempt, granted, expected) in cases {
        assert_eq!(
            attempt.wait(granted, linear, 1.0),
            expected.map(ms),
            "{what}"
        );
    }
}

#[test]
fn attempts_are_shared_out_in_order_while_there_are_any() {
    assert_eq!(share_out(5, &[2, 0, 2, 2, 1]), [2, 0, 1, 1, 1]);
    assert_eq!(share_out(9, &[2, 0, 1]), [2, 0, 1]);
    assert_eq!(share_out(0, &[1]), [0]);
    assert!(share_out(3, &[]).is_empty());
}

//! What happens when the budgets that all requests share are empty.

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::rig::{Rig, answered};
use super::*;
use crate::target::retry_budget::Again;

const RETRY_THEN_FALLBACK: &str = r#"{"providers": [{"name": "p1"}], "fallbacks": [
    {"when": {"status": "5xx"}, "retry": 2, "to": "p2"}, {"when": {"status": "5xx"}, "to": "p3"}]}"#;
const RETRY_ONLY: &str =
    r#"{"providers": [{"name": "p1"}], "fallbacks": [{"when": {"status": "5xx"}, "retry": 2}]}"#;

/// Grants so many retries and fallbacks, and remembers who asked.
#[derive(Debug)]
struct Purse {
    left: Mutex<(u32, u32)>,
    asked: Mutex<Vec<String>>,
}

impl RetryTokens for Purse {
    fn take(&self, again: Again<'_>) -> bool {
        let mut left = self.left.lock();
        let (purse, asked) = match again {
            Again::Retry(id) => (&mut left.0, format!("retry {id}")),
            Again::Fallback(id) => (&mut left.1, format!("fallback {id}")),
            Again::Takeover(id) => {
                self.asked.lock().push(format!("takeover {id}"));
                return true;
            }
        };
        self.asked.lock().push(asked);
        let granted = *purse > 0;
        *purse = purse.saturating_sub(1);
        granted
    }
}

/// Who was called, the answer, and what the budgets were asked for, when every provider answers
/// 500, and has done so for a while.
fn failing(policy: &str, retries: u32, fallbacks: u32) -> (Vec<String>, Value, Vec<String>) {
    let purse = Purse {
        left: Mutex::new((retries, fallbacks)),
        asked: Mutex::default(),
    };
    let rig = Rig::default().with_failing(&["p1", "p2", "p3"]);
    let run = rig.run(RequestKind::Route, policy);
    let (answer, happened) = rig.finish_within(run, &purse, |_| Some(Err(answered("500"))));
    let asked = purse.asked.lock().clone();
    (happened.called, answer, asked)
}

#[test]
fn every_further_attempt_is_paid_for() {
    let (called, answer, asked) = failing(RETRY_THEN_FALLBACK, 9, 9);
    assert_eq!(
        called,
        ["p1", "p1", "p1", "p2", "p2", "p2", "p3", "p3", "p3"]
    );
    let want = [
        "retry p1",
        "retry p1",
        "fallback p2",
        "retry p2",
        "retry p2",
        "fallback p3",
        "retry p3",
        "retry p3",
    ];
    assert_eq!(asked, want);
    assert_eq!(
        answer["error"]["details"].get("retry_budget_exhausted"),
        None,
        "{answer}"
    );
}

#[test]
fn a_switch_to_a_provider_that_answers_costs_nothing() {
    let purse = Purse {
        left: Mutex::new((0, 0)),
        asked: Mutex::default(),
    };
    let rig = Rig::default();
    let policy =
        r#"{"providers": ["p1", "p2"], "fallbacks": [{"when": {"status": "429"}, "to": "p3"}]}"#;
    let run = rig.run(RequestKind::Route, policy);
    let (answer, happened) = rig.finish_within(run, &purse, |order| {
        let code = match order.call.id() {
            "p1" => "429",
            "p3" => "500",
            _ => return None,
        };
        Some(Err(answered(code)))
    });
    assert_eq!(happened.called, ["p1", "p3", "p2"]);
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(*purse.asked.lock(), ["takeover p3", "takeover p2"]);
}

#[test]
fn a_retry_that_nobody_pays_for_lets_another_provider_take_over() {
    let (called, answer, _) = failing(RETRY_THEN_FALLBACK, 0, 9);
    assert_eq!(called, ["p1", "p2", "p3"]);
    assert_eq!(
        answer["error"]["details"]["retry_budget_exhausted"], true,
        "{answer}"
    );
}

#[test]
fn without_tokens_the_first_error_goes_out_and_says_so() {
    for (policy, fallbacks) in [(RETRY_ONLY, 9), (RETRY_THEN_FALLBACK, 0)] {
        let (called, answer, _) = failing(policy, 0, fallbacks);
        assert_eq!(called, ["p1"]);
        let error = &answer["error"];
        assert_eq!(
            (&error["code"], &error["details"]["extension_id"]),
            (&json!("extension_error"), &json!("p1"))
        );
        assert_eq!(error["details"]["retry_budget_exhausted"], true, "{answer}");
    }
}

#[test]
fn the_budget_of_the_request_is_not_charged_for_what_was_refused() {
    let purse = Purse {
        left: Mutex::new((0, 1)),
        asked: Mutex::default(),
    };
    let rig = Rig {
        budget: 1,
        ..Rig::default().with_failing(&["p2"])
    };
    let run = rig.run(RequestKind::Route, RETRY_THEN_FALLBACK);
    let (_, happened) = rig.finish_within(run, &purse, |order| {
        (order.call.id() == "p1").then(|| Err(answered("500")))
    });
    assert_eq!(happened.called, ["p1", "p2"]);
}

#[test]
fn a_guardrail_that_was_not_tried_again_says_so() {
    let mut run = Rig::default().run(
        RequestKind::Route,
        r#"{"pre": [{"id": "pre_a", "mode": "required"}], "providers": ["p1"]}"#,
    );
    assert!(matches!(run.next_step(), Next::Call(_)));
    let outcome = Err(CallFailure::Timeout);
    run.apply(vec![CallResult {
        outcome,
        latency: Duration::ZERO,
        attempts: 1,
        endpoint: 0,
        retry_refused: true,
    }]);
    let error = run.failure.unwrap();
    assert_eq!(
        (error.code, &error.details["retry_budget_exhausted"]),
        (ErrorCode::ExtensionTimeout, &json!(true))
    );
}

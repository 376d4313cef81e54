//! What must hold for any bytes that somebody sends as a policy. The fuzz target and a test of this
//! crate check it.

use beamline_contract::policy::Form;

use super::{Policy, diff::diff};

/// Panics when something does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let checked = Policy::check(text);
    assert_eq!(
        Policy::parse(text).is_ok(),
        checked.result.is_ok(),
        "parse and check disagree"
    );
    match checked.result {
        Ok(policy) => round_trip(&policy),
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            let lines: Vec<&str> = text.split('\n').collect();
            for located in mistakes {
                let line = located.position.line;
                let column = located.position.column;
                let length = line
                    .checked_sub(1)
                    .and_then(|line| lines.get(line))
                    .map(|line| line.chars().count());
                assert!(
                    column > 0 && length.is_some_and(|length| column <= length + 1),
                    "{located:?} is outside"
                );
                assert!(
                    !located.mistake.message.is_empty(),
                    "{located:?} says nothing"
                );
            }
        }
    }
}

fn round_trip(policy: &Policy) {
    let document = policy.to_document();
    let again = Policy::check(&document);
    assert!(
        matches!(again.form, Some(Form::Canonical | Form::Names)),
        "{document}"
    );
    assert_eq!(again.result.as_ref(), Ok(policy), "{document}");
    assert!(
        again
            .result
            .is_ok_and(|again| diff(policy, &again).is_empty()),
        "{document}"
    );
    let targets = policy
        .fallbacks
        .iter()
        .filter(|rule| rule.to.is_some())
        .count();
    let named = policy.pre.len()
        + policy.validators.len()
        + policy.providers.len()
        + policy.post.len()
        + policy.output_validators.len()
        + targets;
    assert_eq!(policy.references().count(), named, "{document}");
}

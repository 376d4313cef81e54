use proptest::prelude::*;

use super::*;
use crate::record;
use beamline_contract::fields::Fields;

const SALT: (&str, &str) = ("guard", "v2");

/// Whether a rollout of so many percent takes this context.
fn includes(percent: f64, context: &Fields) -> bool {
    let facts = Facts {
        tenant_id: "acme",
        policy_id: "default",
        environment: "prod",
        message_type: "chat",
        context,
    };
    let rollout = Rollout {
        from: 0.0,
        percent,
        by: None,
    };
    rollout.includes(&facts, "session_id", SALT)
}

#[test]
fn mistakes_in_rules_are_refused_with_their_place() {
    let read = |rules: &str| {
        let json = format!(
            r#"{{"id": "guard", "type": "pre", "versions": [{{"version": "v2", "routing_rules": {rules}}}]}}"#
        );
        record::parse(&json, "beamline").unwrap_err()[0].to_string()
    };
    assert_eq!(
        read(r#"{"percent": 101}"#),
        "/versions/0/routing_rules/percent: must be a number from 0 to 100, is 101"
    );
    assert_eq!(
        read(r#"{"percent": null, "percent_by": "tenant"}"#),
        "/versions/0/routing_rules/percent: must be a number from 0 to 100, is null",
        "nothing is not everybody"
    );
    assert_eq!(
        read(r#"{"percent_by": "tenant"}"#),
        "/versions/0/routing_rules/percent_by: says nothing without percent"
    );
    assert!(
        read(r#"{"tier": {}}"#).starts_with("/versions/0/routing_rules/tier: must be a string")
    );
}

#[test]
fn a_rollout_stays_where_it_is_in_every_version_of_the_router() {
    let context = Fields::parse(r#"{"session_id": "s-1"}"#).unwrap();
    assert_eq!(part_of(SALT, "s-1"), 7_915);
    assert!(!includes(79.15, &context));
    assert!(includes(79.16, &context));
}

proptest! {
    #[test]
    fn raising_the_percentage_only_adds(session in "[a-z0-9]{1,12}", low in 0.0f64..100.0, more in 0.0f64..100.0) {
        let json = format!(r#"{{"session_id": "{session}"}}"#);
        let context = Fields::parse(&json).unwrap();
        let high = (low + more).min(100.0);
        prop_assert!(!includes(low, &context) || includes(high, &context));
        prop_assert!(!includes(0.0, &context) && includes(100.0, &context));
    }
}

#[test]
fn a_rollout_takes_its_share_of_sessions() {
    let inside = (0..20_000)
        .filter(|n| part_of(SALT, &format!("session-{n}")) < PARTS / 10)
        .count();
    assert!(
        (1_850..=2_150).contains(&inside),
        "{inside} of 20,000 at 10 %"
    );
}

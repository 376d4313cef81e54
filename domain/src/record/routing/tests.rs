use proptest::prelude::*;

use super::*;

fn extension(versions: &str) -> Extension {
    let json = format!(
        r#"{{"id": "guard", "type": "validator", "config": {{"a": 1, "b": 1}}, "versions": {versions}}}"#
    );
    Extension::parse(&json, "beamline").unwrap()
}

fn facts<'a>(tenant_id: &'a str, context: &'a Fields) -> Facts<'a> {
    Facts {
        tenant_id,
        policy_id: "default",
        environment: "prod",
        message_type: "chat",
        context,
    }
}

fn chosen(versions: &str, tenant: &str, context: &str) -> Option<String> {
    let (extension, context) = (extension(versions), Fields::parse(context).unwrap());
    let routes = Route::all_of(&extension);
    let taken = routes
        .iter()
        .find(|route| route.takes("guard", &facts(tenant, &context), None));
    taken.map(|route| route.version.to_string())
}

#[test]
fn more_conditions_win_then_the_newer_version() {
    let versions = r#"[
        {"version": "v10", "routing_rules": {"tenant": ["acme", "other"]}},
        {"version": "v9", "routing_rules": {"tenant": "acme"}},
        {"version": "v2", "routing_rules": {"tenant": "acme", "tier": "gold"}},
        {"version": "v99", "routing_rules": {"tenant": "acme", "tier": "gold"}, "enabled": false}]"#;
    assert_eq!(
        chosen(versions, "acme", r#"{"tier": "gold"}"#).as_deref(),
        Some("v2")
    );
    assert_eq!(chosen(versions, "acme", "{}").as_deref(), Some("v10"));
    assert_eq!(chosen(versions, "nobody", "{}"), None);
    assert_eq!(
        chosen(
            r#"[{"version": "v2", "routing_rules": {}}]"#,
            "nobody",
            "{}"
        )
        .as_deref(),
        Some("v2")
    );
}

#[test]
fn versions_are_compared_as_people_number_them() {
    for (older, later) in [
        ("v2", "v10"),
        ("1.9", "1.10"),
        ("1.2", "1.2.1"),
        ("2024-01", "2024-02"),
        ("a", "b"),
    ] {
        assert_eq!(
            (newer(older, later), newer(later, older)),
            (Ordering::Less, Ordering::Greater),
            "{older} {later}"
        );
    }
    assert_eq!(newer("v1", "v1"), Ordering::Equal);
}

#[test]
fn a_version_takes_from_the_extension_what_it_leaves_out() {
    let extension = extension(r#"[{"version": "v2", "timeout_ms": 5, "config": {"b": 2}}]"#);
    let route = &Route::all_of(&extension)[0];
    assert_eq!(
        (route.timeout, route.config.to_json().as_str()),
        (Duration::from_millis(5), r#"{"a":1,"b":2}"#)
    );
}

#[test]
fn mistakes_in_rules_are_refused_with_their_place() {
    let read = |rules: &str| {
        let json = format!(
            r#"{{"id": "guard", "type": "pre", "versions": [{{"version": "v2", "routing_rules": {rules}}}]}}"#
        );
        Extension::parse(&json, "beamline").unwrap_err()[0].to_string()
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
fn a_rollout_by_a_key_leaves_out_who_has_no_value() {
    let rule =
        r#"[{"version": "v2", "routing_rules": {"percent": 99.99, "percent_by": "user_id"}}]"#;
    assert_eq!(chosen(rule, "acme", "{}"), None);
    let everybody =
        r#"[{"version": "v2", "routing_rules": {"percent": 100, "percent_by": "user_id"}}]"#;
    assert_eq!(chosen(everybody, "acme", "{}").as_deref(), Some("v2"));
}

#[test]
fn a_rollout_stays_where_it_is_in_every_version_of_the_router() {
    let context = Fields::parse(r#"{"session_id": "s-1"}"#).unwrap();
    assert_eq!(part_of(("guard", "v2"), "s-1"), 7_915);
    let rule = |percent| Rollout { percent, by: None };
    assert!(!rule(79.15).includes(&facts("acme", &context), "session_id", ("guard", "v2")));
    assert!(rule(79.16).includes(&facts("acme", &context), "session_id", ("guard", "v2")));
}

proptest! {
    #[test]
    fn raising_the_percentage_only_adds(session in "[a-z0-9]{1,12}", low in 0.0f64..100.0, more in 0.0f64..100.0) {
        let json = format!(r#"{{"session_id": "{session}"}}"#);
        let context = Fields::parse(&json).unwrap();
        let included = |percent: f64| {
            Rollout { percent, by: None }.includes(&facts("acme", &context), "session_id", ("guard", "v2"))
        };
        let high = (low + more).min(100.0);
        prop_assert!(!included(low) || included(high));
        prop_assert!(!included(0.0) && included(100.0));
    }
}

#[test]
fn a_rollout_takes_its_share_of_sessions() {
    let inside = (0..20_000)
        .filter(|n| part_of(("guard", "v2"), &format!("session-{n}")) < PARTS / 10)
        .count();
    assert!(
        (1_850..=2_150).contains(&inside),
        "{inside} of 20,000 at 10 %"
    );
}

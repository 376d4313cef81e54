use super::*;
use crate::record;

fn extension(versions: &str) -> ExtensionRecord {
    let json = format!(
        r#"{{"id": "guard", "type": "validator", "config": {{"a": 1, "b": 1}}, "versions": {versions}}}"#
    );
    record::parse(&json, "beamline").unwrap()
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
    let extension = extension(versions);
    let context = Fields::parse(context).unwrap();
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
fn a_rollout_by_a_key_leaves_out_who_has_no_value() {
    let rule =
        r#"[{"version": "v2", "routing_rules": {"percent": 99.99, "percent_by": "user_id"}}]"#;
    assert_eq!(chosen(rule, "acme", "{}"), None);
    let everybody =
        r#"[{"version": "v2", "routing_rules": {"percent": 100, "percent_by": "user_id"}}]"#;
    assert_eq!(chosen(everybody, "acme", "{}").as_deref(), Some("v2"));
}

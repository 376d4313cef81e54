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

/// How many of 1,000 sessions get each version.
fn shares(versions: &str) -> std::collections::BTreeMap<String, usize> {
    let extension = extension(versions);
    let routes = Route::all_of(&extension);
    let mut shares = std::collections::BTreeMap::new();
    for session in 0..1_000 {
        let context = Fields::parse(&format!(r#"{{"session_id": "s-{session}"}}"#)).unwrap();
        let facts = facts("acme", &context);
        let taken = routes
            .iter()
            .find(|route| route.takes("guard", &facts, None));
        let version = taken.map_or("v1", |route| &route.version);
        *shares.entry(version.to_owned()).or_default() += 1;
    }
    shares
}

#[test]
fn percentages_under_the_same_conditions_share_one_range() {
    let rule = |version: &str, rules: &str| {
        format!(r#"{{"version": "{version}", "routing_rules": {rules}}}"#)
    };
    let halves = shares(&format!(
        "[{}, {}]",
        rule("v2", r#"{"percent": 50}"#),
        rule("v3", r#"{"percent": 50}"#)
    ));
    assert_eq!(halves.get("v1"), None, "{halves:?}");
    assert!((440..=560).contains(&halves["v2"]), "{halves:?}");
    let spelt = shares(&format!(
        "[{}, {}, {}]",
        rule("v2", r#"{"percent": 20, "tenant": "acme"}"#),
        rule("v3", r#"{"tenant_id": ["acme"], "percent": 30}"#),
        rule("v4", r#"{"tenant_id": "acme", "percent": 50}"#)
    ));
    assert_eq!(spelt.get("v1"), None, "{spelt:?}");
    assert!((150..=250).contains(&spelt["v2"]) && (230..=370).contains(&spelt["v3"]));
}

#[test]
fn a_version_keeps_its_sessions_when_another_comes_after_it() {
    let alone = r#"[{"version": "v2", "routing_rules": {"percent": 10}}]"#;
    let both = r#"[{"version": "v2", "routing_rules": {"percent": 10}},
        {"version": "v3", "routing_rules": {"percent": 40}}]"#;
    for session in 0..1_000 {
        let context = format!(r#"{{"session_id": "s-{session}"}}"#);
        let before = chosen(alone, "acme", &context);
        let after = chosen(both, "acme", &context);
        assert!(before.is_none() || after == before, "{before:?} {after:?}");
    }
}

#[test]
fn what_is_stored_beyond_the_whole_is_cut() {
    let mut extension = extension("[]");
    for version in ["v2", "v3", "v4"] {
        extension.versions.push(ExtensionVersion {
            version: version.to_owned(),
            subject: None,
            timeout_ms: None,
            retry: None,
            config: None,
            routing_rules: Fields::parse(r#"{"percent": 60}"#).unwrap(),
            enabled: true,
        });
    }
    let routes = Route::all_of(&extension);
    let parts: Vec<f64> = ["v2", "v3", "v4"]
        .iter()
        .filter_map(|name| routes.iter().find(|route| &*route.version == *name))
        .filter_map(|route| route.rules.rollout.as_ref())
        .map(|rollout| rollout.percent)
        .collect();
    assert_eq!(parts, [60.0, 40.0, 0.0]);
    assert_eq!(record::stored_warnings(&extension).len(), 2);
}

#[test]
fn more_than_the_whole_is_refused_in_what_is_new_only() {
    let versions = r#"[{"version": "v2", "routing_rules": {"percent": 60}},
        {"version": "v3", "routing_rules": {"percent": 60}},
        {"version": "v4", "routing_rules": {"percent": 60, "lang": "de"}},
        {"version": "v5", "routing_rules": {"percent": 60}, "enabled": false}]"#;
    let json = format!(r#"{{"id": "guard", "type": "pre", "versions": {versions}}}"#);
    let mistakes = record::parse(&json, "beamline").unwrap_err();
    let places: Vec<&str> = mistakes.iter().map(|m| m.pointer.as_str()).collect();
    assert_eq!(places, ["/versions/1/routing_rules/percent"]);
    let stored: ExtensionRecord = serde_json::from_str(
        r#"{"id": "guard", "type": "pre", "timeout_ms": 9, "retry": 0, "enabled": true, "version": "v1", "versions": [
            {"version": "v2", "routing_rules": {"percent": 60}, "enabled": true},
            {"version": "v3", "routing_rules": {"percent": 60}, "enabled": true}]}"#
    )
    .unwrap();
    let off = Fields::parse(r#"{"enabled": false}"#).unwrap();
    let patched = record::patch(&stored, &off, "beamline").unwrap();
    assert_eq!(patched.warnings[0].pointer, places[0]);
    let again = Fields::parse(&format!(r#"{{"versions": {versions}}}"#)).unwrap();
    assert!(record::patch(&stored, &again, "beamline").is_err());
}

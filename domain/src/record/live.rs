//! Which versions of an extension calls may go to at all.

use beamline_contract::record::ExtensionRecord;

use super::route::Route;

/// The versions that some call may get, in the order in which they are tried. The one that takes
/// every call is the last.
pub fn live_versions(record: &ExtensionRecord) -> Vec<String> {
    let mut live = Vec::new();
    for route in Route::all_of(record) {
        let percent = route.rules.rollout.as_ref().map(|rollout| rollout.percent);
        if percent.is_some_and(|percent| percent <= 0.0) {
            continue;
        }
        live.push(route.version.to_string());
        let takes_all = percent.is_none_or(|percent| percent >= 100.0);
        if takes_all && route.rules.conditions.is_empty() {
            return live;
        }
    }
    live.push(record.version.clone());
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse;

    #[test]
    fn what_no_call_can_get_is_not_live() {
        let cases = [
            ("[]", "v1"),
            (r#"[{"version": "v2"}]"#, "v2"),
            (r#"[{"version": "v2", "enabled": false}]"#, "v1"),
            (
                r#"[{"version": "v2", "routing_rules": {"percent": 0}}]"#,
                "v1",
            ),
            (
                r#"[{"version": "v2", "routing_rules": {"percent": 5}}]"#,
                "v2 v1",
            ),
            (
                r#"[{"version": "v2", "routing_rules": {"percent": 100}}]"#,
                "v2",
            ),
            (
                r#"[{"version": "v2", "routing_rules": {"tenant": ["acme"]}}, {"version": "v3"}]"#,
                "v2 v3",
            ),
        ];
        for (versions, live) in cases {
            let json = format!(
                r#"{{"id": "clean", "type": "pre", "version": "v1", "versions": {versions}}}"#
            );
            let record = parse(&json, "beamline").unwrap();
            assert_eq!(live_versions(&record).join(" "), live, "{versions}");
        }
    }
}

//! Which versions of an extension calls may go to at all.

use beamline_contract::record::ExtensionRecord;

use super::route::Route;
use super::rules::Rollout;

/// The versions that some call may get, in the order in which they are tried. The one that takes
/// every call is the last.
pub fn live_versions(record: &ExtensionRecord) -> Vec<String> {
    let mut live = Vec::new();
    // Of all sessions or tenants, by versions that have no other condition: nobody is left out.
    let mut taken = 0.0;
    for route in Route::all_of(record) {
        if route.rules.never() {
            continue;
        }
        live.push(route.version.to_string());
        if route.rules.conditions.is_empty() {
            taken += share_of_all(route.rules.rollout.as_ref());
        }
        if taken >= ALL {
            return live;
        }
    }
    live.push(record.version.clone());
    live
}

/// Percentages are written with decimals, and their sum may miss 100 by the last bit.
const ALL: f64 = 100.0 - 1e-6;

/// Who lacks the key of a part is in none, unless the part is all.
fn share_of_all(rollout: Option<&Rollout>) -> f64 {
    match rollout {
        None => 100.0,
        Some(part) if part.by.is_none() || part.percent >= ALL => part.percent,
        Some(_) => 0.0,
    }
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
                r#"[{"version": "v2", "routing_rules": {"tenant_id": []}}]"#,
                "v1",
            ),
            (
                r#"[{"version": "v2", "routing_rules": {"percent": 50}}, {"version": "v3", "routing_rules": {"percent": 50}}]"#,
                "v3 v2",
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

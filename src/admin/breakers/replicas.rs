//! Breakers of all replicas, counted.

use std::collections::BTreeMap;

use beamline_contract::admin::{ExtensionBreakers, FleetBreakers, FleetCount};
use beamline_contract::control::ReplicaStatus;

/// Adds to every extension on how many replicas it is open, and which of its targets.
pub(super) fn count(states: &mut BTreeMap<String, ExtensionBreakers>, replicas: &[ReplicaStatus]) {
    let mut counts: BTreeMap<&str, FleetBreakers> = BTreeMap::new();
    for breaker in replicas.iter().flat_map(|replica| &replica.breakers) {
        let all = counts
            .entry(&breaker.extension_id)
            .or_insert_with(|| none_open(replicas));
        match &breaker.subject {
            _ if breaker.state == "closed" => {}
            None => add(&mut all.count, &breaker.state),
            Some(subject) => {
                let targets = all.targets.get_or_insert_default();
                add(targets.entry(subject.clone()).or_default(), &breaker.state);
            }
        }
    }
    for (id, extension) in states {
        let counted = counts.remove(id.as_str());
        extension.fleet = Some(counted.unwrap_or_else(|| none_open(replicas)));
    }
}

fn none_open(replicas: &[ReplicaStatus]) -> FleetBreakers {
    FleetBreakers {
        replicas: replicas.len(),
        count: FleetCount::default(),
        targets: None,
    }
}

fn add(count: &mut FleetCount, state: &str) {
    match state {
        "open" => count.open += 1,
        "half_open" => count.half_open += 1,
        // A word of a newer router.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_replica_is_counted_once_for_each_target() {
        let replica = |id: &str, lines: &str| -> ReplicaStatus {
            serde_json::from_str(&format!(
                r#"{{"replica_id": "{id}", "revision": 1, "breakers": [{lines}]}}"#
            ))
            .unwrap()
        };
        let replicas = [
            replica(
                "r1",
                r#"{"extension_id": "a", "subject": "p.a.1", "state": "open"}"#,
            ),
            replica(
                "r2",
                r#"{"extension_id": "a", "state": "open"}, {"extension_id": "a", "subject": "p.a.1", "state": "open"},
                   {"extension_id": "gone", "state": "open"}, {"extension_id": "b", "state": "melted"}"#,
            ),
            replica(
                "r3",
                r#"{"extension_id": "a", "state": "half_open"}, {"extension_id": "a", "subject": "p.a.2", "state": "closed"}"#,
            ),
        ];
        let closed: ExtensionBreakers = serde_json::from_value(
            json!({"state": "closed", "failure_count": 0, "error_rate": 0.0}),
        )
        .unwrap();
        let mut states = BTreeMap::from(["a", "b"].map(|id| (id.to_owned(), closed.clone())));
        count(&mut states, &replicas);
        let want = json!({"replicas": 3, "open": 1, "half_open": 1, "targets": {"p.a.1": {"open": 2, "half_open": 0}}});
        assert_eq!(json!(states["a"].fleet), want);
        assert_eq!(
            json!(states["b"].fleet),
            json!({"replicas": 3, "open": 0, "half_open": 0})
        );
        assert_eq!(states.len(), 2);
    }
}

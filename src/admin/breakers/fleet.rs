//! Breakers of all replicas, counted.

use std::collections::BTreeMap;

use beamline_contract::control::ReplicaStatus;
use serde::Serialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Count {
    open: usize,
    half_open: usize,
}

#[derive(Debug, Serialize)]
struct Fleet<'a> {
    replicas: usize,
    #[serde(flatten)]
    count: Count,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<&'a BTreeMap<&'a str, Count>>,
}

impl Count {
    fn add(&mut self, state: &str) {
        match state {
            "open" => self.open += 1,
            "half_open" => self.half_open += 1,
            // A word of a newer router.
            _ => {}
        }
    }
}

/// Adds `fleet` to the line of every extension: on how many replicas it is open, and of its targets, which.
pub(super) fn add(states: &mut Map<String, Value>, replicas: &[ReplicaStatus]) {
    let mut whole: BTreeMap<&str, Count> = BTreeMap::new();
    let mut targets: BTreeMap<&str, BTreeMap<&str, Count>> = BTreeMap::new();
    let all = replicas.iter().flat_map(|replica| &replica.breakers);
    for line in all.filter(|line| line.state != "closed") {
        let count = match &line.subject {
            None => whole.entry(&line.extension_id).or_default(),
            Some(subject) => targets
                .entry(&line.extension_id)
                .or_default()
                .entry(subject)
                .or_default(),
        };
        count.add(&line.state);
    }
    for (id, line) in states {
        let Value::Object(line) = line else { continue };
        let count = whole.get(id.as_str()).copied().unwrap_or_default();
        let fleet = Fleet {
            replicas: replicas.len(),
            count,
            targets: targets.get(id.as_str()),
        };
        line.insert("fleet".into(), json!(fleet));
    }
}

#[cfg(test)]
mod tests {
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
        let mut states =
            Map::from_iter(["a", "b"].map(|id| (id.to_owned(), json!({"state": "closed"}))));
        add(&mut states, &replicas);
        let want = json!({"replicas": 3, "open": 1, "half_open": 1, "targets": {"p.a.1": {"open": 2, "half_open": 0}}});
        assert_eq!(states["a"]["fleet"], want);
        assert_eq!(
            states["b"]["fleet"],
            json!({"replicas": 3, "open": 0, "half_open": 0})
        );
        assert_eq!(states.len(), 2);
    }
}

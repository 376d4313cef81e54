//! Policies over what a seed has registered.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::world::{PROBER, Policy, chance, ids, pick, some, text};

const STATUS: [&str; 7] = [
    "timeout",
    "5xx",
    "4xx",
    "error",
    "no_responders",
    "circuit_breaker_open",
    "all_providers_failed",
];

/// Any policy of a tenant.
pub(crate) fn generated(rng: &mut Rng, records: &[Value], tenant: &str) -> Policy {
    let chosen = some(rng, &ids(records, "provider"), 1);
    let validators: Vec<Value> = some(rng, &ids(records, "validator"), 0)
        .iter()
        .map(|id| json!({"id": id, "on_fail": pick(rng, &["block", "warn", "ignore"])}))
        .collect();
    let mut document = json!({"pre": processors(rng, &ids(records, "pre")), "validators": validators,
        "providers": providers(rng, &chosen), "post": processors(rng, &ids(records, "post")),
        "fallbacks": rules(rng, &ids(records, "provider"), &chosen)});
    if chance(rng, 50) {
        document["sticky"] = json!({"enabled": true, "session_key": "user_id", "ttl": "1m"});
    }
    if chance(rng, 40) {
        document["circuit_breaker"] = json!({"failure_threshold": rng.u32(1..=6)});
    }
    Policy {
        tenant: tenant.to_owned(),
        id: "default".to_owned(),
        document,
    }
}

/// One policy for each extension.
pub(crate) fn probes(records: &[Value]) -> Vec<Policy> {
    let provider = ids(records, "provider").first().cloned().unwrap();
    let probe = |record: &Value| {
        let id = text(record, "id");
        let mut document = json!({"providers": [provider]});
        match text(record, "type") {
            "provider" => document["providers"] = json!([id]),
            "validator" => document["validators"] = json!([{"id": id, "on_fail": "ignore"}]),
            kind => document[kind] = json!([{"id": id}]),
        }
        Policy {
            tenant: PROBER.to_owned(),
            id: id.to_owned(),
            document,
        }
    };
    records.iter().skip(1).map(probe).collect()
}

fn processors(rng: &mut Rng, all: &[String]) -> Vec<Value> {
    let chosen = some(rng, all, 0);
    let mut entries = Vec::new();
    for (position, id) in chosen.iter().enumerate() {
        let mut entry = json!({"id": id, "mode": pick(rng, &["required", "optional"])});
        if chance(rng, 50) {
            entry["depends_on"] = json!(some(rng, &chosen[..position], 0));
        }
        entries.push(entry);
    }
    entries
}

fn providers(rng: &mut Rng, chosen: &[String]) -> Value {
    if chance(rng, 50) {
        return json!(chosen);
    }
    // The first takes traffic in any case.
    let weighted = chosen.iter().enumerate();
    weighted
        .map(|(index, name)| json!({"name": name, "weight": rng.u32(u32::from(index == 0)..4)}))
        .collect()
}

fn rules(rng: &mut Rng, all: &[String], chosen: &[String]) -> Vec<Value> {
    let mut rules = Vec::new();
    for _ in 0..rng.usize(0..4) {
        let backoff = json!({"strategy": "exponential", "base_ms": 20, "max_ms": 200, "jitter": chance(rng, 50)});
        let mut rule = json!({"when": {"status": some(rng, &STATUS, 1)}, "backoff": backoff});
        // A rule that leads from the only provider to itself is refused.
        let to = pick(rng, all);
        let leads_on = chance(rng, 60) && chosen != [to.clone()];
        if leads_on {
            rule["to"] = json!(to);
        }
        if !leads_on || chance(rng, 50) {
            rule["retry"] = json!(rng.u32(1..=3));
        }
        rules.push(rule);
    }
    rules
}

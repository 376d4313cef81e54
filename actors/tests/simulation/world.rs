//! What one seed means: what is registered, who asks what and when, and what breaks and when it is
//! whole again.

use std::collections::BTreeSet;
use std::time::Duration;

use beamline_domain::request::RequestKind;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::faults::{self, Fault};
use crate::policies;

/// Everything about a run that is decided before it begins.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) records: Vec<Value>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) load: Vec<Planned>,
    pub(crate) max_in_flight: usize,
    pub(crate) calls_per_extension: u32,
    /// Retries and fallbacks of one request.
    pub(crate) extra_attempts: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) tenant: String,
    pub(crate) id: String,
    pub(crate) document: Value,
}

/// One request of the load.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) kind: RequestKind,
    pub(crate) tenant: String,
    pub(crate) timeout: Duration,
    pub(crate) batch: bool,
    pub(crate) body: String,
}

pub(crate) const TENANTS: [&str; 2] = ["acme", "globex"];
/// Its policies use one extension each, so that all of them can be given traffic.
pub(crate) const PROBER: &str = "prober";
/// Faults begin and end within this.
pub(crate) const TROUBLE: Duration = Duration::from_secs(40);
/// Of a request that names none.
pub(crate) const DEFAULT_TIMEOUT_MS: u64 = 5_000;
/// Registered, and in no policy.
const UNUSED: &str = "prov_unused";

impl World {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let records = records(&mut rng);
        let mut policies: Vec<Policy> = TENANTS
            .iter()
            .map(|tenant| policies::generated(&mut rng, &records, tenant))
            .collect();
        policies.extend(policies::probes(&records));
        let faults = faults::generated(&mut rng, &records);
        let load = load(&mut rng);
        Self {
            records,
            policies,
            faults,
            load,
            max_in_flight: pick(&mut rng, &[3, 16, 100]),
            calls_per_extension: pick(&mut rng, &[2, 10, 100]),
            extra_attempts: rng.u32(0..=5),
        }
    }
}

/// What a policy names, as `type id`.
pub(crate) fn named(document: &Value) -> BTreeSet<String> {
    let entries = |list: &str| document[list].as_array().cloned().unwrap_or_default();
    let mut named = BTreeSet::new();
    for (list, kind) in [
        ("pre", "pre"),
        ("validators", "validator"),
        ("post", "post"),
    ] {
        named.extend(
            entries(list)
                .iter()
                .map(|entry| format!("{kind} {}", text(entry, "id"))),
        );
    }
    let listed = entries("providers")
        .into_iter()
        .map(|entry| entry.as_str().unwrap_or(text(&entry, "name")).to_owned());
    let targets = entries("fallbacks")
        .into_iter()
        .filter_map(|rule| rule["to"].as_str().map(str::to_owned));
    named.extend(listed.chain(targets).map(|id| format!("provider {id}")));
    named
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(crate) fn ids(records: &[Value], kind: &str) -> Vec<String> {
    let of_kind = records
        .iter()
        .filter(|record| record["type"] == kind && record["id"] != UNUSED);
    of_kind
        .map(|record| text(record, "id").to_owned())
        .collect()
}

pub(crate) fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

pub(crate) fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

/// Some of these in any order, at least so many.
pub(crate) fn some<T: Clone>(rng: &mut Rng, from: &[T], least: usize) -> Vec<T> {
    let mut all = from.to_vec();
    rng.shuffle(&mut all);
    all.truncate(rng.usize(least..=from.len()));
    all
}

pub(crate) fn moment(rng: &mut Rng, within: Duration) -> Duration {
    Duration::from_micros(rng.u64(..u64::try_from(within.as_micros()).unwrap()))
}

fn records(rng: &mut Rng) -> Vec<Value> {
    let mut records = vec![json!({"id": UNUSED, "type": "provider"})];
    for (kind, prefix, least) in [
        ("pre", "pre", 0),
        ("validator", "val", 0),
        ("provider", "prov", 1),
        ("post", "post", 0),
    ] {
        for index in 0..rng.usize(least..=3) {
            records.push(record(rng, kind, &format!("{prefix}_{index}")));
        }
    }
    records
}

fn record(rng: &mut Rng, kind: &str, id: &str) -> Value {
    let timeout_ms = pick(rng, &[50, 100, 400, 2_000]);
    let mut record =
        json!({"id": id, "type": kind, "timeout_ms": timeout_ms, "retry": rng.u32(0..=2)});
    if chance(rng, 30) {
        let place = |name| json!({"instance_id": name, "subject": format!("beamline.ext.at.{id}.{name}"), "weight": 50});
        record["instances"] = ["east", "west"].map(place).into();
    }
    if chance(rng, 20) {
        record["breaker"] = json!({"isolation": "tenant"});
    }
    if chance(rng, 30) {
        let rules = if chance(rng, 50) {
            json!({"tier": "gold"})
        } else {
            json!({"percent": 50, "percent_by": "user_id"})
        };
        record["versions"] =
            json!([{"version": "v2", "retry": rng.u32(0..=2), "routing_rules": rules}]);
    }
    record
}

/// Some requests alone, some in bursts, mostly while something is broken.
fn load(rng: &mut Rng) -> Vec<Planned> {
    let mut load = Vec::new();
    for _ in 0..rng.usize(10..30) {
        let at = moment(rng, TROUBLE + Duration::from_secs(5));
        let count = if chance(rng, 15) { rng.usize(2..12) } else { 1 };
        for _ in 0..count {
            load.push(planned(rng, at, load.len()));
        }
    }
    load
}

fn planned(rng: &mut Rng, at: Duration, number: usize) -> Planned {
    let kind = if chance(rng, 25) {
        RequestKind::Decide
    } else {
        RequestKind::Route
    };
    let timeout_ms = pick(rng, &[5, 20, 100, 300, 1_000, 5_000, 30_000]) + rng.u64(0..5);
    let tenant = pick(rng, &TENANTS);
    let context =
        json!({"user_id": format!("u-{}", rng.u32(0..8)), "tier": pick(rng, &["gold", "tin"])});
    let request = json!({"version": "1", "tenant_id": tenant, "request_id": format!("r-{number}"), "timeout_ms": timeout_ms,
        "message": {"payload": "raw"}, "context": context});
    let unreadable = chance(rng, 3);
    // What cannot be read has no time of its own.
    let timeout_ms = if unreadable {
        DEFAULT_TIMEOUT_MS
    } else {
        timeout_ms
    };
    let body = match rng.u32(0..40) {
        _ if unreadable => "no JSON".to_owned(),
        1 => request
            .to_string()
            .replace("\"version\":\"1\"", "\"version\":\"9\""),
        2 => request.to_string().replace(tenant, "nobody"),
        _ => request.to_string(),
    };
    Planned {
        at,
        kind,
        tenant: tenant.to_owned(),
        timeout: Duration::from_millis(timeout_ms),
        batch: chance(rng, 10),
        body,
    }
}

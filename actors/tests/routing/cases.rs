//! Generated policies over one registry, and how each call of them ends.

use beamline_contract::record::ExtensionRecord;
use beamline_domain::record;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

/// Everything that is registered, with its type. `off` is disabled.
pub(crate) const POOL: [(&str, &str); 16] = [
    ("pre_0", "pre"),
    ("pre_1", "pre"),
    ("pre_2", "pre"),
    ("pre_3", "pre"),
    ("val_0", "validator"),
    ("val_1", "validator"),
    ("val_2", "validator"),
    ("val_3", "validator"),
    ("prov_0", "provider"),
    ("prov_1", "provider"),
    ("prov_2", "provider"),
    ("prov_3", "provider"),
    ("off", "provider"),
    ("post_0", "post"),
    ("post_1", "post"),
    ("post_2", "post"),
];
/// A policy can outlive an extension.
const DELETED: &str = "gone";

/// How one call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    Reject,
    Error {
        code: &'static str,
        retryable: Option<bool>,
    },
    Malformed,
    NoResponders,
    Silent,
}

/// The ends of an extension's calls, in turn, and how long it takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) ends: Vec<End>,
    pub(crate) delay_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) policy: Value,
    pub(crate) ends: HashMap<String, Vec<End>>,
    pub(crate) budget: u32,
    pub(crate) user: u32,
}

/// Milliseconds, by the position of the extension in the pool. Shorter than any of their time-outs.
pub(crate) type Delays = Vec<u64>;

impl Case {
    pub(crate) fn script(&self, delays: &Delays) -> HashMap<String, Script> {
        let script = |(id, delay): (&str, &u64)| {
            let ends = self.ends.get(id).cloned().unwrap_or_default();
            (
                id.to_owned(),
                Script {
                    ends,
                    delay_ms: *delay,
                },
            )
        };
        POOL.iter()
            .map(|(id, _)| *id)
            .zip(delays)
            .map(script)
            .collect()
    }

    /// What the policy names, as `type id`.
    pub(crate) fn named(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for (list, kind) in [
            ("pre", "pre"),
            ("validators", "validator"),
            ("post", "post"),
        ] {
            named.extend(
                self.entries(list)
                    .iter()
                    .filter_map(|entry| entry["id"].as_str())
                    .map(|id| format!("{kind} {id}")),
            );
        }
        let listed = self
            .entries("providers")
            .iter()
            .filter_map(|entry| entry.as_str().or(entry["name"].as_str()));
        let targets = self
            .entries("fallbacks")
            .iter()
            .filter_map(|rule| rule["to"].as_str());
        named.extend(listed.chain(targets).map(|id| format!("provider {id}")));
        named
    }

    fn entries(&self, list: &str) -> &[Value] {
        self.policy[list]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

pub(crate) fn delays() -> impl Strategy<Value = Delays> {
    vec(0u64..80, POOL.len())
}

/// Any policy, any ends.
pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    case(providers().boxed(), 0..=6)
}

/// One in which chance decides nothing, with a budget that is often too small.
pub(crate) fn settled_case() -> impl Strategy<Value = Case> {
    case(names().boxed(), 0..=4)
}

fn case(
    providers: BoxedStrategy<Value>,
    budget: std::ops::RangeInclusive<u32>,
) -> impl Strategy<Value = Case> {
    let stages = (
        processors("pre"),
        validators(),
        providers,
        processors("post"),
        vec(rule(), 0..4),
    );
    let threshold = proptest::option::of(1u32..4);
    (stages, threshold, ends(), budget, 0u32..50).prop_map(|(stages, threshold, ends, budget, user)| {
        let (pre, validators, providers, post, mut rules) = stages;
        // A rule that leads from the only provider to itself is refused.
        let only = providers.as_array().filter(|all| all.len() == 1).map(|all| all[0].clone());
        let only = only.as_ref().and_then(|only| only.as_str().or(only["name"].as_str()));
        rules.retain(|rule| only.is_none() || rule["to"].as_str() != only);
        let breaker = threshold.map_or_else(|| json!({}), |threshold| json!({"failure_threshold": threshold}));
        let policy = json!({"pre": pre, "validators": validators, "providers": providers, "post": post,
            "fallbacks": rules, "circuit_breaker": breaker});
        Case { policy, ends, budget, user }
    })
}

fn ids(kind: &'static str) -> Vec<&'static str> {
    POOL.iter()
        .filter(|(_, known)| *known == kind)
        .map(|(id, _)| *id)
        .collect()
}

/// Some, in any order; `depends_on` names some of those listed before, or after, or is left out.
fn processors(kind: &'static str) -> impl Strategy<Value = Vec<Value>> {
    let all = ids(kind);
    let chosen = subsequence(all.clone(), 0..=all.len()).prop_shuffle();
    let rules = vec(
        (
            select(vec!["required", "optional"]),
            proptest::option::of(any::<u8>()),
        ),
        all.len(),
    );
    (chosen, rules, any::<bool>()).prop_map(|(chosen, rules, backwards)| {
        let entry = |(position, (mode, mask)): (usize, &(&str, Option<u8>))| {
            let before = |mask: u8| {
                let wanted =
                    |(index, id): (usize, &&'static str)| (mask & (1 << index) != 0).then_some(*id);
                chosen
                    .iter()
                    .take(position)
                    .enumerate()
                    .filter_map(wanted)
                    .collect::<Vec<_>>()
            };
            match mask.map(before) {
                Some(names) => json!({"id": chosen[position], "mode": mode, "depends_on": names}),
                None => json!({"id": chosen[position], "mode": mode}),
            }
        };
        let mut entries: Vec<Value> = rules
            .iter()
            .take(chosen.len())
            .enumerate()
            .map(entry)
            .collect();
        // What says nothing waits for all before it, which may wait for it.
        if backwards
            && entries
                .iter()
                .all(|entry| entry.get("depends_on").is_some())
        {
            entries.reverse();
        }
        entries
    })
}

fn validators() -> impl Strategy<Value = Vec<Value>> {
    let all = ids("validator");
    let chosen = subsequence(all.clone(), 0..=all.len()).prop_shuffle();
    (
        chosen,
        vec(select(vec!["block", "warn", "ignore"]), all.len()),
    )
        .prop_map(|(chosen, rules)| {
            chosen
                .iter()
                .zip(rules)
                .map(|(id, on_fail)| json!({"id": id, "on_fail": on_fail}))
                .collect()
        })
}

fn some_providers() -> impl Strategy<Value = Vec<&'static str>> {
    let mut all = ids("provider");
    all.push(DELETED);
    subsequence(all, 1..=5).prop_shuffle()
}

fn names() -> impl Strategy<Value = Value> {
    some_providers().prop_map(|chosen| json!(chosen))
}

fn providers() -> impl Strategy<Value = Value> {
    let weighted = (some_providers(), vec(0u32..4, 5)).prop_map(|(chosen, weights)| {
        // One of them must take traffic.
        let weight = |(index, weight): (usize, u32)| if index == 0 { weight + 1 } else { weight };
        let weights = weights.into_iter().enumerate().map(weight);
        chosen
            .iter()
            .zip(weights)
            .map(|(name, weight)| json!({"name": name, "weight": weight}))
            .collect()
    });
    prop_oneof![weighted, names()]
}

fn rule() -> impl Strategy<Value = Value> {
    let status = vec(
        select(vec![
            "timeout",
            "5xx",
            "4xx",
            "429",
            "error",
            "no_responders",
            "circuit_breaker_open",
            "all_providers_failed",
        ]),
        1..3,
    );
    let mut to = ids("provider");
    to.push(DELETED);
    (
        status,
        proptest::option::of(1u32..=5),
        proptest::option::of(select(to)),
        any::<bool>(),
    )
        .prop_map(|(status, retry, to, jitter)| {
            let backoff =
                json!({"strategy": "linear", "base_ms": 5, "max_ms": 20, "jitter": jitter});
            let mut rule = json!({"when": {"status": status}, "backoff": backoff});
            if to.is_none() || retry.is_some() {
                rule["retry"] = json!(retry.unwrap_or(1));
            }
            if let Some(to) = to {
                rule["to"] = json!(to);
            }
            rule
        })
}

/// Providers fail more often than not, so that there is something to fall back from.
fn ends() -> impl Strategy<Value = HashMap<String, Vec<End>>> {
    let all: Vec<_> = POOL
        .iter()
        .map(|(_, kind)| vec(end(if *kind == "provider" { 2 } else { 6 }), 1..4))
        .collect();
    all.prop_map(|all| {
        POOL.iter()
            .map(|(id, _)| (*id).to_owned())
            .zip(all)
            .collect::<HashMap<_, _>>()
    })
}

fn end(good: u32) -> impl Strategy<Value = End> {
    let error = (
        select(vec!["503", "500", "429", "400", "boom"]),
        proptest::option::of(any::<bool>()),
    );
    prop_oneof![
        good => Just(End::Good),
        1 => Just(End::Reject),
        2 => error.prop_map(|(code, retryable)| End::Error { code, retryable }),
        1 => Just(End::Malformed),
        1 => Just(End::NoResponders),
        1 => Just(End::Silent),
    ]
}

/// The records of the pool: some with versions, some with instances, all with retries.
pub(crate) fn records() -> Vec<String> {
    let record = |(id, kind): &(&str, &str)| {
        let mut record =
            json!({"id": id, "type": kind, "timeout_ms": 100, "retry": 2, "enabled": *id != "off"});
        match *id {
            "pre_1" | "val_1" | "prov_1" => record["instances"] = instances(id),
            "pre_2" | "post_2" => {
                record["versions"] =
                    json!([{"version": "v2", "routing_rules": {"environment": "test"}}]);
            }
            "val_2" | "prov_2" => {
                let rules = json!({"percent": 50, "percent_by": "user"});
                record["versions"] = json!([{"version": "v7", "retry": 1, "routing_rules": rules}]);
            }
            _ => {}
        }
        record.to_string()
    };
    POOL.iter().map(record).collect()
}

fn instances(id: &str) -> Value {
    let instance = |name: &str| json!({"instance_id": name, "subject": format!("beamline.ext.at.{id}.{name}"), "weight": 50});
    json!([instance("east"), instance("west")])
}

/// By subject.
static OWNERS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let extensions = records()
        .into_iter()
        .map(|record| record::parse(&record, "beamline").expect("a valid record"));
    let subjects = |extension: ExtensionRecord| {
        extension
            .subjects("beamline")
            .into_iter()
            .map(move |s| (s, extension.id.clone()))
    };
    extensions.flat_map(subjects).collect()
});

/// Whose subject it is; itself when it is nobody's.
pub(crate) fn owner(subject: &str) -> String {
    OWNERS
        .get(subject)
        .cloned()
        .unwrap_or_else(|| subject.to_owned())
}

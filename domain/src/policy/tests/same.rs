//! Whatever the policy: its canonical document, its steps and its weights all say the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Strategy;

use serde_json::value::RawValue;

use super::*;
use crate::conditions::Conditions;
use crate::policy::diff::diff;
use crate::policy::logic::Logic;
use beamline_contract::policy::Strategy as Retrying;
use beamline_contract::record::{BreakerOverrides, BreakerSetting};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_canonical_document_says_the_same(generated in any_policy()) {
        let written = generated.to_document();
        prop_assert_eq!(Policy::parse(&written), Ok(generated.clone()), "{}", written);
        let checked = Policy::check(&written);
        prop_assert!(checked.form == Some(Form::Canonical) || checked.form == Some(Form::Names), "{}", written);
    }

    #[test]
    fn steps_say_the_same(mut generated in any_policy()) {
        generated.providers.iter_mut().for_each(|provider| provider.config = Fields::default());
        let written = as_steps(&generated);
        prop_assert_eq!(Policy::parse(&written), Ok(generated.clone()), "{}", written);
    }

    #[test]
    fn a_map_of_weights_says_the_same(mut generated in any_policy()) {
        generated.providers.iter_mut().for_each(|provider| provider.config = Fields::default());
        generated.order = Order::Weighted;
        let written = with_weights(&generated, false);
        prop_assert_eq!(Policy::parse(&written), Ok(generated.clone()), "{}", written);
        let beside_names = with_weights(&generated, true);
        prop_assert_eq!(Policy::parse(&beside_names), Ok(generated.clone()), "{}", beside_names);
    }

    #[test]
    fn what_is_the_same_has_no_differences(a in any_policy(), b in any_policy()) {
        let reread = Policy::parse(&a.to_document()).unwrap();
        prop_assert_eq!(diff(&a, &reread), []);
        prop_assert!(a == b || !diff(&a, &b).is_empty(), "{:?}\n{:?}", a, b);
    }
}

/// The document without some of its keys, and with others.
fn edited(policy: &Policy, without: &[&str], with: &[(&str, String)]) -> String {
    let document = Fields::parse(&policy.to_document()).unwrap();
    let kept = document.iter().filter(|(key, _)| !without.contains(key));
    let kept = kept.map(|(key, raw)| (key, raw.get().to_owned()));
    let all: Vec<String> = kept
        .chain(with.iter().cloned())
        .map(|(key, json)| format!("\"{key}\": {json}"))
        .collect();
    format!("{{{}}}", all.join(", "))
}

fn as_steps(policy: &Policy) -> String {
    let document = Fields::parse(&policy.to_document()).unwrap();
    let list = |key: &str| -> Vec<Box<serde_json::value::RawValue>> {
        serde_json::from_str(document.get(key).unwrap().get()).unwrap()
    };
    let mut steps = Vec::new();
    for (stage, action) in [
        ("pre", "extension_pre"),
        ("validators", "extension_validator"),
    ] {
        steps.extend(list(stage).iter().map(|entry| step(entry.get(), action)));
    }
    for provider in &policy.providers {
        let weight = if policy.order == Order::Weighted {
            format!(", \"weight\": {:e}", provider.weight)
        } else {
            String::new()
        };
        steps.push(format!(
            "{{\"action\": \"select_provider\", \"provider_id\": \"{}\"{weight}}}",
            provider.name
        ));
    }
    steps.extend(
        list("post")
            .iter()
            .map(|entry| step(entry.get(), "extension_post")),
    );
    edited(
        policy,
        &["pre", "validators", "providers", "post"],
        &[("steps", format!("[{}]", steps.join(", ")))],
    )
}

fn step(entry: &str, action: &str) -> String {
    entry.replacen(
        "{\"id\":",
        &format!("{{\"action\": \"{action}\", \"extension_id\": "),
        1,
    )
}

fn with_weights(policy: &Policy, beside_names: bool) -> String {
    let weights: Vec<String> = policy
        .providers
        .iter()
        .map(|provider| format!("\"{}\": {}", provider.name, provider.weight))
        .collect();
    let names: Vec<String> = policy
        .providers
        .iter()
        .map(|provider| format!("\"{}\"", provider.name))
        .collect();
    let mut with = vec![("weights", format!("{{{}}}", weights.join(", ")))];
    if beside_names {
        with.push(("providers", format!("[{}]", names.join(", "))));
    }
    edited(policy, &["providers"], &with)
}

prop_compose! {
    fn any_policy()(
        (pre, post) in (processors(), processors()),
        (validators, output_validators) in (validators(), validators()),
        (order, providers) in any_providers(),
        fallbacks in prop::collection::vec(fallback(), 0..4),
        sticky in prop::option::of(("[ -~]{1,20}", 1_000_000_000u64..604_800_000_000_000)),
        circuit_breaker in breaker(),
        (version, policy_id, metadata) in ("\\PC{0,8}", prop::option::of("[a-z][a-z0-9_-]{0,9}"), fields()),
    ) -> Policy {
        let sticky = sticky.map(|(session_key, nanos)| Sticky { session_key, ttl: Duration::from_nanos(nanos) });
        let places = Places::default();
        Policy { version, policy_id, pre, validators, providers, order, post, output_validators, fallbacks, sticky, circuit_breaker, metadata, places }
    }
}

fn validators() -> impl Strategy<Value = Vec<Validator>> {
    ids("v", 0..4).prop_flat_map(|ids| ids.into_iter().map(validator).collect::<Vec<_>>())
}

fn terms() -> impl Strategy<Value = Terms> {
    let logic = r#"{"and": [{">": [{"var": "context.age"}, 17]}, {"!": {"var": "context.beta"}}]}"#;
    let logic: Box<RawValue> = serde_json::from_str(logic).unwrap();
    let mut mistakes = Mistakes::default();
    let read = Logic::read(&logic, "", &mut mistakes).unwrap();
    let equal = conditions()
        .prop_filter("none at all is always", |conditions| !conditions.is_empty())
        .prop_map(EntryWhen::Equal);
    let when = prop_oneof![equal, Just(EntryWhen::Logic(read, logic))];
    let timeout = (1u64..=600_000).prop_map(Duration::from_millis);
    (prop::option::of(when), prop::option::of(timeout))
        .prop_map(|(when, timeout)| Terms { when, timeout })
}

fn breaker() -> impl Strategy<Value = BreakerOverrides> {
    let numbers = BreakerSetting::ALL.map(|setting| prop::option::of(setting.limits()));
    numbers.prop_map(|numbers| {
        let mut overrides = BreakerOverrides::default();
        for (setting, number) in BreakerSetting::ALL.into_iter().zip(numbers) {
            if let Some(number) = number {
                overrides.set(setting, number);
            }
        }
        overrides
    })
}

fn ids(prefix: &'static str, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    let set = prop::collection::btree_set(0u8..50, count)
        .prop_map(|set: BTreeSet<u8>| set.into_iter().collect::<Vec<_>>());
    set.prop_shuffle().prop_map(move |numbers| {
        numbers
            .iter()
            .map(|number| format!("{prefix}{number}"))
            .collect()
    })
}

fn processors() -> impl Strategy<Value = Vec<Processor>> {
    ids("p", 0..5).prop_flat_map(|ids| {
        let each = |(index, id): (usize, &String)| {
            let id = id.clone();
            let before = ids[..index].to_vec();
            let depends_on = prop::option::of(subsequence(before, 0..=index));
            (
                select(vec![Mode::Required, Mode::Optional]),
                fields(),
                depends_on,
                terms(),
            )
                .prop_map(move |(mode, config, depends_on, terms)| Processor {
                    id: id.clone(),
                    mode,
                    config,
                    depends_on,
                    terms,
                })
        };
        ids.iter().enumerate().map(each).collect::<Vec<_>>()
    })
}

fn validator(id: String) -> impl Strategy<Value = Validator> {
    (
        select(vec![OnFail::Block, OnFail::Warn, OnFail::Ignore]),
        fields(),
        terms(),
    )
        .prop_map(move |(on_fail, config, terms)| Validator {
            id: id.clone(),
            on_fail,
            config,
            terms,
        })
}

/// At least two, so that every fallback leads somewhere; at least one weight above 0.
fn any_providers() -> impl Strategy<Value = (Order, Vec<Provider>)> {
    let weight = || {
        prop_oneof![
            Just(0.0),
            (1u32..=100).prop_map(f64::from),
            1e-300..1e300,
            0.0..1.0
        ]
    };
    let each = move |name: String| {
        (weight(), fields()).prop_map(move |(weight, config)| Provider {
            name: name.clone(),
            weight,
            config,
            timeout: None,
        })
    };
    let lists =
        ids("m", 2..5).prop_flat_map(move |names| names.into_iter().map(each).collect::<Vec<_>>());
    (select(vec![Order::Weighted, Order::Priority]), lists).prop_map(|(order, mut providers)| {
        providers[0].weight = providers[0].weight.max(0.25);
        for provider in providers.iter_mut().filter(|_| order == Order::Priority) {
            (provider.weight, provider.config) = (1.0, Fields::default());
        }
        (order, providers)
    })
}

fn fallback() -> impl Strategy<Value = Fallback> {
    let codes = (100u16..=999)
        .prop_filter("a word", |code| *code != 429)
        .prop_map(Status::Code);
    let words = select(Status::WORDS.map(|(_, status)| status).to_vec());
    let status = prop::collection::vec(prop_oneof![words, codes], 0..4).prop_map(|all| {
        let mut once: Vec<Status> = Vec::new();
        for status in all {
            if !once.contains(&status) {
                once.push(status);
            }
        }
        once
    });
    let backoff = (
        1u64..=60_000,
        0u64..=540_000,
        select(Retrying::WORDS.to_vec()),
        any::<bool>(),
    );
    let backoff = backoff.prop_map(|(base, more, (_, strategy), jitter)| {
        let (base, max) = (
            Duration::from_millis(base),
            Duration::from_millis(base + more),
        );
        Backoff {
            strategy,
            base,
            max,
            jitter,
        }
    });
    let backoff = prop_oneof![Just(Backoff::default()), backoff];
    let action = prop_oneof![
        (1u32..=5).prop_map(|retry| (Some(retry), None)),
        (prop::option::of(0u32..=5), "m[0-9]{1,2}".prop_map(Some)),
    ];
    let providers = prop::collection::vec("m[0-9]{1,2}", 0..3);
    (status, providers, conditions(), backoff, action).prop_map(
        |(status, providers, conditions, backoff, (retry, to))| Fallback {
            when: When {
                status,
                providers,
                conditions,
            },
            retry,
            backoff,
            to,
        },
    )
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let value = select(vec![
        "\"en\"",
        "[1, 2.50]",
        "true",
        "null",
        "[\"\\u00e4\\n\"]",
        "1e3",
    ]);
    prop::collection::btree_map("[a-r/~ ]{1,5}", value, 0..3).prop_map(|map| {
        let mut conditions = Conditions::default();
        let mut mistakes = Mistakes::default();
        // Words that a rule or an entry means something else by.
        let reserved = ["code", "error"];
        let operators = ["and", "eq", "in", "ne", "or"];
        for (key, json) in map {
            let near = |word: &&str| strsim::damerau_levenshtein(word, &key) <= 1;
            if reserved.iter().any(near) || operators.contains(&key.as_str()) {
                continue;
            }
            conditions.read(key, serde_json::from_str(json).unwrap(), "", &mut mistakes);
        }
        assert_eq!(mistakes.count(), 0);
        conditions
    })
}

fn fields() -> impl Strategy<Value = Fields> {
    let value = select(vec![
        "1",
        "1.50",
        "123456789012345678901234567890",
        "{ \"a\": [ ] }",
        "null",
        "\"\\u0000\"",
        "\"\\ud800\"",
    ]);
    prop::collection::btree_map("\\PC{0,6}", value, 0..3).prop_map(|map| {
        map.into_iter()
            .map(|(key, json)| {
                (
                    key,
                    serde_json::value::RawValue::from_string(json.into()).unwrap(),
                )
            })
            .collect()
    })
}

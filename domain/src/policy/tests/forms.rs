//! Every form is read into the same model: each document beside its canonical twin.

use super::*;

/// A document, its form, and the canonical document that means the same.
pub(super) const TWINS: [(&str, Form, &str); 18] = [
    (
        r#"{"$schema": "./policy.schema.json", "providers": ["a"]}"#,
        Form::Names,
        r#"{"providers": ["a"]}"#,
    ),
    (
        r#"{"providers": ["a", "b"]}"#,
        Form::Names,
        r#"{"providers": ["a", "b"]}"#,
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "extension_id": "p", "mode": "required", "config": {"x": 1}},
            {"action": "extension_pre", "extension_id": "q", "depends_on": []},
            {"action": "extension_validator", "extension_id": "v", "on_fail": "warn"},
            {"action": "select_provider", "provider_id": "a", "weight": 70}, {"action": "select_provider", "provider_id": "b"},
            {"action": "extension_post", "extension_id": "o"}], "fallback": ["c", "d"]}"#,
        Form::Steps,
        r#"{"pre": [{"id": "p", "mode": "required", "config": {"x": 1}}, {"id": "q", "depends_on": []}],
            "validators": [{"id": "v", "on_fail": "warn"}], "post": [{"id": "o"}],
            "providers": [{"name": "a", "weight": 70}, {"name": "b", "weight": 1}],
            "fallbacks": [{"to": "c"}, {"when": {}, "to": "d"}]}"#,
    ),
    (
        r#"{"steps": [{"action": "select_provider", "provider_id": "b"}, {"action": "select_provider", "provider_id": "a"}]}"#,
        Form::Steps,
        r#"{"providers": ["b", "a"]}"#,
    ),
    (
        r#"{"weights": {"openai": 0.7, "anthropic": 3e-1}, "fallback": {"provider": "c", "conditions": ["timeout", {"status": "5xx", "lang": "en"}, 429]},
            "sticky": {"enabled": true, "ttl_seconds": 300}}"#,
        Form::Weights,
        r#"{"providers": [{"name": "openai", "weight": 0.7}, {"name": "anthropic", "weight": 0.3}],
            "fallbacks": [{"when": {"status": ["timeout", "rate_limited"]}, "to": "c"}, {"when": {"status": ["5xx"], "lang": "en"}, "to": "c"}],
            "sticky": {"session_key": "session_id", "ttl": "5m"}}"#,
    ),
    (
        r#"{"weights": {"z": 1, "a": 1}, "fallback": {"provider": "b"}, "sticky": {"enabled": false, "ttl_seconds": 5}}"#,
        Form::Weights,
        r#"{"providers": [{"name": "z"}, {"name": "a"}], "fallbacks": [{"to": "b"}]}"#,
    ),
    (
        r#"{"weights": {"a": 2}, "pre": [{"id": "p"}], "validators": [{"id": "v"}], "post": [{"id": "o"}],
            "fallbacks": [{"when": {"status": "error"}, "retry": 1}], "fallback": "b"}"#,
        Form::Mixture,
        r#"{"providers": [{"name": "a", "weight": 2}], "pre": [{"id": "p"}], "validators": [{"id": "v"}], "post": [{"id": "o"}],
            "fallbacks": [{"when": {"status": ["error"]}, "retry": 1}, {"to": "b"}]}"#,
    ),
    (
        r#"{"providers": ["a", "b"], "weights": {"b": 3, "a": 1}}"#,
        Form::Mixture,
        r#"{"providers": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]}"#,
    ),
    (
        r#"{"providers": [{"name": "a", "config": {"model": "x"}}], "weights": {"a": 5}}"#,
        Form::Mixture,
        r#"{"providers": [{"name": "a", "weight": 5, "config": {"model": "x"}}]}"#,
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "extension_id": "p"}], "providers": ["a"], "post": [{"id": "o"}]}"#,
        Form::Mixture,
        r#"{"pre": [{"id": "p"}], "providers": ["a"], "post": [{"id": "o"}]}"#,
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "extension_id": "p"}], "pre": [], "weights": {"a": 1}}"#,
        Form::Mixture,
        r#"{"pre": [{"id": "p"}], "providers": [{"name": "a"}]}"#,
    ),
    (
        r#"{"providers": ["a"], "fallback": [{"provider": "b", "conditions": []}, "c", {"provider": "d", "conditions": ["503"]}]}"#,
        Form::Mixture,
        r#"{"providers": ["a"], "fallbacks": [{"to": "b"}, {"to": "c"}, {"when": {"status": 503}, "to": "d"}]}"#,
    ),
    (
        r#"{"providers": [{"name": "a"}], "sticky": {}, "circuit_breaker": {}, "fallbacks": [], "metadata": {}, "steps": null}"#,
        Form::Canonical,
        r#"{"providers": [{"name": "a", "weight": 1}]}"#,
    ),
    (
        r#"{"providers": ["a", "b"], "fallbacks": [{"when": {"status": ["429", 429, "rate_limited"], "z": 1, "b": [true]}, "to": "b"}]}"#,
        Form::Names,
        r#"{"providers": ["a", "b"], "fallbacks": [{"when": {"b": [true], "z": 1, "status": "429"}, "to": "b"}]}"#,
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"retry": 5, "backoff": {"base_ms": 5000}}, {"retry": 1, "backoff": {"max_ms": 50}}]}"#,
        Form::Names,
        r#"{"providers": ["a"], "fallbacks": [{"retry": 5, "backoff": {"strategy": "exponential", "base_ms": 5000, "max_ms": 5000, "jitter": true}},
            {"retry": 1, "backoff": {"base_ms": 50, "max_ms": 50}}]}"#,
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": "1h30m", "session_key": "user_id"}, "circuit_breaker": {"failure_threshold": 10}}"#,
        Form::Names,
        r#"{"providers": ["a"], "sticky": {"enabled": true, "session_key": "user_id", "ttl_seconds": 5400}, "circuit_breaker": {"failure_threshold": 10}}"#,
    ),
    (
        r#"{"providers": ["a"], "sticky": {"enabled": true}}"#,
        Form::Names,
        r#"{"providers": ["a"], "sticky": {"session_key": "session_id", "ttl": "10m"}}"#,
    ),
    (
        r#"{"weights": {"a": 1, "b": 0}, "version": "2", "policy_id": "old", "metadata": {"owner": "x"}}"#,
        Form::Weights,
        r#"{"version": "2", "policy_id": "old", "providers": [{"name": "a"}, {"name": "b", "weight": 0}], "metadata": {"owner": "x"}}"#,
    ),
];

#[test]
fn each_form_means_what_its_canonical_twin_means() {
    for (json, form, canonical) in TWINS {
        let checked = Policy::check(json);
        assert_eq!(checked.form, Some(form), "{json}");
        assert_eq!(checked.result.expect(json), policy(canonical), "{json}");
    }
}

#[test]
fn the_canonical_document_is_read_as_the_same_policy() {
    for (json, ..) in TWINS {
        let written = policy(json).to_document();
        assert_eq!(policy(&written), policy(json), "{written}");
    }
}

#[test]
fn the_canonical_document_says_what_is_not_self_evident() {
    let json = r#"{"weights": {"a": 70, "b": 0.1}, "pre": [{"id": "p", "config": {"n":1.50}}], "fallback": {"provider": "b", "conditions": ["5xx"]},
        "sticky": {"ttl_seconds": 90}}"#;
    let want = concat!(
        r#"{"version":"1.0","pre":[{"id":"p","mode":"optional","config":{"n":1.50}}],"validators":[],"#,
        r#""providers":[{"name":"a","weight":70},{"name":"b","weight":0.1}],"post":[],"#,
        r#""fallbacks":[{"when":{"status":["5xx"]},"to":"b"}],"#,
        r#""sticky":{"enabled":true,"session_key":"session_id","ttl":"1m 30s"}}"#
    );
    assert_eq!(policy(json).to_document(), want);
}

#[test]
fn extensions_are_named_where_the_document_names_them() {
    let places = |json: &str| {
        let policy = policy(json);
        policy
            .references()
            .map(|(id, kind, place)| format!("{} {id} {place}", kind.as_str()))
            .collect::<Vec<_>>()
    };
    let canonical = r#"{"pre": [{"id": "p"}], "validators": [{"id": "v"}], "providers": [{"name": "a"}], "post": [{"id": "o"}],
        "fallbacks": [{"retry": 1}, {"to": "b"}]}"#;
    let want = [
        "pre p /pre/0/id",
        "validator v /validators/0/id",
        "provider a /providers/0/name",
        "post o /post/0/id",
        "provider b /fallbacks/1/to",
    ];
    assert_eq!(places(canonical), want);
    let steps = r#"{"steps": [{"action": "extension_pre", "extension_id": "p"}, {"action": "select_provider", "provider_id": "a"}], "fallback": ["b"]}"#;
    assert_eq!(
        places(steps),
        [
            "pre p /steps/0/extension_id",
            "provider a /steps/1/provider_id",
            "provider b /fallback/0"
        ]
    );
    let weights = r#"{"weights": {"a": 1}, "fallback": {"provider": "b", "conditions": ["429", {"lang": "en"}]}}"#;
    assert_eq!(
        places(weights),
        [
            "provider a /weights/a",
            "provider b /fallback/provider",
            "provider b /fallback/provider"
        ]
    );
    assert_eq!(
        places(r#"{"providers": ["a"], "fallback": "b"}"#),
        ["provider a /providers/0", "provider b /fallback"]
    );
}

#[test]
fn configs_have_their_places_in_every_form() {
    let places = |json: &str| {
        let read = policy(json);
        let place = |entry: EntryConfig<'_>| {
            format!(
                "{} {} {}",
                entry.extension_id,
                entry.config.to_json(),
                entry.place
            )
        };
        read.configs().map(place).collect::<Vec<_>>()
    };
    let canonical = r#"{"pre": [{"id": "a"}, {"id": "b", "config": {"x": 1}}], "validators": [{"id": "c", "config": {"x": 2}}],
        "providers": [{"name": "d", "config": {"x": 3}}], "post": [{"id": "e", "config": {"x": 4}}],
        "output_validators": [{"id": "c", "config": {"x": 5}}]}"#;
    let expected = [
        r#"b {"x":1} /pre/1/config"#,
        r#"c {"x":2} /validators/0/config"#,
        r#"d {"x":3} /providers/0/config"#,
        r#"e {"x":4} /post/0/config"#,
        r#"c {"x":5} /output_validators/0/config"#,
    ];
    assert_eq!(places(canonical), expected);
    let steps = r#"{"steps": [{"action": "extension_pre", "extension_id": "a", "config": {"x": 1}}],
        "weights": {"d": 1}}"#;
    assert_eq!(places(steps), [r#"a {"x":1} /steps/0/config"#]);
    assert_eq!(places(r#"{"providers": ["d"]}"#), [""; 0]);
}

use super::*;

fn sentences(old: &str, new: &str) -> Vec<String> {
    let read =
        |json: &str| Policy::parse(json).unwrap_or_else(|mistakes| panic!("{json}: {mistakes:?}"));
    diff(&read(old), &read(new))
        .into_iter()
        .map(|change| change.sentence)
        .collect()
}

/// Two documents and what changes from the first to the second.
const CHANGES: &[(&str, &str, &[&str])] = &[
    (
        r#"{"weights": {"a": 0.5, "b": 0.5}, "sticky": {"enabled": true, "ttl_seconds": 600}, "fallback": {"provider": "b"}}"#,
        r#"{"providers": [{"name": "b", "weight": 0.5}, {"name": "a", "weight": 0.5}], "sticky": {"ttl": "10m"}, "fallbacks": [{"to": "b"}]}"#,
        &[],
    ),
    (
        r#"{"providers": ["a"], "metadata": {"x": {"a": 1, "b": [1, {}]}, "s": "\u00e4"}}"#,
        r#"{"steps": [{"action": "select_provider", "provider_id": "a"}], "metadata": {"x": {"b":[1,{ }],"a":1}, "s": "ä"}}"#,
        &[],
    ),
    (
        r#"{"providers": [{"name": "openai_gpt4", "weight": 70}, {"name": "b", "weight": 30}]}"#,
        r#"{"providers": [{"name": "openai_gpt4", "weight": 50}, {"name": "b", "weight": 50}]}"#,
        &[
            "provider openai_gpt4: weight 70 -> 50 (70.0 % -> 50.0 % of requests)",
            "provider b: weight 30 -> 50 (30.0 % -> 50.0 % of requests)",
        ],
    ),
    (
        r#"{"weights": {"a": 7, "b": 3}}"#,
        r#"{"weights": {"a": 7, "c": 7}}"#,
        &[
            "provider b is gone",
            "provider a: weight 7 stays (70.0 % -> 50.0 % of requests)",
            "provider c is new (weight 7, 50.0 % of requests)",
        ],
    ),
    (
        r#"{"weights": {"a": 70, "b": 30}}"#,
        r#"{"weights": {"a": 7, "b": 3}}"#,
        &[
            "provider a: weight 70 -> 7 (70.0 % of requests as before)",
            "provider b: weight 30 -> 3 (30.0 % of requests as before)",
        ],
    ),
    (
        r#"{"weights": {"a": 3, "b": 1}}"#,
        r#"{"providers": ["b", "a"]}"#,
        &["providers: chosen by weight (a 75.0 %, b 25.0 %) -> in priority order (b, a)"],
    ),
    (
        r#"{"providers": ["a", "b", "c"]}"#,
        r#"{"providers": ["d", "c", "a"]}"#,
        &[
            "provider b is gone",
            "provider d is new (choice 1 of 3)",
            "the order of providers changes: a, c -> c, a",
        ],
    ),
    (
        r#"{"providers": ["a"]}"#,
        r#"{"providers": [{"name": "a"}]}"#,
        &[],
    ),
    (
        r#"{"providers": ["a"], "pre": [{"id": "normalize_text", "config": {"lowercase": true, "gone": 1}}, {"id": "x"}], "post": [{"id": "mask_pii"}]}"#,
        r#"{"providers": ["a"], "pre": [{"id": "x", "mode": "required", "depends_on": []}, {"id": "normalize_text", "config": {"lowercase": false, "k": [1]}},
            {"id": "add_context", "depends_on": ["normalize_text"]}, {"id": "last"}]}"#,
        &[
            "pre x: mode optional -> required",
            "pre x: starts after normalize_text -> at once",
            "config of normalize_text: gone is gone, it was 1",
            "config of normalize_text: k is new, [1]",
            "config of normalize_text: lowercase true -> false",
            "pre add_context is new (optional, after normalize_text)",
            "pre last is new (optional, after x and normalize_text and add_context)",
            "the order of pre changes: normalize_text, x -> x, normalize_text",
            "post mask_pii is gone",
        ],
    ),
    (
        r#"{"providers": ["a"], "validators": [{"id": "pii_guard"}, {"id": "v"}]}"#,
        r#"{"providers": ["a"], "validators": [{"id": "v"}, {"id": "w", "on_fail": "ignore"}, {"id": "pii_guard", "on_fail": "warn"}]}"#,
        &[
            "validator w is new (on_fail ignore)",
            "validator pii_guard: on_fail block -> warn",
            "the order of validators changes: pii_guard, v -> v, pii_guard",
        ],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": "10m"}}"#,
        r#"{"providers": ["a"], "sticky": {"ttl": "30m", "session_key": "user_id"}, "circuit_breaker": {"failure_threshold": 3}}"#,
        &[
            "sticky sessions: session_key session_id -> user_id",
            "sticky sessions: ttl 10m -> 30m",
            "circuit breaker: failure_threshold the router's own -> 3",
        ],
    ),
    (
        r#"{"providers": ["a"], "version": "1.0"}"#,
        r#"{"providers": ["a"], "version": "1.1", "policy_id": "x", "sticky": {"enabled": true}, "metadata": {"owner": "y"}}"#,
        &[
            "version: 1.0 -> 1.1",
            "policy_id: none -> x",
            "sticky sessions are new (by session_id, ttl 10m)",
            "metadata: owner is new, \"y\"",
        ],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"enabled": true}}"#,
        r#"{"providers": ["a"]}"#,
        &["sticky sessions are gone"],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"retry": 1}, {"when": {"status": "5xx"}, "to": "b"}, {"to": "c"}]}"#,
        r#"{"providers": ["a"], "fallbacks": [{"retry": 1}, {"when": {"status": ["timeout", 503], "lang": "en"}, "retry": 2, "to": "d", "backoff": {"strategy": "fixed"}}, {"to": "c"}]}"#,
        &[
            "fallback rule 2: on 5xx -> on timeout, 503 if lang = \"en\"",
            "fallback rule 2: retry of the provider's record -> 2",
            "fallback rule 2: backoff exponential 100ms to 2s with jitter -> fixed 100ms to 2s with jitter",
            "fallback rule 2: to b -> d",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"to": "b"}, {"to": "c"}]}"#,
        r#"{"providers": ["a"], "fallbacks": [{"when": {"status": "429"}, "retry": 2, "to": "b"}, {"to": "b"}, {"to": "c"}]}"#,
        &[
            "fallback rule 1 is new: on 429: retry 2 with backoff exponential 100ms to 2s with jitter, then b",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"to": "b"}, {"to": "c"}]}"#,
        r#"{"providers": ["a"], "fallbacks": [{"to": "b"}]}"#,
        &["fallback rule 2 is gone: on any failure: c"],
    ),
];

#[test]
fn every_change_is_one_sentence() {
    for (old, new, want) in CHANGES {
        assert_eq!(&sentences(old, new), want, "{old}\n{new}");
    }
}

#[test]
fn each_change_has_its_kind_and_subject() {
    let read = |json: &str| Policy::parse(json).unwrap();
    let changes = diff(
        &read(r#"{"providers": ["a", "b"]}"#),
        &read(r#"{"providers": ["b", "a", "c"], "version": "2"}"#),
    );
    let kinds: Vec<(ChangeKind, &str)> = changes
        .iter()
        .map(|change| (change.kind, change.what.as_str()))
        .collect();
    let want = [
        (ChangeKind::Changed, "version"),
        (ChangeKind::Added, "provider c"),
        (ChangeKind::Moved, "providers"),
    ];
    assert_eq!(kinds, want);
}

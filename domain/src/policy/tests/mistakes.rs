//! What cannot be meant is refused, with the place in the document as it was written.

use super::*;

/// A document and its mistakes; each is the pointer and the start of the sentence.
pub(super) const REFUSED: &[(&str, &[&str])] = &[
    (r#"[]"#, &["(document): must be an object, is a list"]),
    (r#"{}"#, &["/providers: must list at least one provider"]),
    (
        r#"{"weights": {}}"#,
        &["/weights: must name at least one provider"],
    ),
    (
        r#"{"steps": []}"#,
        &["/steps: must select at least one provider"],
    ),
    (
        r#"{"providers": 7}"#,
        &["/providers: must be a list, is a number"],
    ),
    (
        r#"{"providers": ["a", {"name": "b"}]}"#,
        &["/providers: must be either names in priority order, or objects with weights"],
    ),
    (
        r#"{"providers": [7]}"#,
        &["/providers/0: must be a name or an object like"],
    ),
    (
        r#"{"providers": ["a", "a", "B"]}"#,
        &[
            "/providers/1: a is listed twice",
            "/providers/2: must be 1 to 64 characters",
        ],
    ),
    (
        r#"{"weights": {"a": -1, "b": "5", "c": 1e999, "d": null}}"#,
        &[
            "/weights/a: must be a number of 0 or more, is -1",
            "/weights/b: must be",
            "/weights/c: must be",
            "/weights/d: must be",
        ],
    ),
    (
        r#"{"weights": {"a": 1e308, "b": 1e308}}"#,
        &["/weights: has weights that are too large to add up"],
    ),
    (
        r#"{"weights": {"a": 1, "a": 2}}"#,
        &["/weights/a: is given twice"],
    ),
    (
        r#"{"weights": {"Q/x": 1}}"#,
        &["/weights/Q~1x: must be 1 to 64 characters"],
    ),
    (
        r#"{"providers": ["a", "b"], "weights": {"a": 1, "c": 1}}"#,
        &[
            "/providers/1: b is missing in weights",
            "/weights/c: c is not in providers",
        ],
    ),
    (
        r#"{"providers": [{"name": "a", "weight": 1}], "weights": {"a": 1}}"#,
        &["/weights/a: a has a weight in providers already"],
    ),
    (
        r#"{"steps": [{"action": "select_provider", "provider_id": "a"}], "providers": ["B"]}"#,
        &[
            "/providers: steps select the providers already",
            "/providers/0: must be 1 to 64",
        ],
    ),
    (
        r#"{"steps": [{"action": "select_provider", "provider_id": "a"}], "weights": {"b": 1}}"#,
        &["/weights: steps select the providers already"],
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "extension_id": "p"}], "pre": [{"id": "q"}], "providers": ["a"]}"#,
        &["/pre: pre is in steps as well"],
    ),
    (
        r#"{"steps": [{"action": "select_provider", "provider_id": "a"}, {"action": "extension_pre", "extension_id": "p"}]}"#,
        &["/steps/1/action: comes after select_provider, but the router runs"],
    ),
    (
        r#"{"steps": [{"action": "extension_validator", "extension_id": "v"}, {"action": "extension_pre", "extension_id": "p"}], "providers": ["a"]}"#,
        &["/steps/1/action: comes after extension_validator"],
    ),
    (
        r#"{"steps": [{"extension_id": "v"}, {"action": "call"}, {"action": "select_provider", "provider": "a"}]}"#,
        &[
            "/steps/0/action: is required: one of extension_pre, extension_validator, select_provider, extension_post",
            "/steps/1/action: must be one of extension_pre",
            "/steps/2/provider_id: is required",
            "/steps/2/provider: is not a known key",
        ],
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "id": "p"}], "providers": ["a"]}"#,
        &[
            "/steps/0/extension_id: is required",
            "/steps/0/id: is not a known key",
        ],
    ),
    (
        r#"{"providers": ["a"], "wieghts": {}, "polciy_id": "x"}"#,
        &[
            "/wieghts: is not a known key; did you mean weights?",
            "/polciy_id: is not a known key; did you mean policy_id?",
        ],
    ),
    (
        r#"{"providers": ["a"], "policy_id": "No"}"#,
        &["/policy_id: must be 1 to 64"],
    ),
    (
        r#"{"pre": [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}], "providers": ["p"]}"#,
        &["/pre/0/depends_on: goes in a circle, so nothing in it could ever start: a -> b -> a"],
    ),
    (
        r#"{"post": [{"id": "x"}, {"id": "a", "depends_on": ["a"]}], "providers": ["p"]}"#,
        &["/post/1/depends_on: goes in a circle, so nothing in it could ever start: a -> a"],
    ),
    (
        r#"{"steps": [{"action": "extension_pre", "extension_id": "a", "depends_on": ["b"]}, {"action": "extension_pre", "extension_id": "b"}], "providers": ["p"]}"#,
        &[
            "/steps/0/depends_on: goes in a circle, so nothing in it could ever start: a -> b -> a; b has no depends_on, so it waits for everything listed before it",
        ],
    ),
    (
        r#"{"pre": [{"id": "a", "depends_on": ["zz", 7]}], "providers": ["p"]}"#,
        &["/pre/0/depends_on/1: must be an id from the same stage, is a number"],
    ),
    (
        r#"{"pre": [{"id": "a"}, {"id": "b", "depends_on": ["a", "a"]}], "providers": ["p"]}"#,
        &["/pre/1/depends_on/1: a is listed twice"],
    ),
    (
        r#"{"pre": [{"id": "a", "depends_on": ["zz"]}], "providers": ["p"]}"#,
        &["/pre/0/depends_on/0: zz is not in pre"],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{}, {"retry": 0}, {"when": {"status": "5xx"}}]}"#,
        &[
            "/fallbacks/0: does nothing",
            "/fallbacks/1: does nothing",
            "/fallbacks/2: does nothing",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"to": "a"}], "fallback": {"provider": "a", "conditions": ["429", {"lang": "en"}]}}"#,
        &[
            "/fallbacks/0/to: a is the only provider",
            "/fallback/provider: a is the only provider",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"retry": 11, "to": "b"}, {"retry": -1}, {"retry": 1.5}]}"#,
        &[
            "/fallbacks/0/retry: must be a whole number from 0 to 10, is 11",
            "/fallbacks/1/retry: must",
            "/fallbacks/2/retry: must",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"when": {"status": ["slow", 1000, "5xx"], "tier": []}, "to": "b"}, {"when": {"status": []}, "to": "b"}]}"#,
        &[
            "/fallbacks/0/when/status/0: must be one of timeout, 5xx, 4xx, 429, rate_limited, error, no_responders, circuit_breaker_open, all_providers_failed, overloaded, quota, auth, context_length, content_filter, cut, empty, unhealthy, connection_error, provider_unavailable or a code from 100 to 999, is \"slow\"",
            "/fallbacks/0/when/status/1: must be one of",
            "/fallbacks/0/when/tier: is an empty list",
            "/fallbacks/1/when/status: is an empty list",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"when": ["5xx"], "retry": 1, "unless": 1}]}"#,
        &[
            "/fallbacks/0/when: must be an object, is a list",
            "/fallbacks/0/unless: is not a known key",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"retry": 1, "backoff": {"strategy": "exp", "base_ms": 0, "max_ms": 600001, "jitter": 1, "x": 1}}]}"#,
        &[
            "/fallbacks/0/backoff/strategy: must be one of exponential, linear, fixed",
            "/fallbacks/0/backoff/base_ms: must be a whole number from 1 to 60000",
            "/fallbacks/0/backoff/max_ms: must be",
            "/fallbacks/0/backoff/jitter: must be true or false",
            "/fallbacks/0/backoff/x: is not",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallbacks": [{"retry": 1, "backoff": {"base_ms": 100, "max_ms": 99}}]}"#,
        &["/fallbacks/0/backoff/max_ms: must be base_ms or more, which is 100, is 99"],
    ),
    (
        r#"{"providers": ["a"], "fallback": [7, {"conditions": ["no"]}, {"provider": "b", "to": "c"}]}"#,
        &[
            "/fallback/0: must be the name of a provider or an object",
            "/fallback/1/provider: is required",
            "/fallback/1/conditions/0: must be one of timeout",
            "/fallback/2/to: is not a known key",
        ],
    ),
    (
        r#"{"providers": ["a"], "fallback": true}"#,
        &["/fallback: must be the name of a provider"],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": 600}}"#,
        &["/sticky/ttl: must have a unit: write \"600s\" for 600 seconds"],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": "600"}}"#,
        &["/sticky/ttl: must have a unit: write \"600s\""],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": "8days", "session_key": ""}}"#,
        &[
            "/sticky/session_key: must be 1 to 128",
            "/sticky/ttl: must be from 1s to 7days, is \"8days\"",
        ],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"ttl": "soon"}}"#,
        &["/sticky/ttl: must be a duration with a unit, for example"],
    ),
    (
        r#"{"providers": ["a"], "sticky": {"enabled": false, "ttl": "10m", "ttl_seconds": 0, "tll": 1}}"#,
        &[
            "/sticky/ttl_seconds: must be a whole number from 1 to 604800",
            "/sticky/ttl_seconds: is the older name of ttl",
            "/sticky/tll: is not a known key; did you mean ttl?",
        ],
    ),
    (
        r#"{"providers": ["a"], "circuit_breaker": {"failure_threshold": 0, "timeout": 5}}"#,
        &[
            "/circuit_breaker/failure_threshold: must be a whole number from 1 to 1000",
            "/circuit_breaker/timeout: is not a known key",
        ],
    ),
    (
        r#"{"providers": ["a"], "version": "\ud800", "metadata": {"\udfff": 1}}"#,
        &[
            "/version: has half of a surrogate pair",
            "/metadata: has half of a surrogate pair",
        ],
    ),
];

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    for (json, want) in REFUSED {
        let got = mistakes_of(json);
        let fits = got.len() == want.len()
            && got
                .iter()
                .zip(*want)
                .all(|(got, want)| got.starts_with(want));
        if !fits {
            wrong.push(format!("{json}\n got {got:#?}\nwant {want:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lists_have_their_limits() {
    let rules = |count: usize| {
        let rules: Vec<String> = (0..count).map(|n| format!(r#""f{n}""#)).collect();
        format!(
            r#"{{"providers": ["a"], "fallback": [{}]}}"#,
            rules.join(",")
        )
    };
    assert!(Policy::parse(&rules(32)).is_ok());
    assert_eq!(
        mistakes_of(&rules(33)),
        ["/fallback: makes 33 fallback rules; at most 32 are allowed"]
    );
    assert_eq!(
        mistakes_of(&rules(257)),
        ["/fallback: has 257 entries; at most 256 are read"]
    );
    let members = |count: usize| {
        (0..count)
            .map(|n| format!("\"k{n}\": 1"))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(
        mistakes_of(&format!("{{\"weights\": {{{}}}}}", members(257)))[0],
        "/weights: has 257 entries; at most 256 are read"
    );
    let json = format!(
        r#"{{"providers": ["a"], "fallbacks": [{{"when": {{{}}}, "to": "b"}}]}}"#,
        members(33)
    );
    assert_eq!(
        mistakes_of(&json),
        ["/fallbacks/0/when: has 33 conditions; at most 32 are read"]
    );
    let words = vec!["1"; 257].join(",");
    let json = format!(
        r#"{{"providers": ["a"], "fallbacks": [{{"when": {{"tier": [{words}]}}, "to": "b"}}]}}"#
    );
    assert_eq!(
        mistakes_of(&json),
        ["/fallbacks/0/when/tier: has 257 entries; at most 256 are read"]
    );
}

#[test]
fn whoever_checks_sees_all_mistakes_in_the_order_of_the_text() {
    let validators: Vec<String> = (0..50)
        .map(|n| format!("\n  {{\"id\": \"v{n}\", \"on_fail\": \"ask\"}}"))
        .collect();
    let json = format!(
        "{{\"colour\": 1, \"validators\": [{}], \"providers\": [\"A\"], \"providers\": []}}",
        validators.join(",")
    );
    assert_eq!(mistakes_of(&json).len(), 20);
    let checked = Policy::check(&json);
    let located = checked.result.unwrap_err();
    let lines: Vec<(usize, usize)> = located
        .iter()
        .map(|l| (l.position.line, l.position.column))
        .collect();
    assert_eq!(lines.len(), 53);
    assert_eq!(
        [lines[0], lines[1], lines[51], lines[52]],
        [(1, 2), (2, 27), (51, 51), (51, 57)]
    );
    assert_eq!(located[0].mistake.pointer, "/colour");
    assert_eq!(located[52].mistake.message, "is given twice");
}

#[test]
fn a_text_that_is_no_json_has_one_mistake_with_its_place() {
    let checked = Policy::check("{\n  \"providers\": [\"ä\" \"b\"]\n}");
    let located = &checked.result.unwrap_err()[0];
    assert_eq!(
        (located.position.line, located.position.column, checked.form),
        (2, 21, None)
    );
    assert_eq!(
        located.mistake.message,
        "is not valid JSON: expected `,` or `]`"
    );
    for (text, want) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        (
            "\u{feff}{}",
            "it starts with a byte order mark; save it without one",
        ),
    ] {
        let located = Policy::check(text).result.unwrap_err();
        assert_eq!(
            located[0].mistake.message,
            format!("is not valid JSON: {want}")
        );
    }
    let deep = format!("{{\"metadata\": {}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(Policy::check(&deep).result.unwrap_err().len(), 1);
}

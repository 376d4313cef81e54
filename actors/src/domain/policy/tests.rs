use super::*;

fn mistakes_of(json: &str) -> Vec<String> {
    Policy::parse(json).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_policy_has_one_provider() {
    let policy = Policy::parse(r#"{"providers": [{"name": "mock_provider"}]}"#).unwrap();
    assert_eq!((policy.version.as_str(), policy.providers[0].weight), ("1.0", 1.0));
}

#[test]
fn defaults_of_mode_and_on_fail() {
    let json = r#"{"pre": [{"id": "a"}], "validators": [{"id": "b"}], "providers": [{"name": "c", "weight": 0.5}]}"#;
    let policy = Policy::parse(json).unwrap();
    assert_eq!((policy.pre[0].mode, policy.validators[0].on_fail), (Mode::Optional, OnFail::Block));
    assert_eq!(policy.pipeline_length(), 3);
}

#[test]
fn mistakes_are_collected_with_their_places() {
    let json = r#"{"pre": [{"id": "a", "mode": "maybe"}, {"id": "a"}], "validators": [{"on_fail": "explode"}],
        "providers": [{"name": "p", "weight": -1}, {"name": "p", "weight": "5"}], "colour": 1, "post": {}}"#;
    let places: Vec<String> =
        mistakes_of(json).iter().filter_map(|m| m.split_once(':').map(|(p, _)| p.to_owned())).collect();
    let want = [
        "/pre/0/mode",
        "/pre/1/id",
        "/validators/0/id",
        "/validators/0/on_fail",
        "/providers/0/weight",
        "/providers/1/weight",
        "/providers/1/name",
        "/post",
        "/colour",
    ];
    assert_eq!(places, want);
}

#[test]
fn circles_and_strangers_in_depends_on_are_refused() {
    let circle = r#"{"pre": [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}], "providers": [{"name": "p"}]}"#;
    assert!(mistakes_of(circle)[0].starts_with("/pre: depends_on goes in a circle"));
    let stranger = r#"{"pre": [{"id": "a", "depends_on": ["zz"]}], "providers": [{"name": "p"}]}"#;
    assert_eq!(mistakes_of(stranger), ["/pre/0/depends_on/0: zz is not in pre"]);
}

#[test]
fn what_is_not_supported_is_refused_not_ignored() {
    let json = r#"{"providers": [{"name": "p"}], "fallbacks": [{"to": "p"}], "sticky": {"enabled": true}}"#;
    assert_eq!(mistakes_of(json).len(), 2);
    let off = r#"{"providers": [{"name": "p"}], "fallbacks": [], "sticky": {"enabled": false}, "circuit_breaker": {}}"#;
    assert!(Policy::parse(off).is_ok());
}

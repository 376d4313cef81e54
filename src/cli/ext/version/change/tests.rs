use super::*;

const RECORD: &str = r#"{"id":"model","type":"provider","version":"v1","subject":"b.provider.model.v1",
    "timeout_ms":900,"retry":1,"enabled":true,"config":{"model":"old","kept":1.50},"metadata":{"owner":"me"},
    "versions":[{"version":"v2","timeout_ms":300,"config":{"model":"new"},"routing_rules":{"percent":10},"enabled":true,"later":1},
                {"version":"v3","subject":"b.provider.model.next","routing_rules":{"tier":"gold"},"enabled":true}],
    "instances":[{"instance_id":"eu","subject":"b.provider.model.eu","weight":100,"enabled":true}]}"#;

fn known(record: &str) -> Known {
    Known::read("model", record).expect("a record")
}

/// The record after a change.
fn after(record: &str, change: &Change) -> String {
    let mut changed = Fields::parse(record).expect("a record");
    changed.overlay(&change.patch);
    changed.to_json()
}

fn given(parts: &str, rules: &str) -> Given {
    Given {
        parts: Fields::parse(parts).expect("parts"),
        rules: Fields::parse(rules).expect("rules"),
    }
}

fn versions(record: &str) -> Vec<String> {
    let known = known(record);
    known.versions.iter().map(Fields::to_json).collect()
}

#[test]
fn a_version_without_rules_takes_nobody_at_first() {
    let known = known(RECORD);
    let change = known.add("v4", &given("{}", "{}")).expect("a change");
    assert_eq!(
        versions(&after(RECORD, &change)).last().map(String::as_str),
        Some(r#"{"routing_rules":{"percent":0},"version":"v4"}"#)
    );
    assert_eq!(change.what, "has version 'v4' (0 % by session or tenant)");
    let change = known.add("v4", &given(r#"{"retry":2}"#, r#"{"tier":"gold"}"#));
    assert_eq!(
        change.expect("a change").what,
        "has version 'v4' (tier = \"gold\")"
    );
}

#[test]
fn an_update_changes_what_it_names() {
    let change = known(RECORD)
        .update("v2", &given("{}", r#"{"percent":50}"#))
        .expect("a change");
    let changed = versions(&after(RECORD, &change));
    assert_eq!(
        changed.first().map(String::as_str),
        Some(
            r#"{"config":{"model":"new"},"enabled":true,"later":1,"routing_rules":{"percent":50},"timeout_ms":300,"version":"v2"}"#
        )
    );
}

#[test]
fn a_promotion_can_be_taken_back_and_that_too() {
    let promotion = known(RECORD).promote("v2").expect("a change");
    let promoted = after(RECORD, &promotion);
    let record = Fields::parse(&promoted).expect("a record");
    let raw = |record: &Fields, key: &str| record.get(key).map(|raw| raw.get().to_owned());
    assert_eq!(raw(&record, "version").as_deref(), Some("\"v2\""));
    assert_eq!(raw(&record, "subject").as_deref(), Some("null"));
    assert_eq!(raw(&record, "timeout_ms").as_deref(), Some("300"));
    assert_eq!(raw(&record, "retry").as_deref(), Some("1"));
    assert_eq!(
        raw(&record, "config").as_deref(),
        Some(r#"{"kept":1.50,"model":"new"}"#)
    );
    assert_eq!(raw(&record, "instances").as_deref(), Some("[]"));
    assert_eq!(versions(&promoted).len(), 1);

    let rollback = known(&promoted).rollback(None).expect("a change");
    assert_eq!(rollback.what, "rolled back from 'v2' to 'v1'");
    let back = Fields::parse(&after(&promoted, &rollback)).expect("a record");
    let before = Fields::parse(RECORD).expect("a record");
    for part in OWN {
        assert_eq!(raw(&back, part), raw(&before, part), "{part}");
    }
    assert_eq!(
        object(&back, "metadata").text("owner").as_deref(),
        Some("me")
    );
    let forth = known(&back.to_json()).rollback(None).expect("a change");
    assert_eq!(forth.what, "rolled back from 'v1' to 'v2'");
}

#[test]
fn a_canary_that_runs_is_what_a_rollback_stops() {
    let rollback = known(RECORD).rollback(None).expect("a change");
    assert_eq!(rollback.what, "rolled back to 'v1', without v2");
    let stopped = after(RECORD, &rollback);
    assert!(versions(&stopped)[0].contains(r#""enabled":false"#));
    assert!(versions(&stopped)[1].contains(r#""enabled":true"#));
    let nothing = known(&stopped).rollback(None).expect_err("nothing is left");
    assert_eq!(nothing.exit_code(), 3);
    let named = known(&stopped).rollback(Some("v3")).expect("a change");
    assert_eq!(named.what, "promoted from 'v1' to 'v3'");
}

#[test]
fn what_does_not_fit_has_its_exit_code_and_a_hint() {
    let known = known(RECORD);
    let cases = [
        (known.remove("v22"), 3, "did you mean v2?"),
        (known.promote("next"), 3, "it has v2, v3."),
        (known.remove("v1"), 4, "is the own version"),
        (
            known.add("v2", &Given::default()),
            4,
            "ext version update model v2",
        ),
        (known.add("v1", &Given::default()), 4, "is the own version"),
        (
            known.update("v2", &Given::default()),
            2,
            "nothing to change",
        ),
    ];
    for (result, code, words) in cases {
        let failure = result.expect_err(words);
        assert_eq!(failure.exit_code(), code, "{}", failure.sentence());
        assert!(failure.sentence().contains(words), "{}", failure.sentence());
    }
}

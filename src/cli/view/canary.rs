//! Which versions of an extension take calls beside its own.

use beamline_contract::fields::Fields;
use serde_json::value::RawValue;

use super::text;

/// No more fits beside the other columns.
const LONGEST: usize = 28;

/// The own version, and the first other that takes calls: `v1 (+v2 10 %)`.
pub(in crate::cli) fn versions(record: &Fields) -> Option<String> {
    let own = record.text("version")?;
    let versions = record.get("versions").map_or("[]", RawValue::get);
    let versions: Vec<Fields> = serde_json::from_str(versions).unwrap_or_default();
    let mut running = versions.iter().filter(|version| takes_calls(version));
    let Some(first) = running.next() else {
        return Some(own);
    };
    let share = percent(first)
        .map(|percent| format!(" {percent} %"))
        .unwrap_or_default();
    let name = first.text("version").unwrap_or_default();
    let more = match running.count() {
        0 => String::new(),
        more => format!(", {more} more"),
    };
    let shown = format!("{own} (+{name}{share}{more})");
    Some(text::shortened(&shown, LONGEST))
}

/// For a sentence: `10 % by session or tenant, tier = "gold"`.
pub(in crate::cli) fn who_gets(version: &Fields) -> String {
    if version.flag("enabled") == Some(false) {
        return "disabled".to_owned();
    }
    let rules = rules(version);
    let keys = rules
        .iter()
        .filter(|(key, _)| !matches!(*key, "percent" | "percent_by"));
    let mut words: Vec<String> = keys
        .map(|(key, value)| format!("{} = {}", text::plain(key), text::plain(value.get())))
        .collect();
    if let Some(percent) = percent(version) {
        let by = rules.text("percent_by");
        let by = by.map_or_else(|| "session or tenant".to_owned(), |by| text::plain(&by));
        words.push(format!("{percent} % by {by}"));
    }
    if words.is_empty() {
        "all calls".to_owned()
    } else {
        words.join(", ")
    }
}

/// Whether it takes a part of the calls, as a canary does.
pub(in crate::cli) fn runs_at_a_percentage(version: &Fields) -> bool {
    takes_calls(version) && percent(version).is_some()
}

fn takes_calls(version: &Fields) -> bool {
    let rules = rules(version);
    let is_met = !rules
        .iter()
        .any(|(_, value)| value.get().replace(' ', "") == "[]");
    let has_part = percent(version).is_none_or(|percent| percent > 0.0);
    version.flag("enabled") != Some(false) && is_met && has_part
}

fn percent(version: &Fields) -> Option<f64> {
    rules(version).number("percent")
}

fn rules(version: &Fields) -> Fields {
    let raw = version.get("routing_rules");
    raw.and_then(|raw| Fields::parse(raw.get()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_takes_calls_is_shown_beside_the_own_one() {
        let shown = |versions: &str| {
            let record = format!(r#"{{"version": "v1", "versions": {versions}}}"#);
            versions_of(&record)
        };
        let v2 = |rules: &str| format!(r#"{{"version": "v2", "routing_rules": {rules}}}"#);
        for (versions, expected) in [
            ("[]".to_owned(), "v1"),
            (format!("[{}]", v2(r#"{"percent": 10}"#)), "v1 (+v2 10 %)"),
            (
                format!("[{}]", v2(r#"{"percent": 0.5, "tier": "a"}"#)),
                "v1 (+v2 0.5 %)",
            ),
            (format!("[{}]", v2(r#"{"tier": "a"}"#)), "v1 (+v2)"),
            (format!("[{}]", v2(r#"{"percent": 0}"#)), "v1"),
            (format!("[{}]", v2(r#"{"tenant_id": [ ]}"#)), "v1"),
            (r#"[{"version": "v2", "enabled": false}]"#.to_owned(), "v1"),
            (
                format!(r#"[{}, {{"version": "v3"}}]"#, v2(r#"{"percent": 10}"#)),
                "v1 (+v2 10 %, 1 more)",
            ),
        ] {
            assert_eq!(shown(&versions), expected, "{versions}");
        }
    }

    fn versions_of(record: &str) -> String {
        let record = Fields::parse(record).expect("a record");
        versions(&record).expect("a version")
    }

    #[test]
    fn who_gets_a_version_is_said_in_words() {
        let said = |version: &str| who_gets(&Fields::parse(version).expect("a version"));
        assert_eq!(said("{}"), "all calls");
        assert_eq!(
            said(r#"{"routing_rules": {"percent": 10, "tier": "gold"}}"#),
            "tier = \"gold\", 10 % by session or tenant"
        );
        assert_eq!(said(r#"{"enabled": false}"#), "disabled");
    }
}

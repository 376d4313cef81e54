//! Keys of routing rules that are probably slips: no request has them, so nobody would ever get the
//! version.

use std::collections::{BTreeMap, BTreeSet};

use beamline_contract::mistake::Mistake;
use beamline_contract::record::ExtensionRecord;

use super::rules::RoutingRules;
use super::versions::rules_of;

/// What the router reads itself.
const OWN: &[&str] = &[
    "tenant",
    "tenant_id",
    "policy",
    "policy_id",
    "environment",
    "message_type",
    "percent",
    "percent_by",
];
/// In a word of three letters one slip fits nearly everything.
const SHORTEST: usize = 4;

/// The keys of all rules of an extension.
pub fn rule_keys(record: &ExtensionRecord) -> BTreeSet<String> {
    rules(record).flat_map(|(_, rules)| keys(&rules)).collect()
}

/// Keys that are one slip away from a word of the router, or from a key that more rules use.
/// `elsewhere` are those of other extensions.
pub fn slips(record: &ExtensionRecord, elsewhere: &BTreeSet<String>) -> Vec<Mistake> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for key in rules(record).flat_map(|(_, rules)| keys(&rules)) {
        *uses.entry(key).or_default() += 1;
    }
    for key in elsewhere {
        // It stands in rules that serve already.
        *uses.entry(key.clone()).or_default() += 2;
    }
    let mut found = Vec::new();
    for (at, rules) in rules(record) {
        for key in keys(&rules) {
            let Some(meant) = meant_by(&key, &uses) else {
                continue;
            };
            let escaped = key.replace('~', "~0").replace('/', "~1");
            found.push(Mistake {
                pointer: format!("/versions/{at}/routing_rules/{escaped}"),
                message: format!(
                    "is compared with a key of that name in the request's context; did you mean {meant}?"
                ),
            });
        }
    }
    found
}

fn rules(record: &ExtensionRecord) -> impl Iterator<Item = (usize, RoutingRules)> {
    let versions = record.versions.iter().enumerate();
    versions.filter_map(|(at, version)| Some((at, rules_of(version)?)))
}

fn keys(rules: &RoutingRules) -> Vec<String> {
    rules.conditions.keys().map(str::to_owned).collect()
}

fn meant_by<'u>(key: &str, uses: &'u BTreeMap<String, usize>) -> Option<&'u str> {
    if OWN.contains(&key) || key.chars().count() < SHORTEST {
        return None;
    }
    let plain = key.to_lowercase().replace('-', "_");
    let own = OWN.iter().copied().find(|own| is_slip(&plain, own));
    let own_uses = uses.get(key).copied().unwrap_or_default();
    own.or_else(|| {
        let mut more_used = uses.iter().filter(|(_, count)| **count > own_uses);
        let meant = more_used.find(|(other, _)| *other != key && is_slip(&plain, other));
        meant.map(|(other, _)| other.as_str())
    })
}

/// Numbered keys (`level1`, `level2`) differ on purpose.
fn is_slip(word: &str, other: &str) -> bool {
    let without_digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let is_numbered = word != other && without_digits(word) == without_digits(other);
    !is_numbered && strsim::damerau_levenshtein(word, other) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse;

    fn found(rules: &[&str], elsewhere: &[&str]) -> Vec<String> {
        let versions: Vec<String> = (2..)
            .zip(rules)
            .map(|(n, rules)| format!(r#"{{"version": "v{n}", "routing_rules": {rules}}}"#))
            .collect();
        let json = format!(
            r#"{{"id": "a", "type": "pre", "versions": [{}]}}"#,
            versions.join(",")
        );
        let record = parse(&json, "beamline").unwrap();
        let elsewhere = elsewhere.iter().map(|key| (*key).to_owned()).collect();
        let slips = slips(&record, &elsewhere).into_iter();
        slips.map(|slip| slip.to_string()).collect()
    }

    #[test]
    fn a_key_one_slip_from_another_is_told() {
        let say = "is compared with a key of that name in the request's context; did you mean";
        assert_eq!(
            found(
                &[r#"{"tenant_di": "acme"}"#, r#"{"Environment": "x"}"#],
                &[]
            ),
            [
                format!("/versions/0/routing_rules/tenant_di: {say} tenant_id?"),
                format!("/versions/1/routing_rules/Environment: {say} environment?"),
            ]
        );
        assert_eq!(
            found(&[r#"{"percnt": 10}"#], &[]),
            [format!("/versions/0/routing_rules/percnt: {say} percent?")]
        );
        let thrice = [r#"{"tier": "a"}"#, r#"{"tier": "b"}"#, r#"{"teir": "c"}"#];
        assert_eq!(
            found(&thrice, &[]),
            [format!("/versions/2/routing_rules/teir: {say} tier?")]
        );
    }

    #[test]
    fn the_rules_of_other_extensions_count() {
        assert_eq!(found(&[r#"{"teir": "a"}"#], &["tier"]).len(), 1);
        assert_eq!(found(&[r#"{"teir": "a"}"#], &["tier", "teir"]).len(), 0);
    }

    #[test]
    fn what_is_meant_is_not_warned_of() {
        for rules in [
            &[r#"{"tenant": "a", "policy_id": "b", "percent": 5}"#][..],
            &[r#"{"lang": "en"}"#, r#"{"lang": "de"}"#],
            &[r#"{"level1": 1}"#, r#"{"level2": 1}"#, r#"{"level2": 2}"#],
            &[r#"{"ip": 1}"#, r#"{"id": 1}"#, r#"{"id": 2}"#],
            &[r#"{"tier": 1}"#],
        ] {
            assert_eq!(
                found(rules, &["lang", "tier"]),
                Vec::<String>::new(),
                "{rules:?}"
            );
        }
    }
}

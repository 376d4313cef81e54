//! The registry record of an extension (contract section 3): what it is, where it listens, how long it may take.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::document::{Mistakes, Object, shorten};
use crate::record::routing::RoutingRules;
use crate::target::breaker::{Operator, Overrides, Reset};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::Kind;
use beamline_contract::subject;

mod listener;

pub use beamline_contract::record::{ExtensionVersion, Instance};
pub use listener::Listener;

/// One extension as the registry holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it listens; absent means the subject that follows from type, id and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Milliseconds that one attempt may take.
    pub timeout_ms: u64,
    /// Attempts after the first, 0 to 2.
    pub retry: u32,
    pub enabled: bool,
    pub version: String,
    #[serde(default)]
    pub config: Fields,
    #[serde(default)]
    pub metadata: Fields,
    #[serde(default)]
    pub versions: Vec<ExtensionVersion>,
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// Calls of it that may run at a time, whichever version or instance takes them; absent means what the router grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// What its breakers go by, where that is not the router's own.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub breaker: Overrides,
    /// What an operator has decided about its breakers. No part of what people write: an operation of its own sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_operator: Option<Operator>,
    /// How often operators have closed its breakers; set like the above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_reset: Option<Reset>,
}

const KEYS: &[&str] = &[
    "id",
    "type",
    "subject",
    "timeout_ms",
    "retry",
    "enabled",
    "version",
    "config",
    "metadata",
    "versions",
    "instances",
    "max_in_flight",
    "breaker",
];
const VERSION_KEYS: &[&str] = &[
    "version",
    "subject",
    "timeout_ms",
    "retry",
    "config",
    "routing_rules",
    "enabled",
];
const INSTANCE_KEYS: &[&str] = &["instance_id", "subject", "weight", "enabled"];

/// Milliseconds that a record may name; ten minutes is the most that a policy may grant a provider.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1..=600_000;
/// Retries that a record may name: three attempts in all.
const RETRY: std::ops::RangeInclusive<u64> = 0..=2;
/// Calls in flight that a record may name.
const MAX_IN_FLIGHT: std::ops::RangeInclusive<u64> = 1..=10_000;

impl Extension {
    /// Reads a record as somebody wrote it. `prefix` is the deployment's subject prefix.
    pub fn parse(json: &str, prefix: &str) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let parsed = Object::parse(json, &mut mistakes)
            .and_then(|object| read(object, prefix, &mut mistakes));
        mistakes.into_result(parsed)
    }

    /// This record with the keys of `patch` in place of its own.
    pub fn patched(&self, patch: &Fields, prefix: &str) -> Result<Self, Vec<Mistake>> {
        let own = Self {
            breaker_operator: None,
            breaker_reset: None,
            ..self.clone()
        };
        let own = serde_json::to_string(&own)
            .ok()
            .and_then(|json| Fields::parse(&json).ok());
        let mut merged = own.unwrap_or_default();
        if let Some(id) = patch
            .get("id")
            .filter(|id| id.get() != format!("\"{}\"", self.id))
        {
            let message = format!(
                "cannot be changed, is {}; create a new extension instead",
                shorten(id.get())
            );
            return Err(vec![Mistake {
                pointer: "/id".into(),
                message,
            }]);
        }
        merged.overlay(patch);
        let patched = Self::parse(&merged.to_json(), prefix)?;
        let (breaker_operator, breaker_reset) =
            (self.breaker_operator.clone(), self.breaker_reset.clone());
        Ok(Self {
            breaker_operator,
            breaker_reset,
            ..patched
        })
    }

    /// How often operators have closed its breakers.
    pub fn breaker_resets(&self) -> u64 {
        self.breaker_reset.as_ref().map_or(0, |reset| reset.count)
    }

    /// Every subject that belongs to it: its own, and those of its versions and instances.
    pub fn subjects(&self, prefix: &str) -> Vec<String> {
        let of_version = |version: &ExtensionVersion| {
            version.subject.clone().unwrap_or_else(|| {
                subject::extension(prefix, self.kind, &self.id, &version.version)
            })
        };
        let own = std::iter::once(self.effective_subject(prefix));
        own.chain(self.versions.iter().map(of_version))
            .chain(self.instances.iter().map(|i| i.subject.clone()))
            .collect()
    }

    /// The subject that a call goes to.
    pub fn effective_subject(&self, prefix: &str) -> String {
        self.subject
            .clone()
            .unwrap_or_else(|| subject::extension(prefix, self.kind, &self.id, &self.version))
    }

    /// True for a provider that the caller of `decide` executes itself (contract section 4).
    pub fn is_external(&self) -> bool {
        self.kind == Kind::Provider && self.metadata.flag("external") == Some(true)
    }
}

fn read(mut object: Object<'_>, prefix: &str, mistakes: &mut Mistakes) -> Option<Extension> {
    let id = object.required_text("id", mistakes);
    if let Some(problem) = id.as_deref().and_then(id_problem) {
        mistakes.add("/id", problem);
    }
    let kind_given = object.take("type");
    let kind = kind_given.and_then(|raw| read_kind(raw, mistakes));
    if kind_given.is_none() {
        mistakes.add("/type", "is required: pre, validator, post or provider");
    }
    let version = object
        .text("version", mistakes)
        .unwrap_or_else(|| "v1".into());
    check_token("/version", &version, mistakes);
    let subject = object.text("subject", mistakes);
    check_subject("/subject", subject.as_deref(), prefix, mistakes);
    let timeout_ms = object.whole("timeout_ms", TIMEOUT_MS, mistakes);
    let retry = object.whole("retry", RETRY, mistakes).unwrap_or(0);
    let enabled = object.flag("enabled", mistakes).unwrap_or(true);
    let config = object.fields("config", mistakes);
    let metadata = object.fields("metadata", mistakes);
    let versions = read_versions(&mut object, prefix, mistakes);
    let instances = read_instances(&mut object, prefix, mistakes);
    let max_in_flight = object.whole("max_in_flight", MAX_IN_FLIGHT, mistakes);
    let breaker = read_breaker(&mut object, mistakes);
    object.finish(KEYS, mistakes);
    let (id, kind) = (id?, kind?);
    // Written out by a list or an editor, the subject that follows anyway stays the one that follows.
    let subject =
        subject.filter(|subject| *subject != subject::extension(prefix, kind, &id, &version));
    let timeout_ms = timeout_ms.unwrap_or(kind.default_timeout_ms());
    let retry = u32::try_from(retry).unwrap_or_default();
    Some(Extension {
        id,
        kind,
        subject,
        timeout_ms,
        retry,
        enabled,
        version,
        config,
        metadata,
        versions,
        instances,
        max_in_flight: max_in_flight.and_then(|calls| u32::try_from(calls).ok()),
        breaker,
        breaker_operator: None,
        breaker_reset: None,
    })
}

fn read_breaker(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Overrides {
    let Some(raw) = object.take("breaker") else {
        return Overrides::default();
    };
    let breaker = Object::read(raw, object.at("breaker"), mistakes);
    breaker
        .map(|breaker| Overrides::read(breaker, mistakes))
        .unwrap_or_default()
}

fn read_kind(raw: &RawValue, mistakes: &mut Mistakes) -> Option<Kind> {
    let kind = serde_json::from_str::<String>(raw.get())
        .ok()
        .and_then(|word| Kind::parse(&word));
    if kind.is_none() {
        let shown = shorten(raw.get());
        mistakes.add(
            "/type",
            format!("must be one of pre, validator, post, provider, is {shown}"),
        );
    }
    kind
}

fn read_versions(
    object: &mut Object<'_>,
    prefix: &str,
    mistakes: &mut Mistakes,
) -> Vec<ExtensionVersion> {
    let mut versions: Vec<ExtensionVersion> = Vec::new();
    for (pointer, raw) in object.items("versions", mistakes) {
        let Some(mut item) = Object::read(raw, pointer, mistakes) else {
            continue;
        };
        let version = item.required_text("version", mistakes);
        if let Some(version) = &version {
            check_token(&item.at("version"), version, mistakes);
            if versions.iter().any(|known| known.version == *version) {
                mistakes.add(item.at("version"), format!("{version} is listed twice"));
            }
        }
        let subject = item.text("subject", mistakes);
        check_subject(&item.at("subject"), subject.as_deref(), prefix, mistakes);
        let timeout_ms = item.whole("timeout_ms", TIMEOUT_MS, mistakes);
        let retry = item
            .whole("retry", RETRY, mistakes)
            .and_then(|retry| u32::try_from(retry).ok());
        let config = item.fields("config", mistakes);
        let config = (!config.is_empty()).then_some(config);
        let routing_rules = read_routing_rules(&mut item, mistakes);
        let enabled = item.flag("enabled", mistakes).unwrap_or(true);
        item.finish(VERSION_KEYS, mistakes);
        let Some(version) = version else { continue };
        versions.push(ExtensionVersion {
            version,
            subject,
            timeout_ms,
            retry,
            config,
            routing_rules,
            enabled,
        });
    }
    versions
}

/// Kept as they were written, after everything in them was understood.
fn read_routing_rules(item: &mut Object<'_>, mistakes: &mut Mistakes) -> Fields {
    let Some(raw) = item.take("routing_rules") else {
        return Fields::default();
    };
    if let Some(object) = Object::read(raw, item.at("routing_rules"), mistakes) {
        RoutingRules::read(object, mistakes);
    }
    Fields::parse(raw.get()).unwrap_or_default()
}

fn read_instances(object: &mut Object<'_>, prefix: &str, mistakes: &mut Mistakes) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    for (pointer, raw) in object.items("instances", mistakes) {
        let Some(mut item) = Object::read(raw, pointer, mistakes) else {
            continue;
        };
        let instance_id = item.required_text("instance_id", mistakes);
        if let Some(id) = &instance_id {
            check_token(&item.at("instance_id"), id, mistakes);
            if instances.iter().any(|known| known.instance_id == *id) {
                mistakes.add(item.at("instance_id"), format!("{id} is listed twice"));
            }
        }
        let subject = item.required_text("subject", mistakes);
        check_subject(&item.at("subject"), subject.as_deref(), prefix, mistakes);
        let weight = item.whole("weight", 0..=100, mistakes).unwrap_or(100);
        let enabled = item.flag("enabled", mistakes).unwrap_or(true);
        item.finish(INSTANCE_KEYS, mistakes);
        let (Some(instance_id), Some(subject)) = (instance_id, subject) else {
            continue;
        };
        let weight = u32::try_from(weight).unwrap_or_default();
        instances.push(Instance {
            instance_id,
            subject,
            weight,
            enabled,
        });
    }
    instances
}

/// Why `id` cannot name an extension or a policy, if it cannot. Lower case only, so that no two ids differ by case.
pub fn id_problem(id: &str) -> Option<String> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: char| first(c) || matches!(c, '_' | '.' | '-');
    let fits = id.len() <= 64
        && id.starts_with(first)
        && id.chars().all(rest)
        && !id.contains("..")
        && !id.ends_with('.');
    (!fits).then(|| {
        format!(
            "must be 1 to 64 characters of a-z, 0-9, _, - and single dots, starting with a letter or digit, is {}",
            shorten(id)
        )
    })
}

/// Why a subject cannot be called, if it cannot: a wildcard would leak traffic, an empty token looks like a dead
/// extension, and the router's own subjects would make a loop.
pub fn subject_problem(subject: &str, prefix: &str) -> Option<String> {
    let tokens: BTreeSet<bool> = subject.split('.').map(is_token).collect();
    let count = subject.split('.').count();
    if tokens.contains(&false) {
        return Some(format!(
            "every token must be 1 to 64 of A-Z, a-z, 0-9, _ and -, is {}",
            shorten(subject)
        ));
    }
    if !(3..=12).contains(&count) || subject.len() > 255 {
        return Some(format!(
            "must have 3 to 12 tokens and at most 255 characters, has {count} tokens"
        ));
    }
    let reserved = subject::router_start(prefix);
    if subject.starts_with(&reserved) {
        return Some(format!(
            "is reserved: {reserved} belongs to the router itself"
        ));
    }
    let allowed = subject::extension_starts(prefix);
    let starts = allowed
        .iter()
        .any(|start| subject.starts_with(start.as_str()));
    (!starts).then(|| {
        format!(
            "must start with {}, is {}",
            allowed.join(" or "),
            shorten(subject)
        )
    })
}

fn check_subject(pointer: &str, subject: Option<&str>, prefix: &str, mistakes: &mut Mistakes) {
    if let Some(problem) = subject.and_then(|subject| subject_problem(subject, prefix)) {
        mistakes.add(pointer, problem);
    }
}

fn check_token(pointer: &str, token: &str, mistakes: &mut Mistakes) {
    if !token.split('.').all(is_token) || token.len() > 64 {
        let shown = shorten(token);
        mistakes.add(
            pointer,
            format!("must be 1 to 64 of A-Z, a-z, 0-9, _, - and single dots, is {shown}"),
        );
    }
}

fn is_token(token: &str) -> bool {
    (1..=64).contains(&token.len())
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_record_gets_defaults() {
        let extension =
            Extension::parse(r#"{"id": "add_context", "type": "pre"}"#, "beamline").unwrap();
        assert_eq!(
            extension.effective_subject("acme"),
            "acme.ext.pre.add_context.v1"
        );
        assert_eq!(
            (extension.timeout_ms, extension.retry, extension.enabled),
            (1_000, 0, true)
        );
    }

    #[test]
    fn every_mistake_is_listed_with_its_place() {
        let json = r#"{"id": "Add", "type": "foo", "timeout_ms": "5s", "retry": 9, "subject": "beamline.ext.>", "colour": 1,
            "instances": [{"instance_id": "a", "weight": 101}, 7]}"#;
        let places: Vec<String> = Extension::parse(json, "beamline")
            .unwrap_err()
            .into_iter()
            .map(|mistake| mistake.pointer)
            .collect();
        let want = [
            "/id",
            "/type",
            "/subject",
            "/timeout_ms",
            "/retry",
            "/instances/0/subject",
            "/instances/0/weight",
            "/instances/1",
            "/colour",
        ];
        assert_eq!(places, want);
    }

    #[test]
    fn ids_and_subjects() {
        for id in [
            "",
            "Ab",
            "a b",
            "a..b",
            "a.",
            "-a",
            "pаyments",
            "a/b",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(id_problem(id).is_some(), "{id:?}");
        }
        for id in ["a", "gpt-4.1", "openai_gpt4", "0x"] {
            assert!(id_problem(id).is_none(), "{id:?}");
        }
        for subject in [
            "b.ext.>",
            "b.ext.*.x",
            "$SYS.a.b",
            "_INBOX.a.b",
            "b.ext..a",
            "b.ext.a.",
            "b.ext.a b",
            "b.ext.é",
            "b.router.v1.decide",
            "b.ext",
            "other.ext.pre.a",
            "$JS.API.x",
            "b.ext.a\r\nb",
        ] {
            assert!(subject_problem(subject, "b").is_some(), "{subject:?}");
        }
        assert!(subject_problem("b.ext.pre.a.v1", "b").is_none());
    }

    #[test]
    fn a_patch_changes_only_its_keys() {
        let extension =
            Extension::parse(r#"{"id": "a", "type": "post", "config": {"n": 1.50}}"#, "b").unwrap();
        let patched = extension
            .patched(&Fields::parse(r#"{"retry": 2}"#).unwrap(), "b")
            .unwrap();
        assert_eq!(
            (patched.retry, patched.config.to_json().as_str()),
            (2, r#"{"n":1.50}"#)
        );
        let limited = extension
            .patched(&Fields::parse(r#"{"max_in_flight": 7}"#).unwrap(), "b")
            .unwrap();
        let freed = limited
            .patched(&Fields::parse(r#"{"max_in_flight": null}"#).unwrap(), "b")
            .unwrap();
        assert_eq!(
            (limited.max_in_flight, freed.max_in_flight),
            (Some(7), None)
        );
        for wrong in ["0", "10001", "1.5", "\"7\"", "-1"] {
            let patch = Fields::parse(&format!(r#"{{"max_in_flight": {wrong}}}"#)).unwrap();
            assert_eq!(
                extension.patched(&patch, "b").unwrap_err()[0].pointer,
                "/max_in_flight",
                "{wrong}"
            );
        }
        let renamed = extension
            .patched(&Fields::parse(r#"{"id": "b"}"#).unwrap(), "b")
            .unwrap_err();
        assert_eq!(renamed[0].pointer, "/id");
    }
}

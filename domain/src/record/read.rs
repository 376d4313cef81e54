//! Reads a record as somebody wrote it, with all its mistakes at once.

use serde_json::value::RawValue;

use super::rules::RoutingRules;
use super::versions::check_percentages;
use crate::document::mistake;
use crate::document::{Mistakes, Object, shorten};
use crate::names::{
    is_older_id, new_id_problem, reference_problem, subject_problem, token_problem,
};
use crate::target::breaker;
use beamline_contract::fields::Fields;
use beamline_contract::limits::{
    MAX_IN_FLIGHT, MAX_PAYLOAD_BYTES, RECORD_RETRIES, RECORD_TIMEOUT_MS, TIMEOUT_PER_MIB_MS, WEIGHT,
};
use beamline_contract::mistake::Mistake;
use beamline_contract::record::{
    BreakerOverrides, ExtensionInstance, ExtensionRecord, ExtensionVersion, Kind,
};
use beamline_contract::subject;

/// New ids make one token of a subject.
const OLDER_ID: &str = "holds dots, which new ids may not; it goes on";

const KEYS: &[&str] = &[
    "id",
    "type",
    "subject",
    "subject_of",
    "notes_of",
    "timeout_ms",
    "retry",
    "enabled",
    "version",
    "config",
    "metadata",
    "versions",
    "instances",
    "max_in_flight",
    "max_payload_bytes",
    "timeout_per_mib_ms",
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

/// A record that can be saved, and what in it can be meant, but probably is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub record: ExtensionRecord,
    pub warnings: Vec<Mistake>,
}

/// What an earlier release may have accepted: it is warned of, where it would be refused if it were
/// new.
#[derive(Debug, Clone, Copy)]
struct Stored {
    id: bool,
    versions: bool,
}

/// Reads a record. `prefix` is the deployment's subject prefix.
pub fn parse(json: &str, prefix: &str) -> Result<ExtensionRecord, Vec<Mistake>> {
    check(json, prefix).map(|checked| checked.record)
}

/// The same with what is to be warned of.
pub fn check(json: &str, prefix: &str) -> Result<Checked, Vec<Mistake>> {
    let new = Stored {
        id: false,
        versions: false,
    };
    check_as(json, prefix, new)
}

fn check_as(json: &str, prefix: &str, stored: Stored) -> Result<Checked, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let parsed = Object::parse(json, &mut mistakes)
        .and_then(|object| read(object, prefix, stored, &mut mistakes));
    let warnings = mistakes.take_warnings().into_iter().map(mistake).collect();
    let record = mistakes.into_result(parsed)?;
    Ok(Checked { record, warnings })
}

/// A record with the keys of `patch` in place of its own.
pub fn patch(
    record: &ExtensionRecord,
    patch: &Fields,
    prefix: &str,
) -> Result<Checked, Vec<Mistake>> {
    if let Some(id) = patch.get("id")
        && id.get() != format!("\"{}\"", record.id)
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
    let mut merged = as_written(record);
    merged.overlay(patch);
    let stored = Stored {
        id: true,
        versions: patch.get("versions").is_none(),
    };
    let Checked {
        record: patched,
        warnings,
    } = check_as(&merged.to_json(), prefix, stored)?;
    Ok(Checked {
        record: ExtensionRecord {
            breaker_operator: record.breaker_operator.clone(),
            breaker_reset: record.breaker_reset.clone(),
            revision: None,
            ..patched
        },
        warnings,
    })
}

/// The keys of a record that people write.
fn as_written(record: &ExtensionRecord) -> Fields {
    let written = ExtensionRecord {
        breaker_operator: None,
        breaker_reset: None,
        revision: None,
        ..record.clone()
    };
    serde_json::to_string(&written)
        .ok()
        .and_then(|json| Fields::parse(&json).ok())
        .unwrap_or_default()
}

fn read(
    mut object: Object<'_>,
    prefix: &str,
    stored: Stored,
    mistakes: &mut Mistakes,
) -> Option<ExtensionRecord> {
    let id = object.required_text("id", mistakes);
    let is_provider = object
        .peek("type")
        .is_some_and(|raw| raw.get() == "\"provider\"");
    if let Some(id) = &id {
        check_id(
            id,
            is_provider && (object.has("subject") || object.has("subject_of")),
            stored.id,
            mistakes,
        );
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
    let subject_of = read_subject_of(&mut object, id.as_deref(), kind, mistakes);
    let notes_of = read_reference(&mut object, "notes_of", mistakes);
    let timeout_ms = object.whole("timeout_ms", RECORD_TIMEOUT_MS, mistakes);
    let retry = object.whole("retry", RECORD_RETRIES, mistakes).unwrap_or(0);
    let enabled = object.flag("enabled", mistakes).unwrap_or(true);
    let config = object.fields("config", mistakes);
    let metadata = object.fields("metadata", mistakes);
    let makes_subjects = subject_of.is_some() || id.as_deref().is_none_or(|id| !id.contains(':'));
    let versions = read_versions(&mut object, prefix, makes_subjects, mistakes);
    check_percentages(&versions, stored.versions, mistakes);
    let instances = read_instances(&mut object, prefix, mistakes);
    let max_in_flight = object.whole("max_in_flight", MAX_IN_FLIGHT, mistakes);
    let max_payload_bytes = object.whole("max_payload_bytes", MAX_PAYLOAD_BYTES, mistakes);
    let timeout_per_mib_ms = object.whole("timeout_per_mib_ms", TIMEOUT_PER_MIB_MS, mistakes);
    let breaker = read_breaker(&mut object, mistakes);
    object.finish(KEYS, mistakes);
    let id = id?;
    let kind = kind?;
    // Written out by a list or an editor, the subject that follows anyway stays the one that
    // follows.
    let subject =
        subject.filter(|subject| *subject != subject::extension(prefix, kind, &id, &version));
    let timeout_ms = timeout_ms.unwrap_or(kind.default_timeout_ms());
    let retry = u32::try_from(retry).unwrap_or_default();
    Some(ExtensionRecord {
        id,
        kind,
        subject,
        subject_of,
        notes_of,
        program: None,
        timeout_ms,
        retry,
        enabled,
        version,
        config,
        metadata,
        versions,
        instances,
        max_in_flight: max_in_flight.and_then(|calls| u32::try_from(calls).ok()),
        max_payload_bytes,
        timeout_per_mib_ms,
        breaker,
        breaker_operator: None,
        breaker_reset: None,
        revision: None,
    })
}

/// The provider whose program this one is a face of.
fn read_subject_of(
    object: &mut Object<'_>,
    id: Option<&str>,
    kind: Option<Kind>,
    mistakes: &mut Mistakes,
) -> Option<String> {
    let subject_of = read_reference(object, "subject_of", mistakes)?;
    if kind.is_some_and(|kind| kind != Kind::Provider) {
        mistakes.add("/subject_of", "is for providers only");
    }
    if id == Some(&subject_of) {
        mistakes.add("/subject_of", "names the extension itself");
    }
    Some(subject_of)
}

/// The id of another extension.
fn read_reference(object: &mut Object<'_>, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    let id = object.text(key, mistakes)?;
    if let Some(problem) = reference_problem(&id) {
        mistakes.add(object.at(key), problem);
    }
    Some(id)
}

fn check_id(id: &str, is_provider_with_subject: bool, is_stored: bool, mistakes: &mut Mistakes) {
    if let Some(problem) = reference_problem(id) {
        return mistakes.add("/id", problem);
    }
    match new_id_problem(id, is_provider_with_subject) {
        Some(_) if is_stored && is_older_id(id) => mistakes.warn("/id", OLDER_ID),
        Some(problem) => mistakes.add("/id", problem),
        None => {}
    }
}

fn read_breaker(object: &mut Object<'_>, mistakes: &mut Mistakes) -> BreakerOverrides {
    let Some(raw) = object.take("breaker") else {
        return BreakerOverrides::default();
    };
    let breaker = Object::read(raw, object.at("breaker"), mistakes);
    breaker
        .map(|breaker| breaker::read_record(breaker, mistakes))
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
    makes_subjects: bool,
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
        if subject.is_none() && !makes_subjects {
            let message = "is required: no subject follows from an id with colons";
            mistakes.add(item.at("subject"), message);
        }
        let timeout_ms = item.whole("timeout_ms", RECORD_TIMEOUT_MS, mistakes);
        let retry = item
            .whole("retry", RECORD_RETRIES, mistakes)
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

fn read_instances(
    object: &mut Object<'_>,
    prefix: &str,
    mistakes: &mut Mistakes,
) -> Vec<ExtensionInstance> {
    let mut instances: Vec<ExtensionInstance> = Vec::new();
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
        let weight = item.whole("weight", WEIGHT, mistakes).unwrap_or(100);
        let enabled = item.flag("enabled", mistakes).unwrap_or(true);
        item.finish(INSTANCE_KEYS, mistakes);
        let (Some(instance_id), Some(subject)) = (instance_id, subject) else {
            continue;
        };
        let weight = u32::try_from(weight).unwrap_or_default();
        instances.push(ExtensionInstance {
            instance_id,
            subject,
            weight,
            enabled,
        });
    }
    instances
}

fn check_subject(pointer: &str, subject: Option<&str>, prefix: &str, mistakes: &mut Mistakes) {
    if let Some(problem) = subject.and_then(|subject| subject_problem(subject, prefix)) {
        mistakes.add(pointer, problem);
    }
}

fn check_token(pointer: &str, token: &str, mistakes: &mut Mistakes) {
    if let Some(problem) = token_problem(token) {
        mistakes.add(pointer, problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_record_gets_defaults() {
        let extension = parse(r#"{"id": "add_context", "type": "pre"}"#, "beamline").unwrap();
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
        let places: Vec<String> = parse(json, "beamline")
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
    fn a_patch_changes_only_its_keys() {
        let extension =
            parse(r#"{"id": "a", "type": "post", "config": {"n": 1.50}}"#, "b").unwrap();
        let patched = patch(&extension, &Fields::parse(r#"{"retry": 2}"#).unwrap(), "b").unwrap();
        assert_eq!(
            (
                patched.record.retry,
                patched.record.config.to_json().as_str()
            ),
            (2, r#"{"n":1.50}"#)
        );
        let changed = |record: &ExtensionRecord, to: &str| {
            patch(record, &Fields::parse(to).unwrap(), "b")
                .unwrap()
                .record
        };
        let limited = changed(&extension, r#"{"max_in_flight": 7}"#);
        let freed = changed(&limited, r#"{"max_in_flight": null}"#);
        assert_eq!(
            (limited.max_in_flight, freed.max_in_flight),
            (Some(7), None)
        );
        for wrong in ["0", "10001", "1.5", "\"7\"", "-1"] {
            let wrong_patch = Fields::parse(&format!(r#"{{"max_in_flight": {wrong}}}"#)).unwrap();
            assert_eq!(
                patch(&extension, &wrong_patch, "b").unwrap_err()[0].pointer,
                "/max_in_flight",
                "{wrong}"
            );
        }
        let renamed =
            patch(&extension, &Fields::parse(r#"{"id": "b"}"#).unwrap(), "b").unwrap_err();
        assert_eq!(renamed[0].pointer, "/id");
    }

    #[test]
    fn ids_of_earlier_releases_go_on_and_are_warned_of() {
        let plain = parse(r#"{"id": "a", "type": "provider"}"#, "b").unwrap();
        let older = ExtensionRecord {
            id: "gpt-4.1".to_owned(),
            ..plain
        };
        let patched = patch(&older, &Fields::parse(r#"{"retry": 3}"#).unwrap(), "b").unwrap();
        assert_eq!(patched.record.retry, 3);
        assert_eq!(patched.warnings[0].pointer, "/id");
        let new = parse(r#"{"id": "gpt-4.1", "type": "provider"}"#, "b").unwrap_err();
        assert_eq!(new[0].pointer, "/id");
    }

    #[test]
    fn faces_and_notes_name_other_extensions() {
        let places = |rest: &str| {
            let json = format!(r#"{{"id": "openai:mini", {rest}}}"#);
            let found = check(&json, "b").err().unwrap_or_default();
            let pointers = found.into_iter().map(|mistake| mistake.pointer);
            pointers.collect::<Vec<_>>().join(" ")
        };
        let face = r#""type": "provider", "subject_of": "openai""#;
        assert_eq!(places(face), "");
        let versions = r#""versions": [{"version": "v2", "config": {"model": "m"}}]"#;
        assert_eq!(places(&format!("{face}, {versions}")), "");
        for (rest, wrong) in [
            (
                r#""type": "provider", "subject_of": "openai:mini""#,
                "/subject_of",
            ),
            (r#""type": "provider", "subject_of": "No""#, "/subject_of"),
            (r#""type": "provider", "subject_of": 1"#, "/subject_of"),
            (
                r#""type": "post", "subject_of": "openai""#,
                "/id /subject_of",
            ),
            (&format!("{face}, \"notes_of\": \"a b\""), "/notes_of"),
        ] {
            assert_eq!(places(rest), wrong, "{rest}");
        }
    }

    #[test]
    fn a_colon_needs_a_subject_of_its_own() {
        let mistakes = |rest: &str| {
            let json = format!(r#"{{"id": "openai:gpt-4o", {rest}}}"#);
            let found = check(&json, "b").map_or_else(|mistakes| mistakes, |good| good.warnings);
            let pointers = found.into_iter().map(|mistake| mistake.pointer);
            pointers.collect::<Vec<_>>().join(" ")
        };
        let subject = r#""subject": "b.provider.openai.v1""#;
        assert_eq!(mistakes(&format!(r#""type": "provider", {subject}"#)), "");
        assert_eq!(mistakes(r#""type": "provider""#), "/id");
        assert_eq!(
            mistakes(r#""type": "pre", "subject": "b.ext.pre.a.v1""#),
            "/id"
        );
        let version = r#""versions": [{"version": "v2"}]"#;
        assert_eq!(
            mistakes(&format!(r#""type": "provider", {subject}, {version}"#)),
            "/versions/0/subject"
        );
    }
}

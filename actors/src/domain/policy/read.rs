//! Reads a policy document, with all its mistakes at once.

use serde_json::value::RawValue;

use super::{BreakerOverrides, Mode, OnFail, Order, Policy, Processor, Provider, Validator};
use crate::domain::document::{Mistakes, Object};
use crate::domain::extension::id_problem;
use crate::domain::plan;

const KEYS: &[&str] = &[
    "version",
    "policy_id",
    "pre",
    "validators",
    "providers",
    "post",
    "fallbacks",
    "sticky",
    "circuit_breaker",
    "metadata",
];
const PROCESSOR_KEYS: &[&str] = &["id", "mode", "config", "depends_on"];
const VALIDATOR_KEYS: &[&str] = &["id", "on_fail", "config"];
const PROVIDER_KEYS: &[&str] = &["name", "weight", "config"];
const MODES: &[(&str, Mode)] = &[("required", Mode::Required), ("optional", Mode::Optional)];
const ON_FAIL: &[(&str, OnFail)] = &[("block", OnFail::Block), ("warn", OnFail::Warn), ("ignore", OnFail::Ignore)];

pub(super) fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Policy {
    let version = object.text("version", mistakes).unwrap_or_else(|| "1.0".into());
    let policy_id = object.text("policy_id", mistakes);
    if let Some(problem) = policy_id.as_deref().and_then(id_problem) {
        mistakes.add("/policy_id", problem);
    }
    let pre = read_processors(&mut object, "pre", mistakes);
    let validators = read_validators(&mut object, mistakes);
    let providers = read_providers(&mut object, mistakes);
    let post = read_processors(&mut object, "post", mistakes);
    let metadata = object.fields("metadata", mistakes);
    refuse_unsupported(&mut object, mistakes);
    object.finish(KEYS, mistakes);
    Policy {
        version,
        policy_id,
        pre,
        validators,
        providers,
        order: Order::Weighted,
        post,
        fallbacks: Vec::new(),
        sticky: None,
        circuit_breaker: BreakerOverrides::default(),
        metadata,
    }
}

fn read_processors(object: &mut Object<'_>, key: &str, mistakes: &mut Mistakes) -> Vec<Processor> {
    let mut processors: Vec<Processor> = Vec::new();
    for (pointer, raw) in object.items(key, mistakes) {
        let Some(mut item) = Object::read(raw, pointer, mistakes) else { continue };
        let id = read_id(&mut item, "id", mistakes);
        let mode = item.choice("mode", MODES, mistakes).unwrap_or(Mode::Optional);
        let config = item.fields("config", mistakes);
        let depends_on = read_depends_on(&mut item, mistakes);
        refuse_repeated(id.as_deref(), processors.iter().map(|p| p.id.as_str()), &item.at("id"), mistakes);
        item.finish(PROCESSOR_KEYS, mistakes);
        let Some(id) = id else { continue };
        processors.push(Processor { id, mode, config, depends_on });
    }
    check_dependencies(&processors, key, mistakes);
    processors
}

fn read_depends_on(item: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let raw: &RawValue = item.take("depends_on")?;
    let names = serde_json::from_str::<Vec<String>>(raw.get());
    if names.is_err() {
        mistakes.add(item.at("depends_on"), "must be a list of ids from the same stage");
    }
    names.ok()
}

/// A dependency must be in the same stage, and no entry may wait for itself, however long the way round.
fn check_dependencies(processors: &[Processor], key: &str, mistakes: &mut Mistakes) {
    let before = mistakes.count();
    for (index, processor) in processors.iter().enumerate() {
        for (position, name) in processor.depends_on.iter().flatten().enumerate() {
            if !processors.iter().any(|other| other.id == *name) {
                let pointer = format!("/{key}/{index}/depends_on/{position}");
                mistakes.add(pointer, format!("{name} is not in {key}"));
            }
        }
    }
    if mistakes.count() == before && plan::waves(processors).is_none() {
        mistakes.add(format!("/{key}"), "depends_on goes in a circle, so nothing in it could ever start");
    }
}

fn read_validators(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Vec<Validator> {
    let mut validators: Vec<Validator> = Vec::new();
    for (pointer, raw) in object.items("validators", mistakes) {
        let Some(mut item) = Object::read(raw, pointer, mistakes) else { continue };
        let id = read_id(&mut item, "id", mistakes);
        let on_fail = item.choice("on_fail", ON_FAIL, mistakes).unwrap_or(OnFail::Block);
        let config = item.fields("config", mistakes);
        refuse_repeated(id.as_deref(), validators.iter().map(|v| v.id.as_str()), &item.at("id"), mistakes);
        item.finish(VALIDATOR_KEYS, mistakes);
        let Some(id) = id else { continue };
        validators.push(Validator { id, on_fail, config });
    }
    validators
}

fn read_providers(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Vec<Provider> {
    let mut providers: Vec<Provider> = Vec::new();
    let items = object.items("providers", mistakes);
    if items.is_empty() {
        mistakes
            .add(object.at("providers"), "must list at least one provider, for example {\"name\": \"mock_provider\"}");
    }
    for (pointer, raw) in items {
        let Some(mut item) = Object::read(raw, pointer, mistakes) else { continue };
        let name = read_id(&mut item, "name", mistakes);
        let weight = item.weight("weight", mistakes).unwrap_or(1.0);
        let config = item.fields("config", mistakes);
        refuse_repeated(name.as_deref(), providers.iter().map(|p| p.name.as_str()), &item.at("name"), mistakes);
        item.finish(PROVIDER_KEYS, mistakes);
        let Some(name) = name else { continue };
        providers.push(Provider { name, weight, config });
    }
    providers
}

/// What this version cannot carry out is refused when it is saved, never ignored at run time.
fn refuse_unsupported(object: &mut Object<'_>, mistakes: &mut Mistakes) {
    if !object.items("fallbacks", mistakes).is_empty() {
        mistakes.add("/fallbacks", "fallback rules are not supported yet; leave the list empty");
    }
    let sticky = object.fields("sticky", mistakes);
    if sticky.flag("enabled") != Some(false) && !sticky.is_empty() {
        mistakes.add("/sticky", "sticky sessions are not supported yet; leave it out or set enabled to false");
    }
    if !object.fields("circuit_breaker", mistakes).is_empty() {
        mistakes.add("/circuit_breaker", "breaker settings per policy are not supported yet; leave it out");
    }
}

fn read_id(item: &mut Object<'_>, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    let id = item.required_text(key, mistakes)?;
    if let Some(problem) = id_problem(&id) {
        mistakes.add(item.at(key), problem);
        return None;
    }
    Some(id)
}

fn refuse_repeated<'i>(
    id: Option<&str>,
    mut known: impl Iterator<Item = &'i str>,
    pointer: &str,
    mistakes: &mut Mistakes,
) {
    if let Some(id) = id.filter(|id| known.any(|other| other == *id)) {
        mistakes.add(pointer, format!("{id} is listed twice"));
    }
}

//! A tenant's policy (contract section 4): which extensions run, in which order, and what happens when one fails.

use serde::Serialize;
use serde_json::value::RawValue;

use super::document::{Mistake, Mistakes, Object};
use super::extension::{Kind, id_problem};
use super::fields::Fields;

/// A policy in its canonical form. The other forms of the contract are brought into it where a policy is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub version: String,
    /// Absent when the document leaves it to the name under which it is stored.
    pub policy_id: Option<String>,
    pub pre: Vec<Processor>,
    pub validators: Vec<Validator>,
    pub providers: Vec<Provider>,
    pub post: Vec<Processor>,
    pub metadata: Fields,
}

/// A pre- or post-processor in a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub id: String,
    pub mode: Mode,
    pub config: Fields,
    /// `None`: after everything listed before it. A list: after those only; the empty list waits for nothing.
    pub depends_on: Option<Vec<String>>,
}

/// Whether a request may go on without this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Required,
    Optional,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Validator {
    pub id: String,
    pub on_fail: OnFail,
    pub config: Fields,
}

/// What a rejection, or no answer at all, means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    Block,
    Warn,
    Ignore,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub name: String,
    /// Used in proportion to the sum of all; 0 takes no traffic.
    pub weight: f64,
    pub config: Fields,
}

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

impl Policy {
    /// Reads a document as somebody wrote it, with all mistakes at once.
    pub fn parse(json: &str) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let parsed = Object::parse(json, &mut mistakes).map(|object| read(object, &mut mistakes));
        mistakes.into_result(parsed)
    }

    /// Every extension that the policy names, with the type it must have and the place where it is named.
    pub fn references(&self) -> impl Iterator<Item = (&str, Kind, String)> {
        let pre = self.pre.iter().enumerate().map(|(i, p)| (p.id.as_str(), Kind::Pre, format!("/pre/{i}/id")));
        let validators = self.validators.iter().enumerate();
        let validators = validators.map(|(i, v)| (v.id.as_str(), Kind::Validator, format!("/validators/{i}/id")));
        let providers = self.providers.iter().enumerate();
        let providers = providers.map(|(i, p)| (p.name.as_str(), Kind::Provider, format!("/providers/{i}/name")));
        let post = self.post.iter().enumerate().map(|(i, p)| (p.id.as_str(), Kind::Post, format!("/post/{i}/id")));
        pre.chain(validators).chain(providers).chain(post)
    }

    /// Extensions in the pipeline: everything that could run for one request, providers counted as one call.
    pub fn pipeline_length(&self) -> usize {
        self.pre.len() + self.validators.len() + self.post.len() + usize::from(!self.providers.is_empty())
    }
}

fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Policy {
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
    Policy { version, policy_id, pre, validators, providers, post, metadata }
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
    if mistakes.count() == before && super::plan::waves(processors).is_none() {
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

#[cfg(test)]
mod tests {
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
        let json =
            r#"{"pre": [{"id": "a"}], "validators": [{"id": "b"}], "providers": [{"name": "c", "weight": 0.5}]}"#;
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
        let off =
            r#"{"providers": [{"name": "p"}], "fallbacks": [], "sticky": {"enabled": false}, "circuit_breaker": {}}"#;
        assert!(Policy::parse(off).is_ok());
    }
}

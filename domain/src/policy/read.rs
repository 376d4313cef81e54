//! Reads a policy document in any of its forms, with all its mistakes at once.

use super::{Places, Policy};
use crate::document::{Mistakes, Object};
use crate::names::id_problem;
use beamline_contract::policy::Form;

mod circles;
mod fallbacks;
mod form;
mod providers;
mod settings;
mod stages;
mod steps;

use stages::Stage;

pub(super) const KEYS: &[&str] = &[
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
    "steps",
    "weights",
    "fallback",
    "$schema",
];

pub(super) fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> (Policy, Form) {
    let form = form::of(&object, providers::are_names(&object));
    let version = object
        .text("version", mistakes)
        .unwrap_or_else(|| "1.0".into());
    let policy_id = object.text("policy_id", mistakes);
    if let Some(problem) = policy_id.as_deref().and_then(id_problem) {
        mistakes.add("/policy_id", problem);
    }
    let steps = steps::read(&mut object, mistakes);
    let pre = stages::processors(Stage::of(&mut object, "pre", steps.pre, mistakes), mistakes);
    let validators = stages::validators(
        Stage::of(&mut object, "validators", steps.validators, mistakes),
        mistakes,
    );
    let (providers, order) =
        providers::read(&mut object, steps.are_written, steps.providers, mistakes);
    let post = stages::processors(
        Stage::of(&mut object, "post", steps.post, mistakes),
        mistakes,
    );
    let fallbacks = fallbacks::read(&mut object, &providers.items, mistakes);
    let sticky = settings::sticky(&mut object, mistakes);
    let circuit_breaker = settings::circuit_breaker(&mut object, mistakes);
    let metadata = object.fields("metadata", mistakes);
    // Where editors find the schema.
    object.text("$schema", mistakes);
    object.finish(KEYS, mistakes);
    let places = Places {
        pre: pre.places,
        validators: validators.places,
        providers: providers.places,
        post: post.places,
        fallbacks: fallbacks.places,
    };
    let policy = Policy {
        version,
        policy_id,
        pre: pre.items,
        validators: validators.items,
        providers: providers.items,
        order,
        post: post.items,
        fallbacks: fallbacks.items,
        sticky,
        circuit_breaker,
        metadata,
        places,
    };
    (policy, form)
}

/// What was read, with the place where each of them names its extension.
struct Listed<T> {
    items: Vec<T>,
    places: Vec<String>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, item: T, place: String) {
        self.items.push(item);
        self.places.push(place);
    }
}

fn read_id(item: &mut Object<'_>, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    let id = item.required_text(key, mistakes)?;
    check_id(id, &item.at(key), mistakes)
}

fn check_id(id: String, pointer: &str, mistakes: &mut Mistakes) -> Option<String> {
    let Some(problem) = id_problem(&id) else {
        return Some(id);
    };
    mistakes.add(pointer, problem);
    None
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

//! Providers: as objects, as names in priority order, as steps, or as the older map of weights.

use std::time::Duration;

use serde_json::value::RawValue;

use super::listed::{Listed, check_id, read_id, refuse_repeated};
use super::terms;
use crate::document::{Mistakes, Object, kind_of};
use crate::policy::Provider;
use beamline_contract::fields::Fields;
use beamline_contract::limits::MAX_ITEMS;
use beamline_contract::policy::Order;

const PROVIDER_KEYS: &[&str] = &["name", "weight", "config", "timeout_ms"];
const STEP_KEYS: &[&str] = &["action", "provider_id", "weight", "timeout_ms"];

/// A provider before it is known whether somebody else gives its weight.
struct Named {
    name: String,
    weight: Option<f64>,
    config: Fields,
    timeout: Option<Duration>,
    place: String,
}

/// One entry of the older map.
struct Weight {
    name: String,
    weight: f64,
    place: String,
}

/// Whether `providers` lists names.
pub(super) fn are_names(object: &Object<'_>) -> bool {
    object.peek("providers").is_some_and(|raw| {
        raw.get()
            .trim_start_matches(['[', ' ', '\t', '\r', '\n'])
            .starts_with('"')
    })
}

pub(super) fn read(
    object: &mut Object<'_>,
    has_steps: bool,
    steps: Vec<Object<'_>>,
    mistakes: &mut Mistakes,
) -> (Listed<Provider>, Order) {
    let before = mistakes.count();
    let written = ["weights", "providers"]
        .into_iter()
        .find(|key| steps.is_empty() && object.has(key));
    let source = written.unwrap_or(if has_steps { "steps" } else { "providers" });
    let listed = object.items("providers", mistakes);
    let weights = read_weights(object, mistakes);
    if !steps.is_empty() {
        let elsewhere = [
            ("providers", listed.is_empty()),
            ("weights", weights.is_empty()),
        ];
        for (key, _) in elsewhere.iter().filter(|(_, is_empty)| !is_empty) {
            mistakes.add(
                object.at(key),
                "steps select the providers already; write them in one of the two places",
            );
        }
    }
    let (named, order) = match (steps.is_empty(), listed.is_empty(), weights.is_empty()) {
        (false, no_list, _) => {
            // Both are read, so that no mistake hides behind the other.
            if !no_list {
                from_list(listed, &object.at("providers"), mistakes);
            }
            from_steps(steps, mistakes)
        }
        (true, false, no_weights) => {
            let (mut named, order) = from_list(listed, &object.at("providers"), mistakes);
            if !no_weights && mistakes.count() == before {
                lay_over(&mut named, weights, mistakes);
            }
            (named, if no_weights { order } else { Order::Weighted })
        }
        (true, true, false) => (
            weights.into_iter().map(Weight::into_named).collect(),
            Order::Weighted,
        ),
        (true, true, true) => (Vec::new(), Order::Weighted),
    };
    let providers = finish(named, order);
    if mistakes.count() == before {
        check_sum(&providers.items, source, mistakes);
    }
    (providers, order)
}

fn from_list(
    listed: Vec<(String, &RawValue)>,
    pointer: &str,
    mistakes: &mut Mistakes,
) -> (Vec<Named>, Order) {
    let names = listed
        .iter()
        .filter(|(_, raw)| raw.get().starts_with('"'))
        .count();
    if names > 0 && names < listed.len() {
        mistakes.add(
            pointer,
            "must be either names in priority order, or objects with weights",
        );
        return (Vec::new(), Order::Weighted);
    }
    let mut named: Vec<Named> = Vec::new();
    for (pointer, raw) in listed {
        let read = if names > 0 {
            read_name(raw, pointer, mistakes)
        } else {
            read_object(raw, pointer, mistakes)
        };
        let Some(read) = read else { continue };
        refuse_repeated(
            Some(&read.name),
            named.iter().map(|n| n.name.as_str()),
            &read.place,
            mistakes,
        );
        named.push(read);
    }
    (
        named,
        if names > 0 {
            Order::Priority
        } else {
            Order::Weighted
        },
    )
}

fn read_name(raw: &RawValue, pointer: String, mistakes: &mut Mistakes) -> Option<Named> {
    let name = serde_json::from_str::<String>(raw.get()).unwrap_or_default();
    let name = check_id(name, &pointer, mistakes)?;
    Some(Named {
        name,
        weight: None,
        config: Fields::default(),
        timeout: None,
        place: pointer,
    })
}

fn read_object(raw: &RawValue, pointer: String, mistakes: &mut Mistakes) -> Option<Named> {
    if !raw.get().starts_with('{') {
        let message = format!(
            "must be a name or an object like {{\"name\": \"mock_provider\"}}, is {}",
            kind_of(raw)
        );
        mistakes.add(pointer, message);
        return None;
    }
    let mut item = Object::read(raw, pointer, mistakes)?;
    let place = item.at("name");
    let name = read_id(&mut item, "name", mistakes);
    let weight = item.weight("weight", mistakes);
    let config = item.fields("config", mistakes);
    let timeout = terms::timeout(&mut item, mistakes);
    item.finish(PROVIDER_KEYS, mistakes);
    Some(Named {
        name: name?,
        weight,
        config,
        timeout,
        place,
    })
}

/// Without any weight the order of the steps is the order of preference.
fn from_steps(steps: Vec<Object<'_>>, mistakes: &mut Mistakes) -> (Vec<Named>, Order) {
    let order = if steps.iter().any(|step| step.has("weight")) {
        Order::Weighted
    } else {
        Order::Priority
    };
    let mut named: Vec<Named> = Vec::new();
    for mut step in steps {
        let place = step.at("provider_id");
        let name = read_id(&mut step, "provider_id", mistakes);
        let weight = step.weight("weight", mistakes);
        let timeout = terms::timeout(&mut step, mistakes);
        step.finish(STEP_KEYS, mistakes);
        let Some(name) = name else { continue };
        refuse_repeated(
            Some(&name),
            named.iter().map(|n| n.name.as_str()),
            &place,
            mistakes,
        );
        named.push(Named {
            name,
            weight,
            config: Fields::default(),
            timeout,
            place,
        });
    }
    (named, order)
}

fn read_weights(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Vec<Weight> {
    let Some(raw) = object.take("weights") else {
        return Vec::new();
    };
    let Some(mut map) = Object::read(raw, object.at("weights"), mistakes) else {
        return Vec::new();
    };
    let mut weights = Vec::new();
    let names = map.keys();
    if names.len() > MAX_ITEMS {
        mistakes.add(
            map.pointer(),
            format!("has {} entries; at most {MAX_ITEMS} are read", names.len()),
        );
        return weights;
    }
    for name in names {
        let place = map.at(&name);
        if !map.has(&name) {
            mistakes.add(&place, "must be a number of 0 or more, is null");
        }
        let weight = map.weight(&name, mistakes);
        let (Some(name), Some(weight)) = (check_id(name, &place, mistakes), weight) else {
            continue;
        };
        weights.push(Weight {
            name,
            weight,
            place,
        });
    }
    weights
}

impl Weight {
    fn into_named(self) -> Named {
        Named {
            name: self.name,
            weight: Some(self.weight),
            config: Fields::default(),
            timeout: None,
            place: self.place,
        }
    }
}

/// `weights` beside `providers`: each provider has exactly one weight, and each weight a provider.
fn lay_over(named: &mut [Named], weights: Vec<Weight>, mistakes: &mut Mistakes) {
    for provider in named
        .iter()
        .filter(|provider| !weights.iter().any(|weight| weight.name == provider.name))
    {
        let message = format!(
            "{} is missing in weights, which must name every provider",
            provider.name
        );
        mistakes.add(&provider.place, message);
    }
    for Weight {
        name,
        weight,
        place,
    } in weights
    {
        match named.iter_mut().find(|provider| provider.name == name) {
            None => mistakes.add(place, format!("{name} is not in providers")),
            Some(provider) if provider.weight.is_some() => {
                mistakes
                    .add(place, format!("{name} has a weight in providers already; write it in one of the two places"));
            }
            Some(provider) => provider.weight = Some(weight),
        }
    }
}

/// By priority a weight says nothing, so that it is the same for all.
fn finish(named: Vec<Named>, order: Order) -> Listed<Provider> {
    let mut providers = Listed::default();
    for Named {
        name,
        weight,
        config,
        timeout,
        place,
    } in named
    {
        let weight = weight.filter(|_| order == Order::Weighted).unwrap_or(1.0);
        providers.push(
            Provider {
                name,
                weight,
                config,
                timeout,
            },
            place,
        );
    }
    providers
}

/// Nothing could ever be chosen without a provider. Weights of 0 alone are how somebody takes all
/// traffic away for a while: the contract answers `decision_failed` then.
fn check_sum(providers: &[Provider], source: &str, mistakes: &mut Mistakes) {
    let pointer = format!("/{source}");
    let sum: f64 = providers.iter().map(|provider| provider.weight).sum();
    if providers.is_empty() {
        let message = match source {
            "steps" => {
                "must select at least one provider: {\"action\": \"select_provider\", \"provider_id\": \"mock_provider\"}"
            }
            "weights" => "must name at least one provider, for example {\"mock_provider\": 1}",
            _ => "must list at least one provider, for example {\"name\": \"mock_provider\"}",
        };
        mistakes.add(pointer, message);
    } else if !sum.is_finite() {
        mistakes.add(pointer, "has weights that are too large to add up; only their proportion counts, so divide them");
    }
}

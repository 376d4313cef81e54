//! Finds out what was meant by a key that does not exist.

use beamline_contract::escape::OneLine;
use beamline_domain::suggest::closest;
use config::{Value, ValueKind};

use super::environment::variable_of;
use super::layer::Layer;
use super::mistakes::{Mistakes, Place};
use super::origin::Origin;

/// Takes the values out of a layer that no key is there for, and says what is wrong with each. They
/// may not be merged: a value for a section would take the place of all keys in the section.
pub(super) fn take_unknown(layer: &mut Layer, known: &[&str], mistakes: &mut Mistakes) {
    for (key, value) in layer.take_misplaced(known) {
        if let Some(message) = message(&key, &value, known) {
            mistakes.add(Place::of_key(key, Origin::of(&value)), message);
        }
    }
}

/// Warnings for variables such as `BEAMLINE_NATS_URL`, which are easily written for
/// `BEAMLINE__NATS__URL`. They are no mistakes, because a platform may set variables of that form
/// for its own ends.
pub(super) fn lookalikes(names: &[String], known: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in names {
        let plain = name.to_ascii_uppercase().replace("__", "_");
        let mut variables = known.iter().map(|key| variable_of(key));
        if let Some(variable) = variables.find(|variable| variable.replace("__", "_") == plain) {
            let name = OneLine(name);
            warnings.push(format!("{name} is not read; did you mean {variable}?"));
        }
    }
    warnings
}

const REMOVE: &str = "remove it";

fn message(key: &str, value: &Value, known: &[&str]) -> Option<String> {
    if known.contains(&key) {
        return Some(format!("{key} is a key, not a section; give it a value"));
    }
    if is_section(key, known) {
        let is_empty_section = matches!(value.kind, ValueKind::Table(_));
        let first = first_of(key, known);
        let message =
            format!("{key} is a section and takes no value; give one to its keys, such as {first}");
        return (!is_empty_section).then_some(message);
    }
    if let Origin::Environment(variable) = Origin::of(value) {
        let normal = variable.to_ascii_lowercase().replace("__", ".");
        let meant = meant(normal.strip_prefix("beamline.").unwrap_or(&normal), known);
        let advice = meant.map_or_else(
            || REMOVE.to_owned(),
            |key| format!("did you mean {}?", variable_of(key)),
        );
        return Some(format!("unknown variable; {advice}"));
    }
    let advice = meant(&key.to_ascii_lowercase(), known)
        .map_or_else(|| REMOVE.to_owned(), |key| format!("did you mean {key}?"));
    Some(format!("unknown key {}; {advice}", OneLine(key)))
}

/// A key that is spelled almost so, one that this one is written below, or one of the same name in
/// another section.
fn meant<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if let Some(near) = closest(key, known) {
        return Some(near);
    }
    let mut candidates = known.iter().copied();
    if let Some(above) = candidates.find(|candidate| is_in(key, candidate)) {
        return Some(above);
    }
    let mut candidates = known.iter().copied();
    candidates.find(|candidate| name_of(candidate) == name_of(key))
}

fn name_of(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn is_section(key: &str, known: &[&str]) -> bool {
    known.iter().any(|candidate| is_in(candidate, key))
}

fn first_of<'a>(section: &str, known: &[&'a str]) -> &'a str {
    let first = known.iter().find(|candidate| is_in(candidate, section));
    first.copied().unwrap_or_default()
}

fn is_in(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

//! The step form: one list of everything, in the order in which it runs.

use crate::document::{Mistakes, Object};
use beamline_contract::record::Kind;

const ACTIONS: &[(&str, Kind)] = &[
    ("extension_pre", Kind::Pre),
    ("extension_validator", Kind::Validator),
    ("select_provider", Kind::Provider),
    ("extension_post", Kind::Post),
];

/// The steps of each stage, without their `action`.
#[derive(Default)]
pub(super) struct Steps<'a> {
    /// Whether the document has any, even an empty list.
    pub(super) are_written: bool,
    pub(super) pre: Vec<Object<'a>>,
    pub(super) validators: Vec<Object<'a>>,
    pub(super) providers: Vec<Object<'a>>,
    pub(super) post: Vec<Object<'a>>,
}

pub(super) fn read<'a>(object: &mut Object<'a>, mistakes: &mut Mistakes) -> Steps<'a> {
    let mut steps = Steps {
        are_written: object.has("steps"),
        ..Steps::default()
    };
    let mut latest: Option<(&str, Kind)> = None;
    for (pointer, raw) in object.items("steps", mistakes) {
        let Some(mut step) = Object::read(raw, pointer, mistakes) else {
            continue;
        };
        let Some(kind) = read_action(&mut step, mistakes) else {
            continue;
        };
        match latest {
            Some((before, latest)) if rank(kind) < rank(latest) => mistakes.add(
                step.at("action"),
                format!(
                    "comes after {before}, but the router runs extension_pre, extension_validator, select_provider and \
                     extension_post in this order; move the step up"
                ),
            ),
            _ => latest = ACTIONS.iter().copied().find(|(_, known)| *known == kind),
        }
        match kind {
            Kind::Pre => steps.pre.push(step),
            Kind::Validator => steps.validators.push(step),
            Kind::Provider => steps.providers.push(step),
            Kind::Post => steps.post.push(step),
        }
    }
    steps
}

fn read_action(step: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<Kind> {
    if !step.has("action") {
        let actions: Vec<&str> = ACTIONS.iter().map(|(word, _)| *word).collect();
        mistakes.add(
            step.at("action"),
            format!("is required: one of {}", actions.join(", ")),
        );
    }
    step.choice("action", ACTIONS, mistakes)
}

fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Pre => 0,
        Kind::Validator => 1,
        Kind::Provider => 2,
        Kind::Post => 3,
    }
}

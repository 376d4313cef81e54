//! Reads a policy document in any of its forms, with all its mistakes at once.

use beamline_contract::mistake::Mistake;
use beamline_contract::policy::{DEFAULT_VERSION, Form};

use super::model::Policy;
use super::places::Places;
use crate::document::{Located, Mistakes, Object, check_json, located, mistake};
use crate::names::id_problem;

mod circles;
mod conditions;
mod fallbacks;
mod form;
mod listed;
mod providers;
mod settings;
mod stages;
mod steps;
mod terms;

use stages::Stage;

pub(super) const KEYS: &[&str] = &[
    "version",
    "policy_id",
    "pre",
    "validators",
    "providers",
    "post",
    "output_validators",
    "fallbacks",
    "sticky",
    "circuit_breaker",
    "metadata",
    "steps",
    "weights",
    "fallback",
    "defaults",
    "escalate_on",
    "$schema",
];

/// What somebody who is writing a document wants to know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// `None` when it is no object.
    pub form: Option<Form>,
    pub result: Result<Policy, Vec<Located>>,
    /// What can be meant, but probably is not.
    pub warnings: Vec<Located>,
}

/// Nobody mends more at once, and finding the place of each takes a walk through the text.
const MAX_CHECKED: usize = 1_000;

impl Policy {
    /// Reads a document as somebody wrote it, with all mistakes at once.
    pub fn parse(json: &str) -> Result<Self, Vec<Mistake>> {
        Self::read(json, Mistakes::default())
    }

    /// Reads a document that an earlier release may have accepted.
    pub fn parse_stored(json: &str) -> Result<Self, Vec<Mistake>> {
        Self::read(json, Mistakes::default().of_stored())
    }

    fn read(json: &str, mut mistakes: Mistakes) -> Result<Self, Vec<Mistake>> {
        let object = Object::parse(json, &mut mistakes);
        let policy = object.map(|object| read(object, &mut mistakes).0);
        mistakes.into_result(policy)
    }

    /// The same for somebody who has the text at hand: its form, and as good as all mistakes with
    /// line and column.
    pub fn check(json: &str) -> Checked {
        if let Err((mistake, position)) = check_json(json) {
            return Checked {
                form: None,
                result: Err(vec![Located { position, mistake }]),
                warnings: Vec::new(),
            };
        }
        let mut mistakes = Mistakes::up_to(MAX_CHECKED);
        let object = Object::parse(json, &mut mistakes);
        let read = object.map(|object| read(object, &mut mistakes));
        let warnings = read
            .as_ref()
            .map_or(&[][..], |(policy, _)| policy.warnings());
        Checked {
            form: read.as_ref().map(|(_, form)| *form),
            warnings: warnings
                .iter()
                .map(|warning| located(warning, json))
                .collect(),
            result: match read {
                Some((policy, _)) if mistakes.is_empty() => Ok(policy),
                _ => Err(mistakes.located_in(json)),
            },
        }
    }
}

fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> (Policy, Form) {
    let form = form::of(&object, providers::are_names(&object));
    let version = object
        .text("version", mistakes)
        .unwrap_or_else(|| DEFAULT_VERSION.to_owned());
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
    let output_validators = stages::validators(
        Stage::of(&mut object, "output_validators", Vec::new(), mistakes),
        mistakes,
    );
    let fallbacks = fallbacks::read(&mut object, &providers.items, mistakes);
    let sticky = settings::sticky(&mut object, mistakes);
    let circuit_breaker = settings::circuit_breaker(&mut object, mistakes);
    let metadata = object.fields("metadata", mistakes);
    settings::without_effect(&mut object, mistakes);
    // Where editors find the schema.
    object.text("$schema", mistakes);
    object.finish(KEYS, mistakes);
    let places = Places {
        pre: pre.places,
        validators: validators.places,
        providers: providers.places,
        post: post.places,
        output_validators: output_validators.places,
        fallbacks: fallbacks.places,
        warnings: mistakes.take_warnings().into_iter().map(mistake).collect(),
    };
    let policy = Policy {
        version,
        policy_id,
        pre: pre.items,
        validators: validators.items,
        providers: providers.items,
        order,
        post: post.items,
        output_validators: output_validators.items,
        fallbacks: fallbacks.items,
        sticky,
        circuit_breaker,
        metadata,
        places,
    };
    (policy, form)
}

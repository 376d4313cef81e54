//! Which form a document has, by its keys alone.

use beamline_contract::policy::Form;

use crate::document::Object;

const LISTS: [&str; 5] = ["pre", "validators", "providers", "post", "fallbacks"];

/// `names`: `providers` lists names.
pub(super) fn of(object: &Object<'_>, names: bool) -> Form {
    let has_lists = LISTS.iter().any(|key| object.has(key));
    match (object.has("steps"), object.has("weights")) {
        (true, false) if !has_lists => Form::Steps,
        (false, true) if !has_lists && !object.has("circuit_breaker") => Form::Weights,
        (false, false) if object.has("fallback") => Form::Mixture,
        (false, false) if names => Form::Names,
        (false, false) => Form::Canonical,
        _ => Form::Mixture,
    }
}

//! Keys that must equal the request's.

use crate::conditions::Conditions;
use crate::document::{Mistakes, Object, items};
use beamline_contract::limits::MAX_CONDITIONS;
use serde_json::value::RawValue;

/// All keys that are left of an object. Sorted, because the order of conditions says nothing.
pub(super) fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Conditions {
    let mut conditions = Conditions::default();
    let pointer = object.pointer().to_owned();
    let mut rest = object.rest();
    if rest.len() > MAX_CONDITIONS {
        let message = format!(
            "has {} conditions; at most {MAX_CONDITIONS} are read",
            rest.len()
        );
        mistakes.add(pointer, message);
        return conditions;
    }
    rest.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    for (key, raw, pointer) in rest {
        let fits = !raw.get().starts_with('[')
            || is_empty_list(raw)
            || !items(raw, &pointer, mistakes).is_empty();
        if fits {
            conditions.read(key, raw, &pointer, mistakes);
        }
    }
    conditions
}

pub(super) fn is_empty_list(raw: &RawValue) -> bool {
    serde_json::from_str::<[(); 0]>(raw.get()).is_ok()
}

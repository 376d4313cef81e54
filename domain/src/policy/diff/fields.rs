//! Free-form objects: which keys differ in what they mean.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::changes::{ChangeKind, Changes};
use crate::document::shorten;
use beamline_contract::fields::Fields;

/// `title` is how the sentence calls the object.
pub(super) fn diff(what: &str, title: &str, old: &Fields, new: &Fields, changes: &mut Changes) {
    let keys: BTreeSet<&str> = old.iter().chain(new.iter()).map(|(key, _)| key).collect();
    for key in keys {
        let shown_key = shorten(key);
        let shown = |raw: &RawValue| shorten(raw.get());
        let sentence = match (old.get(key), new.get(key)) {
            (Some(was), Some(now)) if same(was, now) => continue,
            (Some(was), Some(now)) => {
                format!("{title}: {shown_key} {} -> {}", shown(was), shown(now))
            }
            (None, Some(now)) => format!("{title}: {shown_key} is new, {}", shown(now)),
            (Some(was), None) => format!("{title}: {shown_key} is gone, it was {}", shown(was)),
            (None, None) => continue,
        };
        changes.push(ChangeKind::Changed, what, sentence);
    }
}

/// Whether two values mean the same: space and the order of keys say nothing, every digit of a
/// number does.
fn same(a: &RawValue, b: &RawValue) -> bool {
    let a = a.get();
    let b = b.get();
    if a == b {
        return true;
    }
    if let (Ok(a), Ok(b)) = (Fields::parse(a), Fields::parse(b)) {
        return a.len() == b.len()
            && a.iter()
                .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)));
    }
    if let (Ok(a), Ok(b)) = (
        serde_json::from_str::<Vec<&RawValue>>(a),
        serde_json::from_str::<Vec<&RawValue>>(b),
    ) {
        return a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b));
    }
    match (
        serde_json::from_str::<String>(a),
        serde_json::from_str::<String>(b),
    ) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

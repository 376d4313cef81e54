//! `when` and `timeout_ms` of an entry.

use std::time::Duration;

use serde_json::value::RawValue;

use super::conditions;
use crate::document::{Mistakes, Object, kind_of};
use crate::policy::logic::Logic;
use crate::policy::{EntryWhen, Terms};
use beamline_contract::limits::RECORD_TIMEOUT_MS;

pub(super) fn read(entry: &mut Object<'_>, mistakes: &mut Mistakes) -> Terms {
    let pointer = entry.at("when");
    let when = entry
        .take("when")
        .and_then(|raw| read_when(raw, pointer, mistakes));
    Terms {
        when,
        timeout: timeout(entry, mistakes),
    }
}

pub(super) fn timeout(entry: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<Duration> {
    entry.milliseconds("timeout_ms", RECORD_TIMEOUT_MS, mistakes)
}

/// An empty object is always met.
fn read_when(raw: &RawValue, pointer: String, mistakes: &mut Mistakes) -> Option<EntryWhen> {
    if !raw.get().starts_with('{') {
        let message = format!(
            "must be an object of conditions, {{\"lang\": \"en\"}} or {{\"==\": [{{\"var\": \"context.lang\"}}, \"en\"]}} for \
             example, is {}",
            kind_of(raw)
        );
        mistakes.add(pointer, message);
        return None;
    }
    if Logic::is_meant(raw) {
        let logic = Logic::read(raw, &pointer, mistakes)?;
        return Some(EntryWhen::Logic(logic, raw.to_owned()));
    }
    let object = Object::read(raw, pointer, mistakes)?;
    for key in object.keys() {
        refuse_slip(&key, &object, mistakes);
    }
    let read = conditions::read(object, mistakes);
    (!read.is_empty()).then_some(EntryWhen::Equal(read))
}

/// Words of the router, and operators of other languages: a slip in one of them would be a context
/// key that nobody has, and the entry would never run.
fn refuse_slip(key: &str, object: &Object<'_>, mistakes: &mut Mistakes) {
    const WORDS: [&str; 6] = [
        "tenant",
        "tenant_id",
        "policy",
        "policy_id",
        "environment",
        "message_type",
    ];
    const OPERATORS: [(&str, &str); 10] = [
        ("===", "=="),
        ("!==", "!="),
        ("eq", "=="),
        ("ne", "!="),
        ("lt", "<"),
        ("lte", "<="),
        ("gt", ">"),
        ("gte", ">="),
        ("not", "!"),
        ("&&", "and"),
    ];
    let near = |word: &&&str| **word != key && strsim::damerau_levenshtein(word, key) <= 1;
    let of_ours = || WORDS.iter().find(near).filter(|_| !WORDS.contains(&key));
    let operator = OPERATORS.iter().find(|(other, _)| *other == key);
    let meant = operator
        .map(|(_, ours)| *ours)
        .or_else(|| of_ours().copied());
    if let Some(meant) = meant {
        let message = format!("is no condition on a request; did you mean {meant}?");
        mistakes.add(object.at(key), message);
    }
}

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
    let read = conditions::read(object, mistakes);
    (!read.is_empty()).then_some(EntryWhen::Equal(read))
}

//! The body of a request, as bytes and as an object.

use beamline_contract::admin::{API_KEY, IF_REVISION};
use beamline_contract::fields::Fields;
use beamline_domain::document::{Mistakes, Object, shorten};

use super::refusal::Refusal;

/// An object, or nothing at all.
pub(super) fn read(payload: &[u8]) -> Result<Fields, Refusal> {
    if payload.is_empty() {
        return Ok(Fields::default());
    }
    let json = std::str::from_utf8(payload)
        .map_err(|_| Refusal::invalid("The body is not valid UTF-8."))?;
    let mut mistakes = Mistakes::default();
    let object = Object::parse(json, &mut mistakes);
    let fields = object.and_then(|_| Fields::parse(json).ok());
    mistakes
        .into_result(fields)
        .map_err(|mistakes| Refusal::mistakes("body", &mistakes))
}

/// A document whose mistakes are all told at once. `what` names it in the refusal.
pub(super) fn read_document<T>(
    body: &Fields,
    what: &str,
    read: impl FnOnce(Object<'_>, &mut Mistakes) -> Option<T>,
) -> Result<T, Refusal> {
    let json = body.to_json();
    let mut mistakes = Mistakes::default();
    let document =
        Object::parse(&json, &mut mistakes).and_then(|object| read(object, &mut mistakes));
    mistakes
        .into_result(document)
        .map_err(|mistakes| Refusal::mistakes(what, &mistakes))
}

/// The text of a required field.
pub(super) fn required(body: &Fields, field: &str) -> Result<String, Refusal> {
    body.text(field).ok_or_else(|| Refusal::missing_text(field))
}

/// What an operation reads of a body: the key that opened the door is no part of it, nor what every
/// write may say.
pub(super) fn of_operation(body: &Fields) -> Fields {
    let rest = without(API_KEY, body);
    without(IF_REVISION, &rest)
}

/// The revision up to which whoever writes knows the object.
pub(super) fn if_revision(body: &Fields) -> Result<Option<u64>, Refusal> {
    let Some(raw) = body.get(IF_REVISION) else {
        return Ok(None);
    };
    serde_json::from_str(raw.get()).map_err(|_| {
        Refusal::invalid(format!(
            "/{IF_REVISION} must be a whole number, is {}.",
            shorten(raw.get())
        ))
    })
}

pub(super) fn without(field: &str, body: &Fields) -> Fields {
    body.iter()
        .filter(|(known, _)| *known != field)
        .map(|(field, raw)| (field.to_owned(), raw.to_owned()))
        .collect()
}

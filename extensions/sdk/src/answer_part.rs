//! One field of an answer, in the raw form in which the contract keeps it.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::Error;
use serde_json::value::{RawValue, to_raw_value};

/// # Errors
/// When the value has no JSON form.
pub(crate) fn part<E: Error>(
    value: &(impl Serialize + ?Sized),
) -> Result<Cow<'static, RawValue>, E> {
    to_raw_value(value).map(Cow::Owned).map_err(E::custom)
}

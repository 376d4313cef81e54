//! Who may administrate: whoever has the key, where one is configured.

use beamline_contract::admin::API_KEY;
use beamline_contract::fields::Fields;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::caller::Caller;
use super::refusal::Refusal;

/// The key may come beside the body, or in it.
pub(super) fn check(
    key: Option<&SecretString>,
    caller: &Caller,
    body: &Fields,
) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let given = match &caller.key {
        Some(given) => given.expose_secret().to_owned(),
        None => body.text(API_KEY).unwrap_or_default(),
    };
    // Compared in constant time, so that the answer's delay tells nothing about the key.
    let is_same = given.as_bytes().ct_eq(key.expose_secret().as_bytes());
    if bool::from(is_same) {
        Ok(())
    } else if given.is_empty() {
        Err(Refusal::unauthorized())
    } else {
        Err(Refusal::wrong_key())
    }
}

//! Who may administrate: whoever has the key, where one is configured.

use async_nats::Message;
use beamline_bus::headers;
use beamline_contract::fields::Fields;
use beamline_contract::header;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;

/// The key may come as `Authorization: Bearer` or as `api_key` in the body.
pub(super) fn check(
    key: Option<&SecretString>,
    message: &Message,
    body: &Fields,
) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let header = message
        .headers
        .as_ref()
        .and_then(|all| headers::text(all, header::AUTHORIZATION));
    let bearer = header
        .and_then(|text| text.strip_prefix("Bearer "))
        .map(str::to_owned);
    let given = bearer.or_else(|| body.text("api_key")).unwrap_or_default();
    // Compared in constant time, so that the answer's delay tells nothing about the key.
    let same = given.as_bytes().ct_eq(key.expose_secret().as_bytes());
    match (bool::from(same), given.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::unauthorized()),
        (false, false) => Err(Refusal::wrong_key()),
    }
}

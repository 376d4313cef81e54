//! `mask_pii`: replaces personal data in what a provider answered.

use beamline_extension::{CallContext, Edit, Failure, Message, RawValue};
use serde::Deserialize;
use serde_json::json;

use crate::pii::{Kinds, Style, mask_payload};

/// The kinds stand beside the style, as for `pii_guard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub style: Style,
    pub card: bool,
    pub email: bool,
    pub phone: bool,
    pub iban: bool,
    pub ssn: bool,
}

impl Default for Config {
    fn default() -> Self {
        let Kinds {
            card,
            email,
            phone,
            iban,
            ssn,
        } = Kinds::default();
        Self {
            style: Style::default(),
            card,
            email,
            phone,
            iban,
            ssn,
        }
    }
}

impl Config {
    fn kinds(&self) -> Kinds {
        Kinds {
            card: self.card,
            email: self.email,
            phone: self.phone,
            iban: self.iban,
            ssn: self.ssn,
        }
    }
}

/// # Errors
/// `invalid_config`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Edit, Failure> {
    let config: Config = call.config()?;
    let Some(masked) = mask_payload(message.payload.get(), &config.kinds(), config.style) else {
        return Ok(Edit::unchanged());
    };
    let payload = RawValue::from_string(masked.json)
        .map_err(|_| Failure::internal("the new payload is no JSON"))?;
    Ok(Edit::replace(Message { payload, ..message })
        .with_metadata("mask_pii", &json!({"masked": masked.counts})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs() {
        let config: Config = serde_json::from_str(r#"{"style":"partial","ssn":false}"#).unwrap();
        assert_eq!(
            config,
            Config {
                style: Style::Partial,
                ssn: false,
                ..Config::default()
            }
        );
        for invalid in [r#"{"style":"blur"}"#, r#"{"kinds":[]}"#, r#"{"card":"no"}"#] {
            assert!(
                serde_json::from_str::<Config>(invalid).is_err(),
                "{invalid}"
            );
        }
    }
}

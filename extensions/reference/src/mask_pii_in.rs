//! `mask_pii_in`: replaces personal data in a message with placeholders, and notes what they stand
//! for. `mask_pii` of the same program puts it back into the answer.

use beamline_extension::{CallContext, Edit, Failure, MAX_NOTES, Message, RawValue};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::json;

use crate::pii::options::{self, Regions};
use crate::pii::{Detector, Kind, Kinds, Placeholders};

/// As for `pii_guard`: what to look for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub card: bool,
    pub email: bool,
    pub phone: bool,
    pub iban: bool,
    pub ssn: bool,
    /// Only these kinds; all that are on when absent.
    pub patterns: Option<Vec<Kind>>,
    pub(crate) regions: Option<Regions>,
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
            card,
            email,
            phone,
            iban,
            ssn,
            patterns: None,
            regions: None,
        }
    }
}

impl Config {
    fn detector(&self) -> Detector {
        let kinds = Kinds {
            card: self.card,
            email: self.email,
            phone: self.phone,
            iban: self.iban,
            ssn: self.ssn,
        };
        options::detector(kinds, self.patterns.as_deref(), self.regions.as_ref())
    }
}

/// Of what [`Config`] reads.
pub fn config_schema() -> Schema {
    schema_for!(Config)
}

/// # Errors
/// `invalid_config`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Edit, Failure> {
    let config: Config = call.config()?;
    let mut placeholders = Placeholders::beside(message.payload.get(), MAX_NOTES);
    let masked = config
        .detector()
        .mask_payload(message.payload.get(), |piece| {
            placeholders.replacement(piece)
        });
    let Some(masked) = masked else {
        return Ok(Edit::unchanged());
    };
    let payload = RawValue::from_string(masked.json)
        .map_err(|_| Failure::internal("the new payload is no JSON"))?;
    let told = json!({"masked": masked.counts, "without_placeholder": placeholders.beyond()});
    Edit::replace(Message { payload, ..message })
        .with_metadata("mask_pii_in", &told)
        .with_notes(placeholders.replaced())
}

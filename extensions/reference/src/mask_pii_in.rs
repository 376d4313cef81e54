//! `mask_pii_in`: replaces personal data in a message with placeholders, and notes what they stand
//! for. `mask_pii` of the same program puts it back into the answer.

use beamline_extension::{CallContext, Edit, Failure, MAX_NOTES, Message, RawValue};
use serde_json::json;

use crate::pii::Placeholders;
/// What to look for.
pub use crate::pii_guard::{Config, config_schema};

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

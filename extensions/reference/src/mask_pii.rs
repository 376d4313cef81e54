//! `mask_pii`: replaces personal data in what a provider answered, and puts back what
//! `mask_pii_in` took out of the message.

use beamline_extension::{CallContext, Edit, Failure, Fields, Message, RawValue};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::pii::options::{self, Regions};
use crate::pii::{Counts, Detector, Kind, Kinds, Piece, Replaced, Style};

/// The kinds stand beside the style, as for `pii_guard`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub style: Style,
    /// What takes the place of each find, instead of the style's label; `{kind}` in it is the kind.
    #[serde(deserialize_with = "text_of_replacement")]
    #[schemars(length(max = LONGEST_REPLACEMENT))]
    pub with: Option<String>,
    /// Whether what `mask_pii_in` replaced is put back.
    pub restore: bool,
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
            style: Style::default(),
            with: None,
            restore: false,
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
    pub fn detector(&self) -> Detector {
        let kinds = Kinds {
            card: self.card,
            email: self.email,
            phone: self.phone,
            iban: self.iban,
            ssn: self.ssn,
        };
        options::detector(kinds, self.patterns.as_deref(), self.regions.as_ref())
    }

    /// What takes the place of a find.
    pub fn replacement(&self, piece: &Piece<'_>) -> String {
        match &self.with {
            Some(with) => with.replace("{kind}", piece.kind.name()),
            None => self.style.replacement(piece),
        }
    }
}

const LONGEST_REPLACEMENT: usize = 64;

/// Each find is replaced by it, so a long one would make a message many times larger.
fn text_of_replacement<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let with: Option<String> = Option::deserialize(deserializer)?;
    match with {
        Some(with) if with.chars().count() > LONGEST_REPLACEMENT => {
            let limit = format!("expected at most {LONGEST_REPLACEMENT} characters");
            Err(serde::de::Error::custom(limit))
        }
        with => Ok(with),
    }
}

/// Of what [`Config`] reads.
pub fn config_schema() -> Schema {
    schema_for!(Config)
}

/// What the model makes up is masked, then what it was not shown is put back.
///
/// # Errors
/// `invalid_config`, `invalid_notes`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Edit, Failure> {
    let config: Config = call.config()?;
    let replaced: Option<Replaced> = match config.restore {
        true => call.notes_as()?,
        false => None,
    };
    let detector = config.detector();
    let mut counts = Counts::new();
    let mut mask = |json: &str| {
        let masked = detector.mask_payload(json, |piece| config.replacement(piece))?;
        for (kind, count) in masked.counts {
            *counts.entry(kind).or_default() += count;
        }
        Some(masked.json)
    };
    let masked = mask(message.payload.get());
    let metadata = message.metadata.to_json();
    let metadata: Option<Fields> = match mask(&metadata) {
        Some(json) => Some(
            serde_json::from_str(&json)
                .map_err(|_| Failure::internal("the new metadata is no object"))?,
        ),
        None => None,
    };
    let output = masked.as_deref().unwrap_or(message.payload.get());
    let restored = replaced.and_then(|replaced| replaced.put_back(output));
    let count = restored.as_ref().map_or(0, |restored| restored.count);
    let changed = restored.map(|restored| restored.json).or(masked);
    if changed.is_none() && metadata.is_none() {
        return Ok(Edit::unchanged());
    }
    let payload = match changed {
        Some(json) => RawValue::from_string(json)
            .map_err(|_| Failure::internal("the new payload is no JSON"))?,
        None => message.payload,
    };
    let told = match count {
        0 => json!({"masked": counts}),
        _ => json!({"masked": counts, "restored": count}),
    };
    let edited = Message {
        payload,
        metadata: metadata.unwrap_or(message.metadata),
        message_id: message.message_id,
        message_type: message.message_type,
    };
    Ok(Edit::replace(edited).with_metadata("mask_pii", &told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(config: &str, text: &str) -> String {
        let config: Config = serde_json::from_str(config).unwrap();
        let masked = config
            .detector()
            .mask_text(text, |piece| config.replacement(piece));
        masked.map_or_else(|| text.to_owned(), |(masked, _)| masked)
    }

    #[test]
    fn configs() {
        let text = "jane@example.com, 0171 2345678, 612 345 678";
        for (config, expected) in [
            ("{}", "[EMAIL], [PHONE], [PHONE]"),
            (r#"{"with": "***"}"#, "***, ***, ***"),
            (r#"{"with": "<{kind}>"}"#, "<email>, <phone>, <phone>"),
            (r#"{"with": ""}"#, ", , "),
            (
                r#"{"patterns": ["email"]}"#,
                "[EMAIL], 0171 2345678, 612 345 678",
            ),
            (
                r#"{"patterns": ["email", "phone"], "phone": false}"#,
                "[EMAIL], 0171 2345678, 612 345 678",
            ),
            (r#"{"regions": ["DE"]}"#, "[EMAIL], [PHONE], 612 345 678"),
            (r#"{"regions": []}"#, "[EMAIL], 0171 2345678, 612 345 678"),
            (
                r#"{"style": "partial", "phone": false}"#,
                "****@******e.com, 0171 2345678, 612 345 678",
            ),
        ] {
            assert_eq!(masked(config, text), expected, "{config}");
        }
    }

    #[test]
    fn a_replacement_that_looks_like_data_goes_too() {
        assert_eq!(
            masked(r#"{"with": "x@example.org"}"#, "jane@example.com"),
            "*".repeat(13)
        );
    }

    #[test]
    fn invalid_configs() {
        let long = format!(r#"{{"with":"{}"}}"#, "x".repeat(65));
        for invalid in [
            r#"{"style":"blur"}"#,
            r#"{"kinds":[]}"#,
            r#"{"card":"no"}"#,
            r#"{"with":1}"#,
            r#"{"patterns":["mail"]}"#,
            r#"{"regions":["Germany"]}"#,
            &long,
        ] {
            assert!(
                serde_json::from_str::<Config>(invalid).is_err(),
                "{invalid}"
            );
        }
    }
}

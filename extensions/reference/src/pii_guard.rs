//! `pii_guard`: rejects messages that hold personal data, saying what kind and where but never
//! repeating it.

use beamline_extension::{CallContext, Failure, Message, Verdict};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::json;

use crate::pii::options::{self, Regions};
use crate::pii::{Detector, Kind, Kinds};

/// More would only make the answer long.
const MAX_LOCATIONS: usize = 20;

/// What to reject.
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
}

/// Of what [`Config`] reads.
pub fn config_schema() -> Schema {
    schema_for!(Config)
}

/// # Errors
/// `invalid_config`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Verdict, Failure> {
    let config: Config = call.config()?;
    Ok(judge(message.payload.get(), &config.detector()))
}

fn judge(json: &str, detector: &Detector) -> Verdict {
    let findings = detector.inspect_payload(json, MAX_LOCATIONS);
    if findings.counts.is_empty() {
        return Verdict::Ok;
    }
    Verdict::reject_with(
        "pii_detected",
        json!({"kinds": findings.counts, "locations": findings.locations}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_payload_is_ok() {
        for json in [
            r#""hello""#,
            "null",
            "12",
            r#"{"order": "2024-0012345", "total": 4111111111111112}"#,
        ] {
            assert_eq!(judge(json, &Detector::default()), Verdict::Ok, "{json}");
        }
    }

    #[test]
    fn a_rejection_names_kinds_and_places_and_nothing_else() {
        let json = concat!(
            r#"{"a":["jane@example.com or joe@example.org",{"n":4111111111111111}],"#,
            r#""bob@example.net":"jim@example.net"}"#
        );
        let verdict = serde_json::to_string(&judge(json, &Detector::default())).unwrap();
        assert_eq!(
            verdict,
            concat!(
                r#"{"status":"reject","reason":"pii_detected","details":"#,
                r#"{"kinds":{"card":1,"email":3},"locations":["/a/0","/a/1/n","/[EMAIL]"]}}"#
            )
        );
    }

    #[test]
    fn places_are_capped_and_counts_are_not() {
        let json = serde_json::to_string(&vec!["jane@example.com"; 100]).unwrap();
        let Verdict::Reject { details, .. } = judge(&json, &Detector::default()) else {
            panic!("not rejected")
        };
        assert_eq!(details["kinds"]["email"], 100);
        assert_eq!(
            details["locations"].as_array().unwrap().len(),
            MAX_LOCATIONS
        );
    }

    #[test]
    fn kinds_can_be_chosen() {
        for (config, rejected) in [
            ("{}", true),
            (r#"{"email": false}"#, false),
            (r#"{"email": false, "patterns": ["email"]}"#, false),
            (r#"{"patterns": ["email", "iban"]}"#, true),
            (r#"{"patterns": ["iban"]}"#, false),
            (r#"{"patterns": []}"#, false),
        ] {
            let config: Config = serde_json::from_str(config).unwrap();
            let verdict = judge(r#""jane@example.com""#, &config.detector());
            assert_eq!(verdict != Verdict::Ok, rejected, "{config:?}");
        }
        for invalid in [
            r#"{"emails":false}"#,
            r#"{"patterns":["mail"]}"#,
            r#"{"regions":["ZZ"]}"#,
        ] {
            assert!(
                serde_json::from_str::<Config>(invalid).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn regions_narrow_what_is_a_phone_number() {
        let judged = |config: &str, text: &str| {
            let config: Config = serde_json::from_str(config).unwrap();
            judge(&json!(text).to_string(), &config.detector())
        };
        assert_eq!(
            judged(r#"{"regions": ["US"]}"#, "0171 2345678"),
            Verdict::Ok
        );
        assert_ne!(
            judged(r#"{"regions": ["US", "de"]}"#, "0171 2345678"),
            Verdict::Ok
        );
        assert_ne!(
            judged(r#"{"regions": ["US"]}"#, "+49 171 2345678"),
            Verdict::Ok
        );
    }
}

//! `pii_guard`: rejects messages that hold personal data, saying what kind and where but never
//! repeating it.

use beamline_extension::{CallContext, Failure, Message, Verdict};
use serde_json::json;

use crate::pii::{Kinds, inspect_payload};

/// More would only make the answer long.
const MAX_LOCATIONS: usize = 20;

/// # Errors
/// `invalid_config`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Verdict, Failure> {
    let wanted: Kinds = call.config()?;
    Ok(judge(message.payload.get(), &wanted))
}

fn judge(json: &str, wanted: &Kinds) -> Verdict {
    let findings = inspect_payload(json, wanted, MAX_LOCATIONS);
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
            assert_eq!(judge(json, &Kinds::default()), Verdict::Ok, "{json}");
        }
    }

    #[test]
    fn a_rejection_names_kinds_and_places_and_nothing_else() {
        let json = concat!(
            r#"{"a":["jane@example.com or joe@example.org",{"n":4111111111111111}],"#,
            r#""bob@example.net":"jim@example.net"}"#
        );
        let verdict = serde_json::to_string(&judge(json, &Kinds::default())).unwrap();
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
        let Verdict::Reject { details, .. } = judge(&json, &Kinds::default()) else {
            panic!("not rejected")
        };
        assert_eq!(details["kinds"]["email"], 100);
        assert_eq!(
            details["locations"].as_array().unwrap().len(),
            MAX_LOCATIONS
        );
    }

    #[test]
    fn a_kind_can_be_switched_off() {
        let wanted = Kinds {
            email: false,
            ..Kinds::default()
        };
        assert_eq!(judge(r#""jane@example.com""#, &wanted), Verdict::Ok);
        assert_eq!(
            serde_json::from_str::<Kinds>(r#"{"email":false}"#).unwrap(),
            wanted
        );
        assert!(serde_json::from_str::<Kinds>(r#"{"emails":false}"#).is_err());
    }
}

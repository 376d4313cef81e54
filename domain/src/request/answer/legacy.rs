//! Error answers for gateways that know fewer codes (contract section 1, `router.legacy_codes`).

use beamline_contract::error::ErrorCode;
use beamline_contract::fields::Fields;
use bytes::Bytes;
use serde_json::value::to_raw_value;

/// The code that such a gateway knows in the place of a newer one.
fn older(code: &str) -> Option<ErrorCode> {
    Some(match ErrorCode::parse(code)? {
        ErrorCode::PreProcessorFailed | ErrorCode::PostProcessorFailed => ErrorCode::Internal,
        ErrorCode::DeadlineExceeded
        | ErrorCode::ExtensionTimeout
        | ErrorCode::RateLimited
        | ErrorCode::Overloaded
        | ErrorCode::BusUnavailable
        | ErrorCode::ShuttingDown => ErrorCode::ExtensionUnavailable,
        ErrorCode::InvalidRequest
        | ErrorCode::Unauthorized
        | ErrorCode::ValidatorBlocked
        | ErrorCode::PolicyNotFound
        | ErrorCode::ExtensionNotFound
        | ErrorCode::ExtensionError
        | ErrorCode::DecisionFailed
        | ErrorCode::Internal
        | ErrorCode::ExtensionUnavailable => return None,
    })
}

/// The same answer with the older code, and the true one in `details.code`. `code` is the answer's.
pub fn with_older_code(answer: Bytes, code: &str) -> Bytes {
    let Some(older) = older(code) else {
        return answer;
    };
    rewritten(&answer, code, older).unwrap_or(answer)
}

fn rewritten(answer: &[u8], code: &str, older: ErrorCode) -> Option<Bytes> {
    let mut answer = Fields::parse(std::str::from_utf8(answer).ok()?).ok()?;
    let mut error = Fields::parse(answer.get("error")?.get()).ok()?;
    let details = error.get("details").map(|raw| Fields::parse(raw.get()));
    let mut details = details.and_then(Result::ok).unwrap_or_default();
    details.set_text("code", code);
    error.set("details", to_raw_value(&details).ok()?);
    error.set_text("code", older.as_str());
    answer.set("error", to_raw_value(&error).ok()?);
    Some(Bytes::from(answer.to_json()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_an_older_gateway_does_not_know_are_ones_that_it_does() {
        for (code, want) in [
            ("post_processor_failed", "internal"),
            ("deadline_exceeded", "extension_unavailable"),
            ("rate_limited", "extension_unavailable"),
            ("shutting_down", "extension_unavailable"),
        ] {
            let answer = format!(
                r#"{{"ok":false,"error":{{"code":"{code}","message":"m","details":{{"n":1.50}}}},"context":{{}}}}"#
            );
            let told = with_older_code(Bytes::from(answer), code);
            let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
            assert_eq!(told["error"]["code"], want);
            assert_eq!(told["error"]["details"]["code"], code);
            assert_eq!(told["error"]["details"]["n"].to_string(), "1.5");
            assert_eq!(told["error"]["message"], "m");
        }
    }

    #[test]
    fn all_else_is_left_as_it_is() {
        let answer = Bytes::from_static(br#"{"ok":false,"error":{"code":"validator_blocked"}}"#);
        for code in ["validator_blocked", "ok", "from_the_future"] {
            assert_eq!(with_older_code(answer.clone(), code), answer);
        }
        let odd = Bytes::from_static(b"nonsense");
        assert_eq!(with_older_code(odd.clone(), "overloaded"), odd);
    }
}

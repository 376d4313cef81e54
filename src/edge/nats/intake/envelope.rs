//! What the headers and the subject of a request say of it before its body is looked at.

use async_nats::HeaderMap;
use beamline_bus::headers::{self, MOST_BYTES, MOST_HEADERS};
use beamline_contract::error::IntakeCode;
use beamline_contract::header;
use beamline_domain::document::shorten;
use beamline_domain::request::error::RequestError;
use beamline_domain::tenant_ids::is_token;

/// Two of these would leave it to chance who asks, and for whom.
const ONCE: [&str; 3] = [header::TENANT_ID, header::TRACE_ID, header::AUTHORIZATION];

/// Why these headers cannot be read, if they cannot.
pub(super) fn unreadable(given: &HeaderMap) -> Option<RequestError> {
    if !headers::are_readable(given) {
        let sentence = format!(
            "The request has more than {MOST_HEADERS} headers, or more than {MOST_BYTES} bytes of them."
        );
        let code = IntakeCode::SchemaValidationFailed;
        return Some(RequestError::invalid(code, "", sentence));
    }
    let name = ONCE
        .into_iter()
        .find(|name| headers::is_repeated(given, name))?;
    let sentence =
        format!("The header {name} is given more than once, in one spelling or in several.");
    let code = IntakeCode::CorrelationFieldsInvalid;
    Some(RequestError::invalid(code, "", sentence).with("header", name))
}

/// Why a request on the subject of this tenant cannot be served, if it cannot.
pub(super) fn bound_to(tenant: &str, given: Option<&HeaderMap>) -> Option<RequestError> {
    if !is_token(tenant) {
        let sentence = format!(
            "The last part of the subject is the tenant: up to 64 letters, digits, \"-\" and \"_\", the first \
             a letter or digit, not \"{}\".",
            shorten(tenant)
        );
        let code = IntakeCode::CorrelationFieldsInvalid;
        return Some(RequestError::invalid(code, "", sentence));
    }
    let named = headers::text(given?, header::TENANT_ID)?;
    (named != tenant).then(|| {
        RequestError::tenant_forbidden(format!(
            "The subject names the tenant {tenant}, and the header tenant_id another."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use beamline_contract::error::ErrorCode;

    fn with(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        map
    }

    #[test]
    fn nobody_is_two_tenants() {
        for twice in [
            [("tenant_id", "acme"), ("TENANT_ID", "evil")],
            [("tenant_id", "acme"), ("tenant_id", "evil")],
            [("Trace_Id", "1"), ("trace_id", "2")],
            [("authorization", "Bearer a"), ("Authorization", "Bearer b")],
        ] {
            let error = unreadable(&with(&twice)).expect("refused");
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{twice:?}");
            assert!(
                error.message.contains("more than once"),
                "{}",
                error.message
            );
        }
        let fine = with(&[
            ("tenant_id", "acme"),
            ("x-tenant_id", "b"),
            ("a", "1"),
            ("a", "2"),
        ]);
        assert!(unreadable(&fine).is_none());
    }

    #[test]
    fn headers_without_end_are_not_read() {
        let long = "x".repeat(MOST_BYTES);
        assert!(unreadable(&with(&[("a", &long)])).is_some());
    }

    #[test]
    fn the_subject_and_nothing_else_names_the_tenant() {
        assert!(bound_to("acme", None).is_none());
        assert!(bound_to("acme", Some(&with(&[("Tenant_Id", "acme")]))).is_none());
        let other = bound_to("acme", Some(&with(&[("tenant_id", "evil")]))).expect("refused");
        assert_eq!(other.code, ErrorCode::Unauthorized);
        assert_eq!(other.intake_code, Some(IntakeCode::TenantForbidden));
        let long = "a".repeat(65);
        for tenant in [
            "",
            "-a",
            "_a",
            "a b",
            "a\u{200b}",
            "\u{430}cme",
            "*",
            ">",
            &long,
        ] {
            let error = bound_to(tenant, None).expect("refused");
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{tenant}");
        }
    }
}

//! Errors as problem details (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What went wrong. Without a `type`, the title is that of the status.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    title: &'static str,
    status: u16,
    detail: &'static str,
    #[serde(skip)]
    code: StatusCode,
}

impl Problem {
    /// `detail` says what to do.
    pub(super) fn new(code: StatusCode, detail: &'static str) -> Self {
        Self {
            title: code.canonical_reason().unwrap_or("Error"),
            status: code.as_u16(),
            detail,
            code,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (
            self.code,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response()
    }
}

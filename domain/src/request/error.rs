//! Why a request gets an error answer: the codes of contract section 1, and what goes with them.

use std::time::Duration;

use serde_json::{Map, Value};

use beamline_contract::details::{POINTER, RETRY_AFTER_MS};
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::record::Kind;

/// An error answer in the making. The sentence says what to do next where there is something to do.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestError {
    pub code: ErrorCode,
    pub message: String,
    pub intake_code: Option<IntakeCode>,
    /// What `error.details` carries besides the time, the policy and the tenant.
    pub details: Map<String, Value>,
}

impl RequestError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            intake_code: None,
            details: Map::new(),
        }
    }

    /// A request that cannot be taken; `pointer` is the JSON pointer of the field.
    pub fn invalid(intake_code: IntakeCode, pointer: &str, message: impl Into<String>) -> Self {
        let error = Self {
            intake_code: Some(intake_code),
            ..Self::new(ErrorCode::InvalidRequest, message)
        };
        if pointer.is_empty() {
            error
        } else {
            error.with(POINTER, pointer)
        }
    }

    /// The caller may not ask for this tenant.
    pub fn tenant_forbidden(message: impl Into<String>) -> Self {
        Self {
            intake_code: Some(IntakeCode::TenantForbidden),
            ..Self::new(ErrorCode::Unauthorized, message)
        }
    }

    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(ErrorCode::Overloaded, message).retry_after(Some(retry_after))
    }

    pub fn rate_limited(retry_after: Duration) -> Self {
        let sentence = "This tenant sends more requests than it may; send it again after the time in retry_after_ms.";
        Self::new(ErrorCode::RateLimited, sentence).retry_after(Some(retry_after))
    }

    pub fn internal() -> Self {
        Self::new(
            ErrorCode::Internal,
            "The router failed while it worked on this request; the same request may succeed now.",
        )
    }

    pub fn shutting_down() -> Self {
        Self::new(
            ErrorCode::ShuttingDown,
            "This router is shutting down; send the request again.",
        )
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// Names the stage in which the request's time was over; other errors stay as they are.
    pub fn at_stage(self, kind: Kind) -> Self {
        if self.code == ErrorCode::DeadlineExceeded {
            self.with("stage", kind.as_str())
        } else {
            self
        }
    }

    pub fn retry_after(self, after: Option<Duration>) -> Self {
        match after {
            Some(after) => self.with(
                RETRY_AFTER_MS,
                u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            ),
            None => self,
        }
    }
}

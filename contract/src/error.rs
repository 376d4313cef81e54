//! The codes of error answers (contract section 1).

/// `error.code` of an answer. Callers branch on it, so a code is never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    InvalidRequest,
    Unauthorized,
    ValidatorBlocked,
    PolicyNotFound,
    ExtensionNotFound,
    PreProcessorFailed,
    PostProcessorFailed,
    ExtensionError,
    DecisionFailed,
    RateLimited,
    Internal,
    ExtensionUnavailable,
    Overloaded,
    BusUnavailable,
    ShuttingDown,
    ExtensionTimeout,
    DeadlineExceeded,
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::ValidatorBlocked => "validator_blocked",
            Self::PolicyNotFound => "policy_not_found",
            Self::ExtensionNotFound => "extension_not_found",
            Self::PreProcessorFailed => "pre_processor_failed",
            Self::PostProcessorFailed => "post_processor_failed",
            Self::ExtensionError => "extension_error",
            Self::DecisionFailed => "decision_failed",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::ExtensionUnavailable => "extension_unavailable",
            Self::Overloaded => "overloaded",
            Self::BusUnavailable => "bus_unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::ExtensionTimeout => "extension_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }
}

/// What the intake found wrong, finer than `invalid_request` and `unauthorized` (contract section
/// 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeCode {
    SchemaValidationFailed,
    VersionUnsupported,
    CorrelationFieldsInvalid,
    TenantForbidden,
}

impl IntakeCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SchemaValidationFailed => "SCHEMA_VALIDATION_FAILED",
            Self::VersionUnsupported => "VERSION_UNSUPPORTED",
            Self::CorrelationFieldsInvalid => "CORRELATION_FIELDS_INVALID",
            Self::TenantForbidden => "TENANT_FORBIDDEN",
        }
    }
}

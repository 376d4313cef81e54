//! The codes of error answers (contract section 1).

use crate::word::words;

words! {
    /// `error.code` of an answer. Callers branch on it, so a code is never renamed.
    pub enum ErrorCode {
        InvalidRequest = "invalid_request",
        Unauthorized = "unauthorized",
        ValidatorBlocked = "validator_blocked",
        PolicyNotFound = "policy_not_found",
        ExtensionNotFound = "extension_not_found",
        PreProcessorFailed = "pre_processor_failed",
        PostProcessorFailed = "post_processor_failed",
        ExtensionError = "extension_error",
        DecisionFailed = "decision_failed",
        RateLimited = "rate_limited",
        Internal = "internal",
        ExtensionUnavailable = "extension_unavailable",
        Overloaded = "overloaded",
        BusUnavailable = "bus_unavailable",
        ShuttingDown = "shutting_down",
        ExtensionTimeout = "extension_timeout",
        DeadlineExceeded = "deadline_exceeded",
    }
}

words! {
    /// What the intake found wrong, finer than `invalid_request` and `unauthorized` (contract
    /// section 1).
    pub enum IntakeCode {
        SchemaValidationFailed = "SCHEMA_VALIDATION_FAILED",
        VersionUnsupported = "VERSION_UNSUPPORTED",
        CorrelationFieldsInvalid = "CORRELATION_FIELDS_INVALID",
        TenantForbidden = "TENANT_FORBIDDEN",
    }
}

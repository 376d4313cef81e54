//! Why an operation was refused, as the contract answers it.

use beamline_actors::ports::StoreError;
use beamline_contract::admin::{NAMES, RefusalAnswer, RefusalBody, RefusalCode, Role};
use beamline_contract::details;
use beamline_contract::details::QUOTA;
use beamline_contract::error::ErrorCode;
use beamline_contract::mistake::Mistake;
use beamline_domain::quotas::QuotaExceeded;
use beamline_domain::request::error::RequestError;
use serde_json::{Map, Value, json};

/// Why there is no answer.
#[derive(Debug)]
pub struct Refusal {
    code: RefusalCode,
    message: String,
    details: Map<String, Value>,
}

impl Refusal {
    fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Map::new(),
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.details.insert(name.to_owned(), value);
        self
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::InvalidRequest, message)
    }

    pub fn too_many_headers() -> Self {
        Self::invalid("The request has more than 64 headers, or more than 16 KiB of them.")
    }

    pub(super) fn missing_text(field: &str) -> Self {
        Self::invalid(format!("/{field} is required and must be a string."))
    }

    pub(super) fn unknown_operation(name: &str) -> Self {
        let known = NAMES.join(", ");
        Self::invalid(format!("There is no operation {name}; there are {known}."))
    }

    /// A document with mistakes, all of them listed with their JSON pointers.
    pub(super) fn mistakes(what: &str, mistakes: &[Mistake]) -> Self {
        let count = mistakes.len();
        let plural = if count == 1 { "" } else { "s" };
        Self::invalid(format!("The {what} has {count} mistake{plural}."))
            .with(details::MISTAKES, json!(mistakes))
    }

    /// One more sentence.
    pub(super) fn adding(mut self, sentence: &str) -> Self {
        self.message = format!("{} {sentence}", self.message);
        self
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(RefusalCode::NotFound, format!("{what} does not exist."))
    }

    /// What was asked for is none of the requests that the replicas still know.
    pub(super) fn not_remembered(sentence: String, remembered: usize) -> Self {
        Self::new(RefusalCode::NotFound, sentence).with(details::REMEMBERED, json!(remembered))
    }

    /// What a request would be answered before its first call.
    pub(super) fn before_the_first_call(error: RequestError) -> Self {
        let is_missing = matches!(
            error.code,
            ErrorCode::PolicyNotFound | ErrorCode::ExtensionNotFound
        );
        let code = if is_missing {
            RefusalCode::NotFound
        } else {
            RefusalCode::InvalidRequest
        };
        Self {
            code,
            message: error.message,
            details: error.details,
        }
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Conflict, message)
    }

    /// Says nothing of what is wrong with it.
    pub(super) fn wrong_key() -> Self {
        Self::new(
            RefusalCode::Unauthorized,
            "This key opens nothing here: it is wrong, has expired or was revoked.",
        )
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            RefusalCode::Unauthorized,
            "This needs a key: set admin.api_key, or send one as Authorization: Bearer.",
        )
    }

    pub(super) fn bad_date() -> Self {
        Self::new(
            RefusalCode::Unauthorized,
            "Router-Date must be a time in UTC, such as 2026-01-31T12:00:00Z.",
        )
    }

    pub(super) fn bad_nonce() -> Self {
        Self::new(
            RefusalCode::Unauthorized,
            "Router-Nonce must be 128 random bits in base64url without padding.",
        )
    }

    pub(super) fn old_signature(seconds: u64) -> Self {
        let message = format!(
            "This request was signed {seconds} s away from this router's time, at most 60 s are taken: \
             send it at once, and set the clocks of both machines."
        );
        Self::new(RefusalCode::Unauthorized, message)
    }

    pub(super) fn replayed() -> Self {
        Self::new(
            RefusalCode::Unauthorized,
            "This very request came before, and none is carried out twice. Sign it anew.",
        )
    }

    pub(super) fn ambiguous() -> Self {
        Self::invalid(
            "A header that says who asks is there more than once; nobody can tell which one counts.",
        )
    }

    pub(super) fn forbidden_to(role: Role, needed: Role) -> Self {
        let message = format!(
            "This needs the role {}; the key has {}.",
            needed.as_str(),
            role.as_str()
        );
        Self::new(RefusalCode::Forbidden, message)
    }

    /// A key of the edge, or with a role that only a newer router knows.
    pub(super) fn forbidden() -> Self {
        Self::new(
            RefusalCode::Forbidden,
            "This key opens nothing in the administration.",
        )
    }

    pub(super) fn forbidden_to_tenant() -> Self {
        Self::new(
            RefusalCode::Forbidden,
            "This concerns all tenants; the key is one tenant's.",
        )
    }

    pub(super) fn internal(reason: &str) -> Self {
        let message = format!("The answer cannot be written: {reason}.");
        Self::new(RefusalCode::Internal, message)
    }

    pub(super) fn too_long(size: usize, limit: usize) -> Self {
        let message = format!(
            "The answer has {size} bytes or more; NATS carries at most {limit}. Ask for less, for example by type or \
             tenant, or for one by its id."
        );
        Self::new(RefusalCode::AnswerTooLarge, message)
    }

    /// Refused before anything was done.
    pub(super) fn busy() -> Self {
        let message = "Too many administration requests wait already. Nothing was done; try again in a moment.";
        Self::new(RefusalCode::Overloaded, message).with(details::RETRY_AFTER_MS, json!(1_000))
    }

    pub(super) fn too_late(may_have_changed: bool) -> Self {
        let why = "The operation took too long";
        Self::cut_off(RefusalCode::Overloaded, why, may_have_changed)
    }

    pub(super) fn shutting_down(may_have_changed: bool) -> Self {
        let why = "This router ends before the operation does";
        Self::cut_off(RefusalCode::ShuttingDown, why, may_have_changed)
    }

    fn cut_off(code: RefusalCode, why: &str, may_have_changed: bool) -> Self {
        let advice = if may_have_changed {
            ". It is not known whether the change was made; look at it before you repeat it."
        } else {
            "; try again."
        };
        Self::new(code, format!("{why}{advice}")).leaving_open(may_have_changed)
    }

    /// Where a change may have been made: a look must come before a repetition, also of a script.
    pub(super) fn leaving_open(self, may_have_changed: bool) -> Self {
        if may_have_changed {
            self.with(details::OUTCOME, json!(details::UNKNOWN))
        } else {
            self
        }
    }

    /// Of a question: there was nothing to be changed.
    pub(super) fn of_read(error: StoreError) -> Self {
        let is_away = matches!(error, StoreError::Unavailable(_) | StoreError::Denied(_));
        if !is_away {
            return error.into();
        }
        let message = format!(
            "Nothing could be read: {error}. Requests are served from the last snapshot meanwhile."
        );
        Self::new(RefusalCode::StoreUnavailable, message)
    }

    pub(super) fn code(&self) -> RefusalCode {
        self.code
    }

    pub(super) fn body(self) -> RefusalBody {
        RefusalBody {
            code: self.code.as_str().into(),
            message: self.message,
            details: self.details,
        }
    }

    pub fn into_json(self) -> String {
        let answer = RefusalAnswer {
            ok: false,
            error: self.body(),
        };
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

impl From<QuotaExceeded> for Refusal {
    fn from(exceeded: QuotaExceeded) -> Self {
        let QuotaExceeded { quota, limit, .. } = exceeded;
        Self::conflict(format!(
            "{exceeded}; the operator can raise quotas.{quota}."
        ))
        .with(QUOTA, quota.into())
        .with("limit", limit.into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let sentence = format!("{error}.");
        match error {
            StoreError::NotFound(_) => Self::new(RefusalCode::NotFound, format!("The {sentence}")),
            StoreError::Conflict(_) => Self::conflict(format!("The {sentence}")),
            StoreError::Stale => Self::conflict(
                "Somebody else has just changed the registry; look at it and try again.",
            ),
            StoreError::Changed(_) => Self::conflict(format!(
                "The {sentence} Look at it as it is now, and try again."
            )),
            StoreError::Replayed => Self::replayed(),
            StoreError::Refused(_) => Self::invalid(sentence),
            StoreError::Unavailable(_) | StoreError::Denied(_) => Self::new(
                RefusalCode::StoreUnavailable,
                format!(
                    "Nothing was changed: {error}. Requests are served from the last snapshot meanwhile."
                ),
            ),
            StoreError::Unknown(reason) => Self::new(
                RefusalCode::StoreUnavailable,
                format!(
                    "It is not known whether the change was made: {reason}. Look at it before you repeat it; the change \
                     may be made already, or in a moment."
                ),
            )
            .leaving_open(true),
            StoreError::Corrupt(_) => Self::new(RefusalCode::Internal, sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_never_says_that_nothing_was_changed() {
        for error in [StoreError::Unavailable, StoreError::Denied] {
            let refusal = Refusal::of_read(error("away".to_owned()));
            assert_eq!(refusal.code(), RefusalCode::StoreUnavailable);
            let answer = refusal.into_json();
            assert!(answer.contains("Nothing could be read"), "{answer}");
            assert!(!answer.contains("change"), "{answer}");
        }
        let gone = Refusal::of_read(StoreError::NotFound("row".to_owned()));
        assert_eq!(gone.code(), RefusalCode::NotFound);
    }
}

//! Why an operation was refused, as the contract answers it.

use beamline_actors::ports::StoreError;
use beamline_contract::error::ErrorCode;
use beamline_contract::mistake::Mistake;
use beamline_domain::request::error::RequestError;
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
    details: Map<String, Value>,
}

impl Refusal {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: "invalid_request",
            message: message.into(),
            details: Map::new(),
        }
    }

    /// A document with mistakes, all of them listed with their JSON pointers.
    pub(super) fn mistakes(what: &str, mistakes: &[Mistake]) -> Self {
        let count = mistakes.len();
        let message = format!(
            "The {what} has {count} mistake{}.",
            if count == 1 { "" } else { "s" }
        );
        let details = Map::from_iter([(
            "mistakes".to_owned(),
            serde_json::to_value(mistakes).unwrap_or_default(),
        )]);
        Self {
            code: "invalid_request",
            message,
            details,
        }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self {
            code: "not_found",
            message: format!("{what} does not exist."),
            details: Map::new(),
        }
    }

    /// What a request would be answered before its first call.
    pub(super) fn before_the_first_call(error: RequestError) -> Self {
        let missing = matches!(
            error.code,
            ErrorCode::PolicyNotFound | ErrorCode::ExtensionNotFound
        );
        let code = if missing {
            "not_found"
        } else {
            "invalid_request"
        };
        Self {
            code,
            message: error.message,
            details: error.details,
        }
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self {
            code: "conflict",
            message: message.into(),
            details: Map::new(),
        }
    }

    pub(super) fn wrong_key() -> Self {
        let message = "The API key is not this router's (admin.api_key).";
        Self {
            code: "unauthorized",
            message: message.into(),
            details: Map::new(),
        }
    }

    pub(super) fn unauthorized() -> Self {
        let message = "This router wants its API key: set admin.api_key, or send it as Authorization: Bearer.";
        Self {
            code: "unauthorized",
            message: message.into(),
            details: Map::new(),
        }
    }

    pub(super) fn internal(reason: &str) -> Self {
        Self {
            code: "internal",
            message: format!("The answer cannot be written: {reason}."),
            details: Map::new(),
        }
    }

    pub(super) fn too_long(size: usize, limit: usize) -> Self {
        let message = format!(
            "The answer has {size} bytes or more; NATS carries at most {limit}. Ask for less, for example by type or \
             tenant, or for one by its id."
        );
        Self {
            code: "answer_too_large",
            message,
            details: Map::new(),
        }
    }

    /// Refused before anything was done.
    pub(super) fn busy() -> Self {
        let message = "Too many administration requests wait already. Nothing was done; try again in a moment.";
        let details = Map::from_iter([("retry_after_ms".to_owned(), json!(1_000))]);
        Self {
            code: "overloaded",
            message: message.into(),
            details,
        }
    }

    /// `undecided`: it may have changed something.
    pub(super) fn too_late(undecided: bool) -> Self {
        Self::cut_off("overloaded", "The operation took too long", undecided)
    }

    pub(super) fn shutting_down(undecided: bool) -> Self {
        Self::cut_off(
            "shutting_down",
            "This router ends before the operation does",
            undecided,
        )
    }

    /// Where a change may have been made: a look must come before a repetition, also of a script.
    pub(super) fn leaving_open(mut self, undecided: bool) -> Self {
        if undecided {
            self.details.insert("outcome".into(), json!("unknown"));
        }
        self
    }

    fn cut_off(code: &'static str, why: &str, undecided: bool) -> Self {
        let advice = if undecided {
            ". It is not known whether the change was made; look at it before you repeat it."
        } else {
            "; try again."
        };
        Self {
            code,
            message: format!("{why}{advice}"),
            details: Map::new(),
        }
        .leaving_open(undecided)
    }

    pub(super) fn to_json(&self) -> String {
        json!({"ok": false, "error": {"code": self.code, "message": self.message, "details": self.details}}).to_string()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let sentence = format!("{error}.");
        match error {
            StoreError::NotFound(_) => Self {
                code: "not_found",
                message: format!("The {sentence}"),
                details: Map::new(),
            },
            StoreError::Conflict(_) => Self::conflict(format!("The {sentence}")),
            StoreError::Stale => Self::conflict(
                "Somebody else has just changed the registry; look at it and try again.",
            ),
            StoreError::Refused(_) => Self::invalid(sentence),
            StoreError::Unavailable(_) => {
                let message = format!(
                    "Nothing was changed: {error}. Requests are served from the last snapshot meanwhile."
                );
                Self {
                    code: "store_unavailable",
                    message,
                    details: Map::new(),
                }
            }
            StoreError::Unknown(reason) => {
                let message = format!(
                    "It is not known whether the change was made: {reason}. Look at it before you repeat it; the change \
                     may be made already, or in a moment."
                );
                Self {
                    code: "store_unavailable",
                    message,
                    details: Map::new(),
                }
                .leaving_open(true)
            }
            StoreError::Corrupt(_) => Self {
                code: "internal",
                message: sentence,
                details: Map::new(),
            },
        }
    }
}

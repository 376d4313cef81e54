//! One row a failure: the words for it, what it means for the request and for the breaker, and
//! whether the call may be repeated.

use std::time::Duration;

use beamline_contract::answer::ExtensionStatus;
use beamline_contract::details::CIRCUIT_OPEN;
use beamline_contract::error::ErrorCode;
use beamline_contract::failure::FailureKind;

use super::answered::AnsweredFailure;
use super::class::FailureClass;
use crate::request::endpoint::TransportError;
use crate::target::breaker::Outcome;

/// Why a call brought no usable answer.
#[derive(Debug, Clone, PartialEq)]
pub enum CallFailure {
    /// The extension's own time ran out.
    Timeout,
    /// The request's time ran out first.
    Deadline,
    /// Less of the request's time is left than its answers usually take, so it was not called.
    TooLittleTime,
    NoResponders,
    CircuitOpen {
        retry_after: Duration,
        /// What the failures were about that its breaker opened for.
        opened_by: Option<FailureKind>,
    },
    /// It asked to be left alone for so long.
    LeftAlone {
        retry_after: Duration,
    },
    BusUnavailable,
    /// As many calls of it run as may.
    Overloaded {
        retry_after: Duration,
    },
    /// The extension answered an error.
    Answered(AnsweredFailure),
    /// The extension answered something that the contract does not know.
    Malformed(String),
    /// Too large for the bus.
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// Larger than its record says that it takes.
    OverItsLimit {
        size: usize,
        limit: u64,
    },
    /// The router could not make the call.
    Refused(String),
    /// It was cut off: another call of the same step decided about the request.
    Cancelled,
}

/// Everything that follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureRow {
    /// `error_type` in an answer, and `reason` in its `degraded` list and in metrics.
    pub reason: &'static str,
    /// `status` in the `extensions` list of an answer.
    pub status: ExtensionStatus,
    pub consequence: Consequence,
    /// The request's own end, or the bus's: no other provider could do better.
    pub ends_request: bool,
    /// What the breaker makes of it: only what the extension itself did wrong counts.
    pub breaker: Outcome,
    pub repeat: Repeat,
    /// When a new try makes sense, if that is known.
    pub retry_after: Option<Duration>,
    pub class: FailureClass,
}

/// What a failure means for a request that cannot go on without the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// It is about the request or the bus, whoever was called.
    OfTheRequest(ErrorCode),
    /// It is about the extension. A validator blocks all the same.
    OfTheExtension(ErrorCode),
    /// The error of the stage.
    OfTheStage,
    /// None: the request was decided without the call.
    Nothing,
}

/// Whether the same call may be made once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Never,
    /// Nobody got it. No extension's fault explains that, so once is granted whatever the record
    /// grants.
    NotReached,
    /// Somebody may have got it, and its answer was lost or late.
    MayBeDone {
        /// The bus went away with it, which is nobody's fault either.
        granted_once: bool,
    },
    /// The extension says so, or asks for a wait.
    Helps,
}

/// More of a code is not told, in bytes.
const UPSTREAM_CODE: usize = 64;
/// Time for an extension that nobody listens for to come up.
const COMING_UP: Duration = Duration::from_secs(1);

impl CallFailure {
    /// The table. Whatever a failure means is looked up here.
    pub fn row(&self) -> FailureRow {
        use Consequence::{Nothing, OfTheExtension, OfTheRequest, OfTheStage};
        let base = FailureRow {
            reason: "",
            status: ExtensionStatus::Error,
            consequence: OfTheStage,
            ends_request: false,
            breaker: Outcome::Ignored,
            repeat: Repeat::Never,
            retry_after: None,
            class: FailureClass::none(),
        };
        match self {
            Self::Timeout => FailureRow {
                reason: "extension_timeout",
                status: ExtensionStatus::Timeout,
                consequence: OfTheExtension(ErrorCode::ExtensionTimeout),
                breaker: Outcome::Timeout,
                repeat: Repeat::MayBeDone {
                    granted_once: false,
                },
                class: FailureClass::of(FailureKind::Timeout),
                ..base
            },
            Self::Deadline => FailureRow {
                reason: "deadline_exceeded",
                status: ExtensionStatus::Timeout,
                consequence: OfTheRequest(ErrorCode::DeadlineExceeded),
                ends_request: true,
                class: FailureClass::of(FailureKind::Timeout),
                ..base
            },
            Self::TooLittleTime => FailureRow {
                reason: "too_little_time",
                status: ExtensionStatus::Skipped,
                consequence: OfTheRequest(ErrorCode::DeadlineExceeded),
                ends_request: true,
                class: FailureClass::of(FailureKind::Timeout),
                ..base
            },
            Self::NoResponders => FailureRow {
                reason: "no_responders",
                consequence: OfTheExtension(ErrorCode::ExtensionUnavailable),
                breaker: Outcome::NoResponders,
                repeat: Repeat::NotReached,
                retry_after: Some(COMING_UP),
                // NATS itself numbers it 503.
                class: FailureClass::numbered(FailureKind::NoResponders, 503),
                ..base
            },
            Self::CircuitOpen {
                retry_after,
                opened_by,
            } => FailureRow {
                reason: CIRCUIT_OPEN,
                status: ExtensionStatus::CircuitOpen,
                consequence: OfTheExtension(ErrorCode::ExtensionUnavailable),
                retry_after: Some(*retry_after),
                class: FailureClass::kept_back_by(*opened_by, true),
                ..base
            },
            Self::LeftAlone { retry_after } => FailureRow {
                reason: "overloaded",
                consequence: OfTheRequest(ErrorCode::Overloaded),
                retry_after: Some(*retry_after),
                class: FailureClass::left_alone(),
                ..base
            },
            Self::BusUnavailable => FailureRow {
                reason: "bus_unavailable",
                consequence: OfTheRequest(ErrorCode::BusUnavailable),
                ends_request: true,
                repeat: Repeat::MayBeDone { granted_once: true },
                ..base
            },
            Self::Overloaded { retry_after } => FailureRow {
                reason: "overloaded",
                consequence: OfTheRequest(ErrorCode::Overloaded),
                retry_after: Some(*retry_after),
                class: FailureClass {
                    kept_back: true,
                    overloaded: true,
                    code: Some(503),
                    ..FailureClass::none()
                },
                ..base
            },
            Self::Answered(answered) => FailureRow {
                reason: "extension_error",
                breaker: answered.breaker_outcome(),
                repeat: if answered.may_be_repeated() {
                    Repeat::Helps
                } else {
                    Repeat::Never
                },
                retry_after: answered.retry_after,
                class: answered.class(),
                ..base
            },
            Self::Malformed(_) => FailureRow {
                reason: "malformed_answer",
                breaker: Outcome::Failure,
                class: FailureClass::numbered(FailureKind::ServerError, 502),
                ..base
            },
            Self::TooLarge { .. } => FailureRow {
                reason: "too_large",
                consequence: OfTheRequest(ErrorCode::InvalidRequest),
                ends_request: true,
                ..base
            },
            // Another provider may take more, as after a 413.
            Self::OverItsLimit { .. } => FailureRow {
                reason: "payload_too_large",
                consequence: OfTheRequest(ErrorCode::InvalidRequest),
                class: FailureClass::numbered(FailureKind::ClientError, 413),
                ..base
            },
            Self::Refused(_) => FailureRow {
                reason: "refused",
                ends_request: true,
                ..base
            },
            Self::Cancelled => FailureRow {
                reason: "cancelled",
                status: ExtensionStatus::Skipped,
                consequence: Nothing,
                ends_request: true,
                ..base
            },
        }
    }

    /// A sentence about the extension `id`.
    pub fn sentence(&self, id: &str) -> String {
        match self {
            Self::Timeout => format!("{id} did not answer within its time."),
            Self::Deadline | Self::TooLittleTime => format!(
                "The request's time does not suffice for {id}; send it with a longer timeout_ms."
            ),
            Self::NoResponders => {
                format!("No instance of {id} is running: nobody listens on its subject.")
            }
            Self::CircuitOpen { .. } => {
                format!("The circuit breaker of {id} is open, so it is not called for now.")
            }
            Self::LeftAlone { .. } => {
                format!("{id} asked to be left alone for a while; send the request again later.")
            }
            Self::Overloaded { .. } => {
                format!("As many calls of {id} run as may; send the request again a little later.")
            }
            Self::BusUnavailable => {
                format!("NATS is not connected: {id} was not called, or its answer was lost.")
            }
            Self::Answered(AnsweredFailure { code, message, .. }) => {
                format!("{id} answered the error {code}: {message}")
            }
            Self::Malformed(problem) => format!("{id} answered something unreadable: {problem}."),
            Self::TooLarge { size, limit } => {
                format!("The message for {id} has {size} bytes; NATS carries at most {limit} here.")
            }
            Self::OverItsLimit { size, limit } => {
                format!("The message for {id} has {size} bytes; it takes at most {limit}.")
            }
            Self::Refused(problem) => format!("{id} could not be called: {problem}."),
            Self::Cancelled => {
                format!("The call of {id} was cut off: the request was decided without it.")
            }
        }
    }

    /// `error_type` in an answer, and `reason` in its `degraded` list and in metrics.
    pub fn reason(&self) -> &'static str {
        self.row().reason
    }

    /// `status` in the `extensions` list of an answer.
    pub fn status(&self) -> ExtensionStatus {
        self.row().status
    }

    /// What kind of failure it is; the request's own end is none.
    pub fn kind(&self) -> Option<FailureKind> {
        self.row().class.kind
    }

    /// Reason, class and code, for logs: nothing that an extension says to people.
    pub fn label(&self) -> String {
        let class = self.kind().map(|kind| format!(", class {kind}"));
        let code = self.upstream_code().map(|code| format!(", code {code}"));
        let reason = self.reason();
        format!(
            "{reason}{}{}",
            class.unwrap_or_default(),
            code.unwrap_or_default()
        )
    }

    /// The code that the extension gave, as far as it is short.
    pub fn upstream_code(&self) -> Option<&str> {
        let code = self.answered()?.code.as_str();
        code.get(..code.floor_char_boundary(UPSTREAM_CODE))
    }

    pub fn answered(&self) -> Option<&AnsweredFailure> {
        if let Self::Answered(answered) = self {
            Some(answered)
        } else {
            None
        }
    }

    /// The wait that the extension itself asked for before another attempt.
    pub fn requested_wait(&self) -> Option<Duration> {
        self.answered()?.retry_after
    }
}

impl From<TransportError> for CallFailure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Timeout | TransportError::BusLate => Self::Timeout,
            TransportError::NoResponders => Self::NoResponders,
            TransportError::NotConnected => Self::BusUnavailable,
            TransportError::TooLarge { size, limit } => Self::TooLarge { size, limit },
            TransportError::Refused(problem) => Self::Refused(problem),
            TransportError::Malformed(problem) => Self::Malformed(problem),
        }
    }
}
